"""The response hooks of `BearerAuth`: they replay rejected requests and follow redirects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from evertoken import proxies, urls
from evertoken.errors import TokenError
from evertoken.origins import origin_of
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests import PreparedRequest, Response

    from evertoken import redirects, replay
    from evertoken.engine.manager import TokenManager
    from evertoken.origins import Origins
    from evertoken.warn_once import WarnOnce
else:
    # most processes never get a 401 or a redirect
    redirects, replay = lazy("evertoken.redirects"), lazy("evertoken.replay")

BEARER = "Bearer"
"""The scheme in a manager's header (RFC 6750 section 2.1)."""


class Hook:
    """A hook that does nothing. A pickled response has it in place of the hooks below.

    A response pickles with its request, and that with its hooks; the manager must not be included.
    """

    __slots__ = ()

    def __call__(self, response: Response, **_kwargs: Any) -> Response:
        """Return `response`."""
        return response

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Hook], tuple[()]]:
        return Hook, ()


@dataclass(frozen=True, slots=True, eq=False)
class Handler(Hook):
    """Handles responses that may mean a dead token, and redirects.

    Attributes:
        manager: replaces the token.
        origins: the origins that receive the token.
        retry_statuses: statuses that mean a dead token.
        is_unauthorized: detects a dead token in a response with another status; None: not used.
        scheme: the word before the token in `Authorization`.
        warn: logs a warning once per cause.
    """

    manager: TokenManager
    origins: Origins
    retry_statuses: tuple[int, ...]
    is_unauthorized: Callable[[Response], object] | None
    scheme: str
    warn: WarnOnce

    def __call__(self, response: Response, **kwargs: Any) -> Response:
        """Return the answer that the caller gets; `kwargs` tell how the request was sent."""
        if self.origins.loopback and kwargs.get("proxies"):
            self._warn_of_proxy(response.request.url or "", kwargs["proxies"])
        status = response.status_code
        if (
            status not in self.retry_statuses
            and self.is_unauthorized is None
            and not 300 <= status < 400  # noqa: PLR2004  redirects
        ):
            return response
        if not replay.was_sent(response):
            return response
        call = Call(self, response.request)
        hooks = response.request.hooks["response"]
        hooks[:] = [call if isinstance(hook, Hook) else hook for hook in hooks]
        return call(response, **kwargs)

    def replayed(self, response: Response, **kwargs: object) -> Response:
        """The response to the same request with another token, or `response` if there is none."""
        request = response.request
        sent = request.headers.get("Authorization")
        # checked first: a response from another origin says nothing about the token
        if not isinstance(sent, str) or not self.origins.cover(request.url):
            return response
        if not self._refuses(response) or replay.lacks_scope(response):
            return response
        header = self._replacement(sent, response.status_code)
        # only after the renewal, which the next call needs even if this body cannot be sent again
        if header is None or not replay.rewind(request):
            return response
        if urls.is_plain_loopback(request.url or ""):
            kwargs["proxies"] = {}
        answer = replay.resend(response, header, **kwargs)
        self.manager.report_replay(response.status_code)
        return answer

    def prepare_redirect(
        self, response: Response, given: Mapping[str, str]
    ) -> redirects.Redirected | None:
        """On a redirect, keep the token within its origins, and send it from one to another.

        `requests` by default drops it on a redirect to another origin, but keeps it from http:// to
        https:// on one host (RFC 6750 section 5.3).

        Returns:
            The change to undo when the next response arrives; None if there is none.
        """
        request = response.request
        target = redirects.target_of(response)
        if target is None or "Authorization" not in request.headers:
            return None
        here, there = origin_of(request.url), origin_of(target)
        if there not in self.origins.names:
            if redirects.is_upgrade(request.url or "", target):
                message = f"no token is sent from {here} to https://: add the https:// origin"
                self.warn(f"{here} upgrade", message)
                redirects.drop_token(response)
        elif here != there and not self._is_exposed(target, given):
            return redirects.Redirected(response, target)
        return None

    def _refuses(self, response: Response) -> bool:
        """Whether `response` means a dead token."""
        if response.status_code in self.retry_statuses:
            return True
        if self.is_unauthorized is None:
            return False
        try:
            return bool(self.is_unauthorized(response))
        except Exception as error:  # the user's predicate may raise anything
            if isinstance(error, OSError) and not isinstance(error, ValueError):
                raise  # the body cannot be read: `requests` itself would raise this next
            # only its type: the text may quote the response
            kind = type(error).__name__
        url = origin_of(response.request.url)
        message = f"is_unauthorized raised {kind} for an answer of {url}: no replay"
        self.warn(f"is_unauthorized {kind}", message)
        return False

    def _replacement(self, sent: str, status: int) -> str | None:
        rejected = f"{BEARER}{sent.removeprefix(self.scheme)}"
        try:
            header = self.manager.replacement(rejected)
        except TokenError as error:
            message = f"the API answered {status} and the token could not be replaced: {error}"
            self.warn(f"{status} {type(error).__name__} {error.status}", message)
            return None
        return None if header is None else with_scheme(header, self.scheme)

    def _is_exposed(self, target: str, given: Mapping[str, str]) -> bool:
        """Whether a proxy would receive the token in plain text on a request to `target`."""
        if not urls.is_plain_loopback(target):
            return False
        return proxies.in_environment(target) or proxies.chosen(target, given)

    def _warn_of_proxy(self, url: str, given: Mapping[str, str]) -> None:
        if urls.is_plain_loopback(url) and proxies.chosen(url, given):
            here = origin_of(url)
            self.warn(
                f"{here} proxy",
                f"the token for {here} went to a proxy in plain text: exclude this host from the "
                "proxies of the session",
            )


class Call(Hook):
    """One call, with at most one replay. All hops of a redirect share it, as a request's hook."""

    __slots__ = ("_first", "_handler", "_redirected", "_spent")

    def __init__(self, handler: Handler, first: PreparedRequest) -> None:
        self._handler = handler
        self._first = first
        self._spent = False
        self._redirected: redirects.Redirected | None = None

    def __call__(self, response: Response, **kwargs: Any) -> Response:
        """Return the answer that the caller gets; `kwargs` tell how the request was sent."""
        if self._redirected is not None:
            self._redirected.undo()
        if not replay.was_sent(response):
            return response
        if response.request is self._first:
            # the caller has sent the same prepared request again, which is a new call
            self._spent = False
        answer = response if self._spent else self._handler.replayed(response, **kwargs)
        self._spent |= answer is not response
        self._redirected = self._handler.prepare_redirect(answer, kwargs.get("proxies") or {})
        return answer


def with_scheme(header: str, scheme: str) -> str:
    """The manager's `header` with another scheme."""
    return f"{scheme}{header.removeprefix(BEARER)}"
