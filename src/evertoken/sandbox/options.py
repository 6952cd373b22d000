"""The options of a sandbox, checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from os import PathLike

AuthFailure: TypeAlias = Literal[401, 403]
DataDirectory: TypeAlias = "str | PathLike[str]"

TEN_HOURS: Final = 36_000
# a century: beyond 32-bit time, but far below where a datetime overflows
LONGEST_LIFETIME: Final = 3_155_760_000
HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of one sandbox.

    Attributes:
        port: TCP port; 0 for any free one.
        expires_in: lifetime of an access token, in whole seconds, from 1 to a century.
        auth_failure: status of an API call without a valid token. 403 puts session authentication
            first, as in SquadRun's documentation; the response then has no `WWW-Authenticate`.
        rate_limit: calls allowed per minute, including token requests; None for no limit.
        data: directory for the database; None for a temporary one, deleted at the end.
        fast_hashing: for tests: hash the password and the client secret with MD5 instead of PBKDF2.
            A grant then takes 5 ms, not 0.5 s.
        refresh_rotation: reuse protection: the second use of a refresh token ends its whole login
            (RFC 9700 section 4.14.2). Each use replaces it either way.
        grace: whole seconds for which a replaced refresh token is still accepted.
        host: address to listen on. The credentials are public, so use a loopback address.
        verbose: log each request, without its query, on standard error.
        as_json: print the settings as one JSON object instead of lines.

    Raises:
        ValueError: an option is out of range.
    """

    port: int = 0
    expires_in: int = TEN_HOURS
    auth_failure: AuthFailure = 401
    rate_limit: int | None = None
    data: DataDirectory | None = None
    fast_hashing: bool = False
    refresh_rotation: bool = False
    grace: int = 0
    host: str = "127.0.0.1"
    verbose: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= HIGHEST_PORT:
            raise ValueError(f"port is 0 to {HIGHEST_PORT}, not {self.port}")
        if not 1 <= self.expires_in <= LONGEST_LIFETIME:
            raise ValueError(
                f"expires_in is 1 to {LONGEST_LIFETIME} seconds, not {self.expires_in}"
            )
        if not 0 <= self.grace <= LONGEST_LIFETIME:
            raise ValueError(f"grace is 0 to {LONGEST_LIFETIME} seconds, not {self.grace}")
        if self.auth_failure not in (401, 403):
            raise ValueError(f"auth_failure is 401 or 403, not {self.auth_failure}")
        if self.rate_limit is not None and self.rate_limit < 1:
            raise ValueError(f"rate_limit is at least 1 call a minute, not {self.rate_limit}")
