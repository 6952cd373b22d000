"""One POST to an OAuth endpoint: bounded in time and size, redirected nowhere, kept by nobody."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from evertoken import urls
from evertoken.errors import GrantUnavailable, InvalidTokenResponse, TokenError
from evertoken.grants import body, http_dates
from evertoken.grants.adapters import ContextAdapter, watching
from evertoken.grants.additions import DESCRIPTIVE
from evertoken.grants.answer import Answer
from evertoken.grants.failures import timed_out, unavailable
from evertoken.grants.masking import distinguishable
from evertoken.grants.watch import Watch
from evertoken.runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

_HEADERS = {"Accept": "application/json", "Accept-Encoding": body.ACCEPTED}

_NOT_OURS = frozenset({"authorization", "cookie", "content-type", "proxy-authorization"})
"""Default header fields of a user's session that are not sent: each is or may be a login."""

_PUBLIC_FIELDS = DESCRIPTIVE | {
    *("accept-encoding", "authorization", "connection", "content-length", "content-type"),
}
"""Header fields whose values are known not to be secrets, or are masked already."""

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
    """

    timeout: float
    deadline: float
    verify: bool | str | ssl.SSLContext = True
    cert: str | tuple[str, str] | None = None
    proxies: tuple[tuple[str, str], ...] = ()
    transport: Callable[[], requests.Session] | None = None

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
        session = self._session()
        if isinstance(session, TokenError):
            return session
        # not by the session, which would add its cookies, its login or that of a `.netrc`
        head = {**_defaults(session), **_HEADERS, **dict(headers)}
        request = requests.Request("POST", url, headers=head, data=list(form)).prepare()
        settings = self._settings(session, request.url or "")
        # not by the session: it reads the body of a redirect whole, even of one that it leaves
        with (
            watching(session.get_adapter(request.url or ""), watch) as adapter,
            adapter.send(request, timeout=self.timeout, **settings) as response,
        ):
            success = 200 <= response.status_code < 300  # noqa: PLR2004  the class of successes
            content, flaw = b"", ""
            if expects_body or not success:
                content, flaw = body.read(response, watch, needed=success)
        fields = {name.lower(): value for name, value in response.headers.items()}
        answer = Answer(
            url=url,
            status=response.status_code,
            headers=fields,
            body=content,
            retry_after=http_dates.retry_after(fields.get("retry-after")),
            moment=http_dates.moment_of(fields.get("date")) or clock.now().wall,
            sent=_secrets_of(request),
        )
        return _unreadable(answer, flaw) if flaw and success else answer

    def _session(self) -> requests.Session | GrantUnavailable:
        if self.transport is None:
            session = requests.Session()
            if isinstance(self.verify, ssl.SSLContext):
                session.mount("https://", ContextAdapter(self.verify))
            return session
        try:
            made: object = self.transport()
        except Exception as error:  # noqa: BLE001  a user's callable may raise anything
            return GrantUnavailable(
                f"could not make the session: transport raised {type(error).__name__}",
                transient=True,
                local=True,
            )
        if isinstance(made, requests.Session):
            return made
        return GrantUnavailable(
            f"transport must return a requests.Session, not {type(made).__name__}", local=True
        )

    def _settings(self, session: requests.Session, url: str) -> dict[str, Any]:
        """What the adapter is told: this endpoint's settings, the session's, the environment's."""
        verify = True if isinstance(self.verify, ssl.SSLContext) else self.verify
        # a session of the user's own has a setting that True would override
        settings = session.merge_environment_settings(
            url,
            dict(self.proxies),
            stream=True,
            verify=None if verify is True and self.transport is not None else verify,
            cert=self.cert,
        )
        if urls.is_plain_loopback(url):
            # it is in plain text because it never leaves this machine
            settings["proxies"] = {}
        return settings


def _defaults(session: requests.Session) -> dict[str, str | bytes]:
    # None: a default that the user took out
    headers: Mapping[str, str | bytes | None] = session.headers
    return {
        name: value
        for name, value in headers.items()
        if value is not None and name.lower() not in _NOT_OURS
    }


def _secrets_of(request: requests.PreparedRequest) -> tuple[str, ...]:
    """What was sent in header fields that may be secrets: an API key, say."""
    values = [
        value for name, value in request.headers.items() if name.lower() not in _PUBLIC_FIELDS
    ]
    texts = (value if isinstance(value, str) else value.decode("latin-1") for value in values)
    return tuple(filter(distinguishable, texts))


def _unreadable(answer: Answer, flaw: str) -> InvalidTokenResponse:
    kind = answer.content_type if answer.content_type in _PUBLIC_TYPES else None
    return InvalidTokenResponse(
        f"the answer of {urls.origin(answer.url)} {flaw} "
        f"(status {answer.status}, {kind or 'no known content type'})",
        status=answer.status,
        content_type=kind,
        transient=True,
    )
