"""TokenManager: returns the token of the current snapshot, and renews it when it is due."""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

from evertoken import mistakes
from evertoken.core.policy import RefreshPolicy
from evertoken.engine import naming, obtaining
from evertoken.engine.renewer import Renewer
from evertoken.errors import (
    GrantUnavailable,
    RefreshTimeout,
    RevocationFailed,
    TokenError,
    discreet,
)
from evertoken.runtime import clock, waiters
from evertoken.runtime.lazy import lazy
from evertoken.stores.memory import process_wide

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from evertoken import events
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token, TokenKey
    from evertoken.engine import ending, home
    from evertoken.events import Event
    from evertoken.ports import Grant, TokenStore
    from evertoken.runtime import pool, tasks
    from evertoken.runtime.waiters import Flow
    from evertoken.status import Status
    from evertoken.stores.memory import MemoryStore
else:
    # not needed by a process that finds a token in its store
    events, ending, pool, tasks = (
        lazy(f"evertoken.{name}")
        for name in ("events", "engine.ending", "runtime.pool", "runtime.tasks")
    )
    home = lazy("evertoken.engine.home")

T = TypeVar("T")


class TokenManager:
    """Provides a bearer token that is always fresh.

    While a token is usable no call waits for a renewal (a poll of Redis may take 20 ms): renewals
    run in a thread pool of the process. One runs at a time, however many threads ask; a store
    extends that to processes.

    Args:
        grant: requests the token, such as `PasswordGrant`.
        store: shares the token with other processes; None: only this process has it.
        memory: shares the token inside this process; None: the process-wide store.
        policy: when to renew, and how long to wait after a failure.
        timeout: seconds a call waits at most while no token is usable.
        keep_fresh: renew in the background even if nobody asks for the token.
        prove_credentials: obtain one token before adopting any from a store. Every process that can
            use the store is trusted with all tokens in it. Set this in a daemon whose users enter
            their own passwords, so that `token()` fails for a wrong one.
        on_event: called with each event, outside all locks; an exception in it is logged.

    Raises:
        ValueError: `timeout` is not a number of seconds >= 0.
        TypeError: an argument has the wrong type; the error names the remedy.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_memory",
        "keep_fresh",
        "renewer",
    )

    def __init__(
        self,
        grant: Grant,
        *,
        store: TokenStore | None = None,
        memory: MemoryStore | None = None,
        policy: RefreshPolicy = RefreshPolicy(),  # noqa: B008  it is immutable
        timeout: float = 30.0,
        keep_fresh: bool = False,
        prove_credentials: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        if getattr(grant, "exclusive", False) is True:
            home.check(grant, store)
        _checked(timeout)
        mistakes.require("grant", grant, "request")
        mistakes.require("policy", policy, "refresh_before")
        if store is not None:
            mistakes.require("store", store, "load", "save")
        if memory is not None:
            mistakes.require("memory", memory, "owner")
        self.keep_fresh: bool = keep_fresh
        self._memory = memory
        self._closed = False
        self.renewer: Renewer = Renewer(
            grant,
            (memory or process_wide(), *(() if store is None else (store,))),
            policy,
            timeout=timeout,
            proof=prove_credentials,
            on_event=on_event,
        )
        self._keep()

    # Properties of the renewer, not attributes: a process may hold thousands of managers.

    @property
    def grant(self) -> Grant:
        """How a token is obtained."""
        return self.renewer.grant

    @property
    def store(self) -> TokenStore | None:
        """Shares the token beyond this process; None: it is not shared."""
        return self.renewer.stores[1] if len(self.renewer.stores) > 1 else None

    @property
    def policy(self) -> RefreshPolicy:
        """When the token is renewed."""
        return self.renewer.policy

    @property
    def timeout(self) -> float:
        """Seconds a call waits at most, unless it passes its own timeout."""
        return self.renewer.timeout

    @property
    def prove_credentials(self) -> bool:
        """Whether one token must be obtained before any is adopted."""
        return self.renewer.proof

    @property
    def on_event(self) -> Callable[[Event], None] | None:
        """Called with each event."""
        return self.renewer.on_event

    def token(self, *, timeout: float | None = None) -> Token:
        """Return a usable token; waits only if there is none.

        Args:
            timeout: seconds to wait at most; None: the manager's timeout.

        Raises:
            GrantRefused: the endpoint refused the credentials, now or within the cool-down.
            GrantUnavailable: the endpoint did not answer properly, now or within the back-off.
            InvalidTokenResponse: the endpoint's answer is not a usable token.
            RefreshTimeout: no token arrived in time.
        """
        snapshot = self.renewer.snapshot
        # repeated in `header`: a method call would add a tenth to the time of both
        if not snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            snapshot = self._obtain(timeout)
        token = snapshot.former or snapshot.token
        assert token is not None  # noqa: S101  else _obtain would have raised
        return token

    def header(self, *, timeout: float | None = None) -> str:
        """Return the `Authorization` value (RFC 6750 section 2.1) of what `token()` returns."""
        snapshot = self.renewer.snapshot
        if not snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            snapshot = self._obtain(timeout)
        return snapshot.header

    async def atoken(self, *, timeout: float | None = None) -> Token:
        """Like `token`, for a task of asyncio or trio: it does not block the event loop.

        Tasks and threads wait for the same renewal, which runs in the thread pool of the process. A
        waiting task needs no thread, and cancelling it ends only its own wait. A manager belongs to
        no event loop: any number of loops may share it. Only the first call asks callables for the
        user name, the client id and header fields in the loop's thread.

        ```python
        import asyncio
        from evertoken import squadrun

        manager = squadrun.manager()


        async def headers():
            return {"Authorization": await manager.aheader()}


        asyncio.run(headers())
        ```
        """
        snapshot = await self._aobtain(timeout)
        token = snapshot.former or snapshot.token
        assert token is not None  # noqa: S101  else _aobtain would have raised
        return token

    async def aheader(self, *, timeout: float | None = None) -> str:
        """Like `header`, for a task of asyncio or trio; see `atoken`."""
        return (await self._aobtain(timeout)).header

    def header_flow(self, *, timeout: float | None = None) -> Flow[str]:
        """Like `header`, for the auth of an HTTP client: steps that its thread or its task runs."""
        snapshot = self.renewer.snapshot
        if not snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            snapshot = yield from self._obtaining(timeout)
        return snapshot.header

    def _obtain(self, timeout: float | None) -> Snapshot:
        return waiters.run(self._obtaining(timeout))

    async def _aobtain(self, timeout: float | None) -> Snapshot:
        snapshot = self.renewer.snapshot
        if snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            return snapshot
        return await tasks.run(self._obtaining(timeout))

    def _obtaining(self, timeout: float | None) -> Flow[Snapshot]:
        self._keep()
        seconds = self._seconds(timeout)
        return (yield from self._loading(obtaining.obtain(self.renewer, clock.now(), seconds)))

    def _loading(self, flow: Flow[T]) -> Flow[T]:
        """Run `flow`, which loads modules at their first use: no descriptor may be left for one."""
        try:
            return (yield from flow)
        except TokenError:
            raise
        except OSError as error:
            raise self._unloadable(error) from None

    def _unloadable(self, error: OSError) -> TokenError:
        return naming.named(
            GrantUnavailable(f"no token: {error.strerror or error}", transient=True, local=True),
            **self.renewer.whose,
        )

    def refresh(self, *, timeout: float | None = None) -> Token:
        """Renew now, even if the token is fresh, and even after a refusal.

        If a renewal is already running, this waits for that one, and asks itself if that one only
        adopted a token.

        Raises:
            TokenError: as `token()` does.
        """
        flow = obtaining.refresh(self.renewer, clock.now(), self._seconds(timeout))
        return waiters.run(self._loading(flow))

    @discreet
    def replacement(self, rejected: str, *, timeout: float | None = None) -> str | None:
        """Return the header to retry with after an API answered `rejected` with a 401 or 403.

        If `rejected` is no longer current, this is the current header, without a grant. Otherwise
        the token is renewed, at most once a minute per identity and process. If the API rejects the
        new one within that minute, that is logged and reported as `RejectedAgain`.

        Returns:
            None if no other token is available now.

        Raises:
            TokenError: as `token()` does.
        """
        return waiters.run(self.replacement_flow(rejected, timeout=timeout))

    async def areplacement(self, rejected: str, *, timeout: float | None = None) -> str | None:
        """Like `replacement`, for a task of asyncio or trio; see `atoken`."""
        return await tasks.run(self.replacement_flow(rejected, timeout=timeout))

    def replacement_flow(self, rejected: str, *, timeout: float | None = None) -> Flow[str | None]:
        """Like `replacement`, for the auth of an HTTP client; see `header_flow`."""
        seconds = self._seconds(timeout)
        return self._loading(
            obtaining.replace(self.renewer, rejected, clock.now(), seconds, self._may_replace)
        )

    def invalidate(self, token: Token) -> None:
        """Drop `token` here and in the stores: the next call renews. A newer token stays."""
        pool.run(functools.partial(ending.invalidate, self.renewer, token), self.renewer.resource)

    def revoke(self) -> None:
        """Revoke the token and its refresh token (RFC 7009), and drop them here and in the stores.

        They are dropped whatever the server answers. If there is no token, nothing is sent. A
        stored token of other credentials stays.

        Raises:
            RevocationFailed: the server did not confirm, there is no `revoke_url`, or the
                credentials cannot be read, so that the owner of a stored token is unknown.
        """
        revoked, error = pool.run(
            functools.partial(ending.revoke, self.renewer), f"revocation {id(self.grant)}"
        )
        if error is not None and not isinstance(error, RevocationFailed):
            error = RevocationFailed(f"the token was not revoked: {error}")
        if revoked:
            event = events.TokenRevoked(confirmed=error is None, **self.renewer.whose)
            events.emit(self.on_event, event)
        if error is not None:
            raise error.again()

    def status(self) -> Status:
        """Return the current state, without secrets. Sends nothing and reads no store."""
        return self.renewer.status()

    def report_replay(self, status: int) -> None:
        """Emit the event of a request that was answered with `status` and sent again."""
        if self.on_event is not None:
            events.emit(self.on_event, events.Replayed(status, **self.renewer.whose))

    def settle(self, *, timeout: float | None = None) -> TokenError | None:
        """Wait for the renewal in flight, if there is one. For a process that ends soon.

        Returns:
            Its error; None if it brought a token, was abandoned or found another process busy, or
            if there is no renewal.
        """
        renewal = self.renewer.in_flight
        if renewal is None:
            return None
        try:
            until = clock.since_boot() + self._seconds(timeout)
            published = waiters.run(renewal.waiting(until=until))
        except RefreshTimeout as error:
            return error
        return None if published is None else published.result.error

    def close(self) -> None:
        """End `keep_fresh`. Does not wait for a renewal; calls still work afterwards."""
        self._closed = True
        self.renewer.kept_in = None

    # hidden from type checkers, which reject a manager as `auth=` themselves
    if not TYPE_CHECKING:  # pragma: no branch

        def __call__(self, *_arguments: object, **_options: object) -> NoReturn:
            """Raise the error for a manager that was passed as `auth=`."""
            raise TypeError("auth= must be an auth, not a TokenManager: use BearerAuth(manager)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TokenManager of {self.grant!r}: {self.status().state}>"

    def __reduce__(self) -> tuple[Callable[..., TokenManager], tuple[object, ...]]:
        # only the configuration: no token, lock or thread is pickled
        configured = functools.partial(
            type(self),
            self.grant,
            store=self.store,
            memory=self._memory,
            policy=self.policy,
            timeout=self.timeout,
            keep_fresh=self.keep_fresh,
            prove_credentials=self.prove_credentials,
            on_event=self.on_event,
        )
        return configured, ()

    def _keep(self) -> None:
        if self.keep_fresh and not self._closed:
            self.renewer.keep()

    def _may_replace(self, key: TokenKey) -> bool:
        memory = self._memory or process_wide()
        return memory.claim(key, seconds=obtaining.REPLACEMENT_PERIOD)

    def _seconds(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else _checked(timeout)


def _checked(timeout: float) -> float:
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(f"timeout must be a number of seconds >= 0, not {timeout!r}")
    return timeout
