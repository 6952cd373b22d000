"""A token server on loopback that behaves like SquadRun's, and fails on demand."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Literal, Self

from evertoken.testing import recovery, rules
from evertoken.testing.answers import Answer, Behaviour, Json, Step
from evertoken.testing.endpoint import Endpoint
from evertoken.testing.faults import Hang
from evertoken.testing.ledger import Ledger
from evertoken.testing.record import Record, Recorded
from evertoken.testing.wire import Wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterator, Mapping

_TOKEN_PATH = "/oauth/token/"  # noqa: S105  a path
_REVOCATION_PATH = "/oauth/revoke_token/"
_DEVICE_PATH = "/oauth/device-authorization/"
_API_PATH = "/api/v4/leads/"


class TokenServer:
    """A token endpoint, a revocation endpoint and a protected API on 127.0.0.1.

    Use it as a context manager. Closing does not wait: it releases requests that hang. After
    `close()` connections are refused; `start()` listens again on the same port. Any setting may be
    changed from any thread while it runs.

    ```python
    from evertoken.testing import Answer, Cut, TokenServer

    with TokenServer(expires_in=60) as server:
        server.token_endpoint.answer_next(Cut("head"), Answer(503))
        # … code that asks it
        assert server.token_requests == 0
    ```

    Attributes:
        client_id, client_secret, username, password: the accepted credentials, in the body; the
            client's also by HTTP Basic, its secret also as a client assertion (RFC 7523). They are
            random for each server, so that no two share an identity. With an empty secret the
            client is public; with an empty id too, no client is required.
        expires_in: `expires_in` in the token response, any JSON value. If it is a number, or a
            string with one, the token really expires after as many seconds; otherwise it never
            does.
        scope: the scopes that may be requested, separated by spaces; also granted by default.
        extra: members that are added to the token response, or replace the usual ones.
        omit: members that are left out of the token response.
        denial_status: the API's status for an invalid token: 401 with `WWW-Authenticate`, or 403
            without it, as SquadRun documents.
        basic_auth: how it reads HTTP Basic: `"encoded"`, as in RFC 6749, or `"raw"`.
        grace: seconds for which a replaced refresh token is still accepted.
        reuse_protection: whether a later use of one ends its whole family of tokens (RFC 9700
            section 4.14.2).
        device_interval: seconds between two polls of a device (RFC 8628 section 3.2).
        refresh_keeps_access: whether the access token before a refresh stays valid until it
            expires.
        token_endpoint, revocation_endpoint, device_endpoint, api, elsewhere: the `Endpoint`s, each
            scriptable. `api` is every path under `/api/`, `elsewhere` every other path.
    """

    def __init__(
        self,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        username: str | None = None,
        password: str | None = None,
        expires_in: Json = 36_000,
        scope: str = "read write",
        latency: float = 0.0,
        denial_status: Literal[401, 403] = 401,
        clock: Callable[[], float] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Set the options. The server listens after `start()`.

        Args:
            client_id: None: random; so are the next three.
            client_secret: see the class.
            username: see the class.
            password: see the class.
            expires_in: see the class.
            scope: see the class.
            latency: seconds that the token endpoint takes for each answer.
            denial_status: see the class.
            clock: the clock for token expiry, in Unix seconds; None: `time.time`, which may be
                patched.
            ssl_context: a server-side context; the URLs are then `https`.
        """
        self.client_id: str = _made_up("client") if client_id is None else client_id
        self.client_secret: str = _made_up("secret") if client_secret is None else client_secret
        self.username: str = _made_up("user") if username is None else username
        self.password: str = _made_up("password") if password is None else password
        self.expires_in: Json = expires_in
        self.scope: str = scope
        self.extra: Mapping[str, Json] = {}
        self.omit: Collection[str] = ()
        self.denial_status: Literal[401, 403] = denial_status
        self.basic_auth: Literal["encoded", "raw"] = "encoded"
        self.grace: float = 0.0
        self.reuse_protection: bool = False
        self.device_interval: float = 0.05
        self.refresh_keeps_access: bool = False
        self._clock = clock or _wall_clock
        self._ssl_context = ssl_context
        self._ledger = Ledger(self._clock)
        self._record = Record()
        self._wire: Wire | None = None
        self._port = 0
        self.token_endpoint: Endpoint = self._endpoint("token", rules.token_answer, latency)
        self.revocation_endpoint: Endpoint = self._endpoint("revocation", rules.revocation_answer)
        self.device_endpoint: Endpoint = self._endpoint("device", rules.device_answer)
        self.api: Endpoint = self._endpoint("api", rules.api_answer)
        self.elsewhere: Endpoint = self._endpoint("elsewhere", rules.nowhere_answer)

    def start(self) -> Self:
        """Listen; after a `close()`, on the same port as before."""
        if self._wire is None:
            self._wire = Wire(self._port, self._respond, self._clock, self._ssl_context)
            self._port = self._wire.server_port
        return self

    def close(self) -> None:
        """Refuse connections, end those that are open, and release requests that hang."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._wire is None else "listening"
        return f"<TokenServer {state}, port {self._port}, {len(self.requests)} requests>"

    # --- URLs --------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a trailing slash.

        Raises:
            RuntimeError: it has not been started, so there is no port yet.
        """
        if not self._port:
            raise RuntimeError("the server has no URL before start(): use it in a with statement")
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://127.0.0.1:{self._port}"

    @property
    def token_url(self) -> str:
        """The URL of the token endpoint."""
        return self.base_url + _TOKEN_PATH

    @property
    def revoke_url(self) -> str:
        """The URL of the revocation endpoint (RFC 7009)."""
        return self.base_url + _REVOCATION_PATH

    @property
    def device_url(self) -> str:
        """The URL of the device authorization endpoint (RFC 8628)."""
        return self.base_url + _DEVICE_PATH

    @property
    def api_url(self) -> str:
        """The URL of a protected resource, which answers 200 to a valid token with any method.

        The JSON body describes the request: `method`, `path`, `headers`, `body_sha256`
        (hexadecimal) and `body_length` (bytes).
        """
        return self.base_url + _API_PATH

    # --- how the token endpoint answers ------------------------------------------------------

    @property
    def latency(self) -> float:
        """Seconds that the token endpoint takes for each answer."""
        return self.token_endpoint.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.token_endpoint.latency = seconds

    def answer_next(self, *behaviours: Behaviour, times: int = 1) -> None:
        """Script the token endpoint's next requests; see `Endpoint.answer_next`."""
        self.token_endpoint.answer_next(*behaviours, times=times)

    def refuse(self, error: str, *, status: int = 400, description: str | None = None) -> None:
        """Answer every token request with this OAuth error, until `recover()`."""
        self.token_endpoint.answer_always(
            Answer.error(error, status=status, description=description)
        )

    def outage(self, status: int = 503, *, retry_after: float | str | None = None) -> None:
        """Answer every token request with this status and an empty body, until `recover()`.

        Args:
            status: 429 makes it a rate limit.
            retry_after: seconds or an HTTP date; None: no such header.
        """
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.token_endpoint.answer_always(Answer(status, headers))

    def hang(self) -> None:
        """Leave every token request unanswered, until `release()` or `recover()`."""
        self.token_endpoint.answer_always(Hang())

    def release(self) -> None:
        """Answer the requests that are held now, at any endpoint."""
        self._listening.gate.release()

    def recover(self) -> None:
        """Drop the script of every endpoint, and release the requests that are held.

        The managers of this process that ask this server forget what they wait for, so that the
        next call renews. In production they would wait for their back-off or cool-down to end.
        """
        for endpoint in self._endpoints:
            endpoint.recover()
        self.release()
        recovery.end_waits(self.token_url)

    # --- tokens ------------------------------------------------------------------------------

    def revoke(self, token: str) -> None:
        """End an access or refresh token, and the other token of its pair.

        Raises:
            LookupError: this server never issued it.
        """
        if not self._ledger.revoke(token):
            raise LookupError("this server never issued that token")

    def revoke_all(self) -> None:
        """End every token issued so far."""
        self._ledger.revoke_all()

    def expire_all(self) -> None:
        """End every access token issued so far; refresh tokens stay valid."""
        self._ledger.expire_all()

    def approve_devices(self) -> None:
        """Let all devices that wait act for the user."""
        self._ledger.decide_devices("")

    def deny_devices(self) -> None:
        """Refuse all devices that wait."""
        self._ledger.decide_devices("access_denied")

    def log_in(self) -> str:
        """A refresh token of a new login, as a user has it after a browser or a device.

        It counts as a grant.
        """
        return self._ledger.issue(self.scope, 0.0).refresh

    def change_password(self, new: str) -> None:
        """Accept only this password from now on; tokens stay valid."""
        self.password = new

    # --- requests ----------------------------------------------------------------------------

    @property
    def requests(self) -> tuple[Recorded, ...]:
        """All requests to all endpoints, in order. For one endpoint: `server.api.requests`."""
        return self._record.requests()

    @property
    def token_requests(self) -> int:
        """The number of requests to the token endpoint, however they were answered."""
        return len(self.token_endpoint.requests)

    @property
    def grants(self) -> int:
        """The number of tokens issued, without those in a scripted `Answer`."""
        return self._ledger.grants

    @property
    def reuses(self) -> int:
        """How often a refresh token was used that had been replaced before, grace apart."""
        return self._ledger.reuses

    @property
    def secrets(self) -> frozenset[str]:
        """The client secret, the password and every token, none of which any output may show."""
        return self._ledger.secrets | {self.client_secret, self.password}

    def wait_for_requests(self, count: int, *, timeout: float = 10.0) -> tuple[Recorded, ...]:
        """Block until there have been `count` requests in all, at most `timeout` seconds.

        Raises:
            TimeoutError: there have been fewer.
        """
        return self._record.wait_for(count, timeout=timeout)

    def wait_for_held(self, count: int = 1, *, timeout: float = 10.0) -> None:
        """Block until `count` requests are held by a `Hang`, at most `timeout` seconds.

        Raises:
            TimeoutError: there are fewer.
        """
        self._listening.gate.wait_for_held(count, timeout)

    # -----------------------------------------------------------------------------------------

    @property
    def _listening(self) -> Wire:
        if self._wire is None:
            raise RuntimeError("the server is closed: call start() first")
        return self._wire

    @property
    def _endpoints(self) -> tuple[Endpoint, ...]:
        named = self.token_endpoint, self.revocation_endpoint, self.device_endpoint
        return *named, self.api, self.elsewhere

    def _endpoint(self, name: str, rule: rules.Rule, latency: float = 0.0) -> Endpoint:
        return Endpoint(name, self._record, lambda it: rule(self, self._ledger, it), latency)

    def _respond(self, request: Recorded) -> Iterator[Step]:
        return self._route(request.path).respond(request)

    def _route(self, path: str) -> Endpoint:
        if path.startswith("/api/"):
            return self.api
        # without the trailing slash it still belongs to that endpoint, which redirects it
        with_slash = path.rstrip("/") + "/"
        known = {
            _TOKEN_PATH: self.token_endpoint,
            _REVOCATION_PATH: self.revocation_endpoint,
            _DEVICE_PATH: self.device_endpoint,
        }
        return known.get(with_slash, self.elsewhere)


def _made_up(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(8)}"


def _wall_clock() -> float:
    return time.time()  # looked up at each call, so that it can be patched
