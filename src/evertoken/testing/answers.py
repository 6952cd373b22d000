"""A server's answers as values, and the steps that send them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from evertoken.testing.headers import Headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from evertoken.testing.record import Recorded

Json: TypeAlias = "str | float | bool | Mapping[str, Json] | Sequence[Json] | None"
"""A JSON value; `float("nan")` is written as `NaN`, which JSON forbids."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_JSON = {"Content-Type": "application/json"}
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Head:
    """Send these bytes of the status line and the header fields."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Body:
    """Send these bytes of the body."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Send nothing until `TokenServer.release()`."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection; `reset`: with a TCP reset."""

    reset: bool = False


Step: TypeAlias = Head | Body | Pause | Hold | HangUp


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and the server's usual answer to it.

    Attributes:
        request: the request.
        usual: does the server's work (grants, revokes, checks a token) and returns its answer.
    """

    request: Recorded
    usual: Callable[[], Answer] = field(repr=False)


class Behaviour(Protocol):
    """How one request is answered: an `Answer`, a fault, or a custom class."""

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """The steps that answer `exchange`, in order."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, sent whole and correctly framed.

    `Content-Length` is added. If the headers contain it, `Transfer-Encoding` or `Connection`, they
    are sent as given, right or wrong, and the connection is closed afterwards.

    Attributes:
        status: the HTTP status.
        headers: a mapping, or pairs if a field is repeated; encoded in latin-1. `repr` shows only
            their names. A mapping with a value that is not text cannot be header fields: it is the
            body, as `Answer.json` sends it. A document whose values are all text needs that.
        body: the bytes to send. Not shown by `repr`.

    Raises:
        ValueError: a header field has characters beyond latin-1, or there are two bodies.

    ```python
    from evertoken.testing import Answer, TokenServer

    with TokenServer() as server:
        server.api.answer_next(Answer(200, {"count": 3}), Answer(503, {"Retry-After": "30"}))
    ```
    """

    status: int = 200
    headers: Mapping[str, Json] | Sequence[tuple[str, str]] = ()
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        headers = self.headers
        if _is_document(headers):
            if self.body:
                raise ValueError("give either a body or a document: headers are text")
            object.__setattr__(self, "body", json.dumps(headers).encode())
            headers = _JSON
        fields = cast("Mapping[str, str] | Sequence[tuple[str, str]]", headers)
        object.__setattr__(self, "headers", Headers(fields))
        self.head()  # a field that cannot be encoded raises here, not in the server's thread

    @classmethod
    def json(
        cls, document: Json, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """An answer with `document` as `application/json`."""
        fields = {**_JSON, **(headers or {})}
        return cls(status, fields, json.dumps(document).encode())

    @classmethod
    def error(cls, error: str, *, status: int = 400, description: str | None = None) -> Answer:
        """An OAuth error (RFC 6749 section 5.2)."""
        more = {} if description is None else {"error_description": description}
        return cls.json({"error": error, **more}, status=status)

    @classmethod
    def redirect(cls, location: str, *, status: int = 302) -> Answer:
        """An empty redirect to `location`."""
        return cls(status, {"Location": location})

    def gzipped(self) -> Answer:
        """This answer with its body compressed."""
        fields = (*self._fields.pairs, ("Content-Encoding", "gzip"))
        return replace(self, headers=fields, body=gzip.compress(self.body))

    def head(self) -> bytes:
        """The bytes of the status line and the header fields."""
        pairs = self._fields.pairs
        if not self._frames_itself and HTTPStatus.OK <= self.status != HTTPStatus.NO_CONTENT:
            pairs = (*pairs, ("Content-Length", str(len(self.body))))
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in pairs]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Send the answer as it is; the server does none of its usual work."""
        del exchange
        yield Head(self.head())
        yield Body(self.body)
        if self._frames_itself:
            yield HangUp()

    @property
    def _fields(self) -> Headers:
        # as `__post_init__` has made them
        return cast("Headers", self.headers)

    @property
    def _frames_itself(self) -> bool:
        return any(name.lower() in _FRAMING for name in self._fields)


def _is_document(headers: object) -> bool:
    """Whether this cannot be header fields, whose values are text."""
    return isinstance(headers, Mapping) and not all(isinstance(it, str) for it in headers.values())


@dataclass(frozen=True, slots=True)
class Usual:
    """The server's answer if nothing is scripted."""

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Do the server's work and send its answer."""
        yield from exchange.usual().steps(exchange)


USUAL = Usual()
