"""The response hooks of `BearerAuth`: they replay rejected requests and follow redirects."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Self

from evertoken import proxies, urls
from evertoken.bearer import Bearer
from evertoken.origins import origin_of
from evertoken.runtime import waiters
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest, Response

    from evertoken import adapters, redirects, replay
else:
    # most processes never get a 401 or a redirect
    adapters = lazy("evertoken.adapters")
    redirects, replay = lazy("evertoken.redirects"), lazy("evertoken.replay")


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


class Handler(Hook, Bearer["Response"]):
    """Handles responses that may mean a dead token, and redirects."""

    __slots__ = ()

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
        if type(response.request).__module__.startswith("niquests."):
            raise adapters.wrong_client(response.request)
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
        challenge = response.headers.get("WWW-Authenticate", "")
        if self.lacks_scope(challenge):
            return response
        if not self.refuses(response, response.status_code, request.url):
            return response
        header = waiters.run(self.replacement_flow(sent, response.status_code))
        # only after the renewal, which the next call needs even if this body cannot be sent again
        if header is None:
            return response
        if not replay.rewind(request):
            self.warn_of_body(request.url or "")
            return response
        if urls.is_plain_loopback(request.url or ""):
            kwargs["proxies"] = {}
        answer = replay.resend(response, header, **kwargs)
        self.manager.report_replay(response.status_code)
        return answer

    def is_unreadable(self, response: Response, error: Exception) -> bool:
        """Whether `error` came of reading the body; `raise_for_status()` reads nothing."""
        is_of_body = isinstance(error, OSError) and not isinstance(error, ValueError)
        unread = getattr(response, "_content", False) is False
        return is_of_body and unread and getattr(error, "response", None) is not response

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
        # weak: the request holds this hook, and a cycle would keep its body
        self._first = weakref.ref(first)
        self._spent = False
        self._redirected: redirects.Redirected | None = None

    def __call__(self, response: Response, **kwargs: Any) -> Response:
        """Return the answer that the caller gets; `kwargs` tell how the request was sent."""
        if self._redirected is not None:
            self._redirected.undo()
            self._redirected = None
        if not replay.was_sent(response):
            return response
        if response.request is self._first():
            # the caller has sent the same prepared request again, which is a new call
            self._spent = False
        answer = response if self._spent else self._handler.replayed(response, **kwargs)
        self._spent |= answer is not response
        self._redirected = self._handler.prepare_redirect(answer, kwargs.get("proxies") or {})
        return answer
