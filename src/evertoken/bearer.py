"""The decisions of every HTTP client's auth: which URLs get the token, which answers reject it."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypedDict, TypeVar

from evertoken import mistakes, proxies, urls
from evertoken.errors import InsecureURL, TokenError
from evertoken.origins import Origins, origin_of, origins_of
from evertoken.warn_once import WarnOnce

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from evertoken.engine.manager import TokenManager
    from evertoken.runtime.waiters import Flow

_SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""An auth-scheme (RFC 9110 section 11.1)."""

_SCOPE_ERROR = re.compile(r'error\s*=\s*"?insufficient_scope\b', re.IGNORECASE)

BEARER = "Bearer"
"""The scheme in a manager's header (RFC 6750 section 2.1)."""

T = TypeVar("T")
ResponseT = TypeVar("ResponseT")
Response_contra = TypeVar("Response_contra", contravariant=True)


class BearerOptions(TypedDict, Generic[ResponseT], total=False):
    """The options of every client's auth; `evertoken.BearerAuth` documents each."""

    origins: Iterable[str] | None
    retry_statuses: Collection[int]
    is_unauthorized: Callable[[ResponseT], object] | None
    scheme: str
    allow_http: bool


def require_known(whose: str, options: Iterable[str]) -> None:
    """Check the names of the options that the callable `whose` passes on to `Bearer.of`.

    Raises:
        TypeError: one is misspelt; the error names the callable that the user has called.
    """
    for name in options:
        if name not in BearerOptions.__optional_keys__:
            raise TypeError(f"{whose}() got an unexpected keyword argument {name!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Bearer(Generic[Response_contra]):
    """Decides about requests and answers of any HTTP client.

    Attributes:
        manager: provides and replaces the token.
        origins: the origins that receive the token.
        retry_statuses: statuses that mean a dead token.
        is_unauthorized: detects a dead token in a response with another status; None: not used.
        scheme: the word before the token in `Authorization`.
        allow_http: whether `http://` origins beyond loopback are allowed.
        warn: logs a warning once per cause.
    """

    manager: TokenManager
    origins: Origins
    retry_statuses: tuple[int, ...]
    is_unauthorized: Callable[[Response_contra], object] | None
    scheme: str
    allow_http: bool
    warn: WarnOnce

    @classmethod
    def of(
        cls,
        manager: TokenManager,
        *,
        origins: Iterable[str] | None = None,
        retry_statuses: Collection[int] = (401,),
        is_unauthorized: Callable[[Response_contra], object] | None = None,
        scheme: str = BEARER,
        allow_http: bool = False,
    ) -> Self:
        """Check the arguments of a client's `BearerAuth`.

        Raises:
            InsecureURL, ValueError, TypeError: as `evertoken.BearerAuth` says.
        """
        if not _SCHEME.fullmatch(scheme):
            raise ValueError(f"scheme must be one word, such as Bearer or Token, not {scheme!r}")
        mistakes.require("manager", manager, "renewer")
        given = (_token_url(manager),) if origins is None else _listed(origins)
        covered = origins_of(given, allow_http=allow_http)
        return cls(
            *(manager, covered, tuple(retry_statuses), is_unauthorized, scheme, allow_http),
            warn=WarnOnce(),
        )

    def remade_by(self, make: Callable[..., T]) -> tuple[Callable[[], T], tuple[()]]:
        """For `__reduce__`: `make`, called with the same manager and options."""
        again = functools.partial(
            make,
            self.manager,
            origins=self.origins.names,
            retry_statuses=self.retry_statuses,
            is_unauthorized=self.is_unauthorized,
            scheme=self.scheme,
            allow_http=self.allow_http,
        )
        return again, ()

    def admits(self, url: str, is_proxied: Callable[[str], bool] = proxies.in_environment) -> bool:
        """Whether the token goes to `url`. The first request to another origin logs a warning.

        Args:
            url: where the request goes.
            is_proxied: whether the client sends an `http://` URL through a proxy.

        Raises:
            InsecureURL: it is an `http://` URL on loopback, and a proxy would receive the token.
        """
        if not url.startswith(self.origins.prefixes):
            if origin_of(url) not in self.origins.names:
                self._warn_of(url)
                return False
            if urls.is_plain_loopback(url) and is_proxied(url):
                raise InsecureURL(
                    f"the token for {origin_of(url)} would go to a proxy in plain text: exclude "
                    f"this host from the proxies of the environment ({proxies.exclusion_of(url)})"
                )
        return True

    def header_flow(self) -> Flow[str]:
        """The value of `Authorization`. Waits if no token is usable."""
        return with_scheme((yield from self.manager.header_flow()), self.scheme)

    def needs_body(self, status: int) -> bool:
        """Whether the user's predicate decides about a response with `status`."""
        return self.is_unauthorized is not None and status not in self.retry_statuses

    @staticmethod
    def lacks_scope(challenge: str) -> bool:
        """Whether `WWW-Authenticate` means that a valid token lacks a scope (RFC 6750 3.1)."""
        return bool(_SCOPE_ERROR.search(challenge))

    def refuses(self, response: Response_contra, status: int, url: str | None) -> bool:
        """Whether `response`, from `url` with `status`, means a dead token."""
        if status in self.retry_statuses:
            return True
        if self.is_unauthorized is None:
            return False
        try:
            return bool(self.is_unauthorized(response))
        except Exception as error:  # the user's predicate may raise anything
            if self.is_unreadable(response, error):
                raise  # the client itself would raise this next
            # only its type: the text may quote the response
            kind = type(error).__name__
        message = f"is_unauthorized raised {kind} for an answer of {origin_of(url)}: no replay"
        self.warn(f"is_unauthorized {kind}", message)
        return False

    def is_unreadable(self, response: Response_contra, error: Exception) -> bool:
        """Whether the user's predicate raised `error` because the body cannot be read.

        False here: a client whose exchange `Read`s the body has it before.
        """
        del response, error
        return False

    def later_header_flow(self, status: int) -> Flow[str | None]:
        """The header for a request that was answered with `status` for want of one; None: none.

        An error is logged once per kind, since the caller gets the answer.
        """
        try:
            return (yield from self.header_flow())
        except TokenError as error:
            self._warn_of_error(status, error)
        return None

    def replacement_flow(self, sent: str, status: int) -> Flow[str | None]:
        """The header to send after `sent` was rejected with `status`; None if there is none.

        An error is logged once per kind, since the caller gets the answer.
        """
        rejected = f"{BEARER}{sent.removeprefix(self.scheme)}"
        try:
            header = yield from self.manager.replacement_flow(rejected)
        except TokenError as error:
            self._warn_of_error(status, error)
            return None
        return None if header is None else with_scheme(header, self.scheme)

    def warn_of_body(self, url: str) -> None:
        """Log once why a rejected request is not sent again."""
        origin = origin_of(url)
        message = (
            f"{origin} refused a request whose body is a stream, which cannot be sent again: send "
            "bytes, or repeat the call, which has a new token"
        )
        self.warn(f"{origin} body", message)

    def _warn_of_error(self, status: int, error: TokenError) -> None:
        message = f"the API answered {status} and the token could not be replaced: {error}"
        self.warn(f"{status} {type(error).__name__} {error.status}", message)

    def _warn_of(self, url: str) -> None:
        # the client itself raises for an invalid URL
        if (origin := origin_of(url)) is not None:
            ours = ", ".join(sorted(self.origins.names))
            message = (
                f"no token is sent to {origin}, only to {ours}: to send it there, name {origin} in "
                "origins=, or as base_url= of the SquadRun presets"
            )
            self.warn(origin, message)


def _token_url(manager: TokenManager) -> str:
    # not the key, which may call a user's callable before the first grant
    known: object = getattr(manager.grant, "token_url", None)
    url = known if isinstance(known, str) else manager.grant.key.token_url
    if "://" not in url:
        raise ValueError("this grant has no token URL: name the origins of the API in origins=")
    return url


def _listed(origins: Iterable[str]) -> tuple[str, ...]:
    if isinstance(origins, str):
        raise TypeError("origins must be a list of URLs, not text: use origins=[…]")
    given = tuple(origins)
    if not given:
        raise ValueError("origins is empty, so that no request would get a token: name one")
    return given


def with_scheme(header: str, scheme: str) -> str:
    """The manager's `header` with another scheme."""
    return f"{scheme}{header.removeprefix(BEARER)}"
