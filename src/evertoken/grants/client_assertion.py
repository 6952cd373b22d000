"""A client assertion (RFC 7523 section 2.2): a signed token in the place of a client secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from evertoken.errors import GrantUnavailable

if TYPE_CHECKING:
    from typing import Self

AssertionSource = Callable[[], str] | os.PathLike[str]

_LONGEST = 1 << 20
"""Bytes of a file that is read as an assertion."""


class ClientAssertion:
    """Gives the assertion of this moment: it is short-lived, and made or rotated by others.

    Args:
        source: a callable that returns it, or the path of a file that holds it, such as the token
            that Kubernetes keeps fresh for a workload.

    Raises:
        TypeError: `source` is neither.
    """

    __slots__ = ("_mark", "_source")

    def __init__(self, source: AssertionSource) -> None:
        if not callable(source) and not isinstance(source, os.PathLike):
            raise TypeError("client_assertion must be a callable or the path of a file")
        self._source = source
        self._mark = os.urandom(16).hex()

    def __call__(self) -> str:
        """The assertion.

        Raises:
            GrantUnavailable: the file cannot be read.
        """
        if callable(self._source):
            return self._source()
        reason: str | None = None
        try:
            with open(self._source, encoding="ascii") as file:
                return file.read(_LONGEST).strip()
        except OSError as error:
            reason = error.strerror
        except ValueError:
            reason = "it is not ASCII text"
        raise GrantUnavailable(
            f"could not read the client_assertion in {os.fspath(self._source)}: {reason}",
            transient=True,
            local=True,
        )

    def credential(self, assertion: str | None) -> str | None:
        """What tells these credentials from others.

        The content of a file. A callable may sign at each call, and credentials that differ
        each time would be posted again during a cool-down: it counts as itself.
        """
        return self._mark if callable(self._source) else assertion

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientAssertion) and self._source == other._source

    def __hash__(self) -> int:
        return hash(self._source)

    def __copy__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return "ClientAssertion(…)"
