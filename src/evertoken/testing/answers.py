"""What a server says, as values: the answer, and the steps by which it travels."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypeAlias

from evertoken.testing.headers import Headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from evertoken.testing.record import Recorded

Json: TypeAlias = "str | float | bool | Mapping[str, Json] | Sequence[Json] | None"
"""What JSON can say; `float("nan")` is written as the `NaN` that JSON forbids."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
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
    """Send nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Send nothing until the server is told to go on."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection, with a TCP reset where `reset` says so."""

    reset: bool = False


Step: TypeAlias = Head | Body | Pause | Hold | HangUp


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and what the server would answer to it.

    Attributes:
        request: what was asked.
        usual: does the server's work (grants, revokes, judges) and gives its answer.
    """

    request: Recorded
    usual: Callable[[], Answer] = field(repr=False)


class Behaviour(Protocol):
    """How one request is answered: an `Answer`, a fault, or one's own."""

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """What is done on the wire, one step after the other."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, whole and correct on the wire whatever it says.

    `Content-Length` is added. Where the headers state it themselves, or `Transfer-Encoding` or
    `Connection`, they stand as given, right or wrong, and the connection is closed afterwards.

    Attributes:
        status: the HTTP status.
        headers: a mapping, or pairs where a field comes twice; a character stands for one byte
            (latin-1). `repr` shows their names alone.
        body: as it travels. Not shown by `repr`.

    Raises:
        ValueError: a header field has characters beyond latin-1.
    """

    status: int = 200
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", Headers(self.headers))
        self.head()  # a field that cannot be encoded is an error here, not in a server's thread

    @classmethod
    def json(
        cls, document: Json, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The document as `application/json`."""
        fields = {"Content-Type": "application/json", **(headers or {})}
        return cls(status, fields, json.dumps(document).encode())

    @classmethod
    def error(cls, error: str, *, status: int = 400, description: str | None = None) -> Answer:
        """An OAuth error (RFC 6749 section 5.2)."""
        more = {} if description is None else {"error_description": description}
        return cls.json({"error": error, **more}, status=status)

    @classmethod
    def redirect(cls, location: str, *, status: int = 302) -> Answer:
        """An empty answer that points to `location`."""
        return cls(status, {"Location": location})

    def gzipped(self) -> Answer:
        """The same with its body compressed."""
        fields = (*self._fields.pairs, ("Content-Encoding", "gzip"))
        return replace(self, headers=fields, body=gzip.compress(self.body))

    def head(self) -> bytes:
        """Status line and header fields, as they travel."""
        pairs = self._fields.pairs
        if not self._frames_itself and HTTPStatus.OK <= self.status != HTTPStatus.NO_CONTENT:
            pairs = (*pairs, ("Content-Length", str(len(self.body))))
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in pairs]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Say it as it stands; the server does none of its own work."""
        del exchange
        yield Head(self.head())
        yield Body(self.body)
        if self._frames_itself:
            yield HangUp()

    @property
    def _fields(self) -> Headers:
        return Headers(self.headers)

    @property
    def _frames_itself(self) -> bool:
        return any(name.lower() in _FRAMING for name in self._fields)


@dataclass(frozen=True, slots=True)
class Usual:
    """What the server answers when nothing is scripted."""

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Do the server's work and say its answer."""
        yield from exchange.usual().steps(exchange)


USUAL = Usual()
