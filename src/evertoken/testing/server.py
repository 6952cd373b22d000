"""A token server on loopback that behaves like SquadRun's, and fails when it is told to."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Literal, Self

from evertoken.testing import rules
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
_API_PATH = "/api/v4/leads/"


class TokenServer:
    """A token endpoint, a revocation endpoint and a protected API on 127.0.0.1.

    Use it as a context manager. Nothing in it waits at the end: closing lets go of whatever
    hangs. After `close()` connections are refused, and `start()` comes back at the same port.
    All of it may be changed from any thread while it runs.

    ```python
    with TokenServer(expires_in=60) as server:
        server.token_endpoint.answer_next(Cut("head"), Answer(503))
        ...
        assert server.grants == 1
    ```

    Attributes:
        client_id, client_secret, username, password: what it accepts, in the body or, the client's,
            by HTTP Basic. Made up for each server, so that no two share an identity. An empty
            secret makes a public client; with an empty id too, no client is wanted.
        expires_in: what the token response says, any JSON value. Where it is a number (or a string
            that is one) the token really ends after so many seconds, else never by itself.
        scope: what may be asked for, separated by spaces, and what is granted to who does not ask.
        extra: members that the token response has besides, or in place of the usual ones.
        omit: members that the token response lacks.
        denial_status: what the API answers to a bad token: 401 with `WWW-Authenticate`, or the
            403 without it that SquadRun documents.
        basic_auth: how it reads HTTP Basic: `"encoded"`, as RFC 6749 has it, or `"raw"`.
        token_endpoint, revocation_endpoint, api, elsewhere: the `Endpoint`s, each of them
            scriptable; the API is every path under `/api/`, elsewhere all that is left.
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
        """Settle what it accepts; it listens from `start()` on.

        Args:
            client_id: None: made up, as are the next three.
            client_secret: see the class.
            username: see the class.
            password: see the class.
            expires_in: see the class.
            scope: see the class.
            latency: seconds that the token endpoint takes for every answer.
            denial_status: see the class.
            clock: by which tokens expire, in Unix seconds; None: `time.time`, as it is patched.
            ssl_context: a server-side context; the URLs are then `https`.
        """
        self.client_id = _made_up("client") if client_id is None else client_id
        self.client_secret = _made_up("secret") if client_secret is None else client_secret
        self.username = _made_up("user") if username is None else username
        self.password = _made_up("password") if password is None else password
        self.expires_in: Json = expires_in
        self.scope = scope
        self.extra: Mapping[str, Json] = {}
        self.omit: Collection[str] = ()
        self.denial_status: Literal[401, 403] = denial_status
        self.basic_auth: Literal["encoded", "raw"] = "encoded"
        self._clock = clock or _wall_clock
        self._ssl_context = ssl_context
        self._ledger = Ledger(self._clock)
        self._record = Record()
        self._wire: Wire | None = None
        self._port = 0
        self.token_endpoint = self._endpoint("token", rules.token_answer, latency)
        self.revocation_endpoint = self._endpoint("revocation", rules.revocation_answer)
        self.api = self._endpoint("api", rules.api_answer)
        self.elsewhere = self._endpoint("elsewhere", rules.nowhere_answer)

    def start(self) -> Self:
        """Listen; on the same port as before where it was closed in between."""
        if self._wire is None:
            self._wire = Wire(self._port, self._respond, self._clock, self._ssl_context)
            self._port = self._wire.server_port
        return self

    def close(self) -> None:
        """Refuse connections from now on, end those that are open, let go of what hangs."""
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

    # --- where it is -------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a slash at the end.

        Raises:
            RuntimeError: it never listened, so that there is no port yet.
        """
        if not self._port:
            raise RuntimeError("the server has no URL before start(): use it in a with statement")
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://127.0.0.1:{self._port}"

    @property
    def token_url(self) -> str:
        """Where a token is asked for."""
        return self.base_url + _TOKEN_PATH

    @property
    def revoke_url(self) -> str:
        """Where a token is revoked (RFC 7009)."""
        return self.base_url + _REVOCATION_PATH

    @property
    def api_url(self) -> str:
        """A protected resource: with a good token it answers 200, whatever the method.

        The JSON says what it got: `method`, `path`, `headers`, `body_sha256` (hexadecimal) and
        `body_length` (bytes).
        """
        return self.base_url + _API_PATH

    # --- how the token endpoint answers ------------------------------------------------------

    @property
    def latency(self) -> float:
        """Seconds that the token endpoint takes for every answer."""
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
        """Take every token request and stay silent, until `release()` or `recover()`."""
        self.token_endpoint.answer_always(Hang())

    def release(self) -> None:
        """Let the requests go on that are being held now, at whichever endpoint."""
        self._listening.gate.release()

    def recover(self) -> None:
        """Drop every endpoint's script, and release what is held."""
        for endpoint in (self.token_endpoint, self.revocation_endpoint, self.api, self.elsewhere):
            endpoint.recover()
        self.release()

    # --- what becomes of tokens --------------------------------------------------------------

    def revoke(self, token: str) -> None:
        """Kill an access or refresh token, and with it the other one of its pair.

        Raises:
            LookupError: this server never gave it out.
        """
        if not self._ledger.revoke(token):
            raise LookupError("this server never gave out such a token")

    def revoke_all(self) -> None:
        """Kill every token given out so far."""
        self._ledger.revoke_all()

    def expire_all(self) -> None:
        """Kill every access token given out so far; refresh tokens stay good."""
        self._ledger.expire_all()

    def change_password(self, new: str) -> None:
        """Accept only this password from now on; tokens stay good."""
        self.password = new

    # --- what it was asked -------------------------------------------------------------------

    @property
    def requests(self) -> tuple[Recorded, ...]:
        """All requests to all endpoints, in order; those to one: `server.api.requests`."""
        return self._record.requests()

    @property
    def token_requests(self) -> int:
        """How many requests came to the token endpoint, answered as usual or not."""
        return len(self.token_endpoint.requests)

    @property
    def grants(self) -> int:
        """How many tokens were given out. A scripted `Answer` with a token in it does not count."""
        return self._ledger.grants

    @property
    def secrets(self) -> frozenset[str]:
        """The client secret, the password, and every token: what no output may show."""
        return self._ledger.secrets | {self.client_secret, self.password}

    def wait_for_requests(self, count: int, *, timeout: float = 10.0) -> tuple[Recorded, ...]:
        """Block until there were `count` requests in all, at most `timeout` seconds.

        Raises:
            TimeoutError: there were fewer.
        """
        return self._record.wait_for(count, timeout=timeout)

    def wait_for_held(self, count: int = 1, *, timeout: float = 10.0) -> None:
        """Block until `count` requests are being held by a `Hang`, at most `timeout` seconds.

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

    def _endpoint(self, name: str, rule: rules.Rule, latency: float = 0.0) -> Endpoint:
        return Endpoint(name, self._record, lambda it: rule(self, self._ledger, it), latency)

    def _respond(self, request: Recorded) -> Iterator[Step]:
        return self._route(request.path).respond(request)

    def _route(self, path: str) -> Endpoint:
        if path.startswith("/api/"):
            return self.api
        # one without its last slash is still meant for it, and is told so
        with_slash = path.rstrip("/") + "/"
        known = {_TOKEN_PATH: self.token_endpoint, _REVOCATION_PATH: self.revocation_endpoint}
        return known.get(with_slash, self.elsewhere)


def _made_up(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(8)}"


def _wall_clock() -> float:
    return time.time()  # looked up at each call, so that a patched clock is seen
