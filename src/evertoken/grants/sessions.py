"""The session whose adapters send a request, and what else of it is used: no login, no cookie."""

from __future__ import annotations

import ssl
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

import requests

from evertoken import urls
from evertoken.errors import GrantUnavailable, TokenError
from evertoken.grants import body
from evertoken.grants.adapters import ContextAdapter
from evertoken.grants.additions import DESCRIPTIVE
from evertoken.grants.masking import distinguishable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from requests.adapters import BaseAdapter

    from evertoken.grants.endpoint import Endpoint

    _PlainSession = requests.Session
else:
    # Under that name may be another class, as that of requests-cache, which would keep the answer.
    _PlainSession = next(
        kind for kind in requests.Session.__mro__ if kind.__module__ == "requests.sessions"
    )

_HEADERS = {"Accept": "application/json", "Accept-Encoding": body.ACCEPTED}

_NOT_OURS = frozenset({"authorization", "cookie", "content-type", "proxy-authorization"})
"""Default header fields of a user's session that are not sent: each is or may be a login."""

_PUBLIC_FIELDS = DESCRIPTIVE | {
    *("accept-encoding", "authorization", "connection", "content-length", "content-type"),
}
"""Header fields whose values are known not to be secrets, or are masked already."""


class Once(_PlainSession):
    """Sends one request by `adapter`, and keeps nothing of the answer.

    Not the adapter alone: a mock of a test suite may stand in the place of `Session.send`.
    """

    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: else the body of a redirect would be read whole, though nobody follows it."""

    def close(self) -> None:
        """Nothing: the adapter may be a user's own."""


def session_of(endpoint: Endpoint) -> AbstractContextManager[requests.Session]:
    """The user's own session, which stays open, or one for a single request.

    Raises:
        GrantUnavailable: `transport` raised, or returned something else.
    """
    if endpoint.transport is not None:
        return nullcontext(_made_by(endpoint.transport))
    session = _PlainSession()
    if isinstance(endpoint.verify, ssl.SSLContext):
        session.mount("https://", ContextAdapter(endpoint.verify))
    return closing(session)


def prepared(
    session: requests.Session,
    url: str,
    form: Sequence[tuple[str, str]],
    headers: Iterable[tuple[str, str]],
) -> requests.PreparedRequest:
    """The request; of `session` it has the default header fields alone.

    Not prepared by the session, which would add its cookies, its login or that of a `.netrc`.
    """
    # None: a default that the user took out
    defaults: Mapping[str, str | bytes | None] = session.headers
    kept = {
        name: value
        for name, value in defaults.items()
        if value is not None and name.lower() not in _NOT_OURS
    }
    head = {**kept, **_HEADERS, **dict(headers)}
    return requests.Request("POST", url, headers=head, data=list(form)).prepare()


def settings_of(endpoint: Endpoint, session: requests.Session, url: str) -> dict[str, Any]:
    """What the adapter is told: the endpoint's settings, the session's, the environment's."""
    verify = True if isinstance(endpoint.verify, ssl.SSLContext) else endpoint.verify
    # a session of the user's own has a setting that True would override
    settings = session.merge_environment_settings(
        url,
        dict(endpoint.proxies),
        stream=True,
        verify=None if verify is True and endpoint.transport is not None else verify,
        cert=endpoint.cert,
    )
    if urls.is_plain_loopback(url):
        # it is in plain text because it never leaves this machine
        settings["proxies"] = {}
    return settings


def secrets_in(request: requests.PreparedRequest) -> tuple[str, ...]:
    """What was sent in header fields that may be secrets: an API key, say."""
    fields = request.headers.items()
    values = [value for name, value in fields if name.lower() not in _PUBLIC_FIELDS]
    texts = (value if isinstance(value, str) else value.decode("latin-1") for value in values)
    return tuple(filter(distinguishable, texts))


def _made_by(transport: Callable[[], object]) -> requests.Session:
    raised: TokenError
    try:
        made = transport()
    except TokenError as error:
        raised = error.again()
        raised.local = True
    except Exception as error:  # noqa: BLE001  a user's callable may raise anything
        raised = GrantUnavailable(
            f"could not make the session: transport raised {type(error).__name__}",
            transient=True,
            local=True,
        )
    else:
        if isinstance(made, requests.Session):
            return made
        raised = GrantUnavailable(
            f"transport must return a requests.Session, not {type(made).__name__}", local=True
        )
    try:
        raise raised
    finally:
        # its traceback holds this frame, and through it those that hold the password
        del raised
