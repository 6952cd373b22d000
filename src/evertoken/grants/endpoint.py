"""One POST to an OAuth endpoint: bounded in time and size, redirected nowhere, kept by nobody."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evertoken import urls
from evertoken.errors import InvalidTokenResponse, TokenError
from evertoken.grants import body, http_dates, sessions
from evertoken.grants.adapters import watching
from evertoken.grants.answer import Answer
from evertoken.grants.failures import timed_out, unavailable
from evertoken.grants.watch import Watch

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

    import requests

_PUBLIC_TYPES = frozenset(
    {
        *("application/json", "application/xml", "application/octet-stream"),
        *("text/html", "text/plain", "text/xml"),
    }
)
"""Media types that can be quoted where it is not known what is secret."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How the token endpoint is reached.

    Attributes:
        timeout: seconds without a byte after which an attempt ends.
        deadline: seconds after which it ends in any case.
        verify, cert: as `requests` takes them, or a context; its environment variables count too.
        proxies: likewise, as pairs. None is used for an `http://` URL on loopback.
        transport: makes the session whose adapters, headers, proxies and TLS settings are used;
            not its login, cookies, hooks or retries.

    `repr` shows neither proxies nor transport: a URL or a `partial` may hold a password.
    """

    timeout: float
    deadline: float
    verify: bool | str | ssl.SSLContext = True
    cert: str | tuple[str, str] | None = field(default=None, repr=False)
    proxies: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    transport: Callable[[], requests.Session] | None = field(default=None, repr=False)

    def post(
        self,
        url: str,
        form: Sequence[tuple[str, str]],
        *,
        headers: Iterable[tuple[str, str]] = (),
        deadline: float | None = None,
        expects_body: bool = True,
    ) -> Answer:
        """POST `form` to `url`.

        No connection is pooled, so that a fork inherits none.

        Args:
            url: the endpoint.
            form: the parameters, each name once.
            headers: further header fields.
            deadline: seconds, where less than this endpoint's are left.
            expects_body: whether a success is worth reading.

        Raises:
            GrantUnavailable: no answer came.
            InvalidTokenResponse: a success larger than `MAX_BYTES`, or in a coding that cannot be
                read. Of any other answer the status is enough, and its body then empty.
        """
        limit = self.deadline if deadline is None else deadline
        outcome: Answer | TokenError
        watch = Watch(limit)
        try:
            outcome = self._exchange(watch, url, form, headers, expects_body=expects_body)
        except TokenError as error:
            outcome = error.again()
        except Exception as error:  # noqa: BLE001  told apart below, and never chained
            outcome = unavailable(error, urls.origin(url), sent=watch.sent)
        if watch.left <= 0 and isinstance(outcome, TokenError):
            outcome = timed_out(urls.origin(url), limit, sent=watch.sent)
        if isinstance(outcome, Answer):
            return outcome
        try:
            raise outcome
        finally:
            # its traceback holds this frame: a cycle that would keep the form until it is collected
            del outcome

    def _exchange(
        self,
        watch: Watch,
        url: str,
        form: Sequence[tuple[str, str]],
        headers: Iterable[tuple[str, str]],
        *,
        expects_body: bool,
    ) -> Answer | TokenError:
        with ExitStack() as stack:
            session = stack.enter_context(sessions.session_of(self))
            request = sessions.prepared(session, url, form, headers)
            settings = sessions.settings_of(self, session, request.url or "")
            adapter = session.get_adapter(request.url or "")
            bounded = stack.enter_context(watching(adapter, watch))
            once = stack.enter_context(sessions.Once(bounded))
            settings |= {"timeout": self.timeout, "allow_redirects": False}
            response = stack.enter_context(once.send(request, **settings))
            success = 200 <= response.status_code < 300  # noqa: PLR2004  the class of successes
            content, flaw = b"", ""
            if expects_body or not success:
                content, flaw = body.read(response, watch, needed=success)
        fields = {name.lower(): value for name, value in response.headers.items()}
        moment = http_dates.answered_at(fields.get("date"))
        answer = Answer(
            url=url,
            status=response.status_code,
            headers=fields,
            body=content,
            retry_after=http_dates.retry_after(fields.get("retry-after"), moment),
            moment=moment,
            sent=sessions.secrets_in(request),
        )
        return _unreadable(answer, flaw) if flaw and success else answer


def _unreadable(answer: Answer, flaw: str) -> InvalidTokenResponse:
    kind = answer.content_type if answer.content_type in _PUBLIC_TYPES else None
    return InvalidTokenResponse(
        f"the answer of {urls.origin(answer.url)} {flaw} "
        f"(status {answer.status}, {kind or 'no known content type'})",
        status=answer.status,
        content_type=kind,
        transient=True,
    )
