"""TokenManager: the snapshot that every request reads, and what to do when it is due."""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING, NoReturn, Self

from evertoken import mistakes
from evertoken.core.policy import RefreshPolicy
from evertoken.engine import obtaining
from evertoken.engine.renewer import Renewer
from evertoken.errors import RefreshTimeout, RevocationFailed, discreet
from evertoken.runtime import clock, waiters
from evertoken.runtime.lazy import lazy
from evertoken.stores.memory import process_wide

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from evertoken import events
    from evertoken.core.state import Snapshot
    from evertoken.core.token import Token, TokenKey
    from evertoken.engine import ending
    from evertoken.errors import TokenError
    from evertoken.events import Event
    from evertoken.ports import Grant, TokenStore
    from evertoken.runtime import pool, tasks
    from evertoken.runtime.waiters import Flow
    from evertoken.status import Status
    from evertoken.stores.memory import MemoryStore
else:
    # a process that finds a token in its store needs none of them
    events, ending, pool, tasks = (
        lazy(f"evertoken.{name}")
        for name in ("events", "engine.ending", "runtime.pool", "runtime.tasks")
    )


class TokenManager:
    """Hands out a bearer token that is always fresh.

    While a token is usable no call waits, but for a poll of Redis (20 ms at most): renewals run in
    the process's pool of threads. One runs at a time, however many threads ask; a store extends
    that to processes.

    Args:
        grant: asks the token endpoint, as `PasswordGrant` does.
        store: shares the token with other processes; None: the process's memory alone.
        memory: shares it inside this process; None: the process-wide one.
        policy: when to renew.
        timeout: seconds that a call waits at most when no usable token exists.
        keep_fresh: renew without any request, in a daemon thread.
        prove_credentials: obtain one token before adopting any from a store. Every process
            that can use the store is trusted with all tokens in it. Set this in a daemon whose
            users type their own passwords: `token()` then fails for a wrong one.
        on_event: called with each event, outside of all locks; what it raises is logged.

    Raises:
        ValueError: `timeout` is not a number of seconds.
        TypeError: an argument is of another kind; the error names the remedy.
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
        if math.isnan(timeout) or timeout < 0:
            raise ValueError(f"timeout must be a number of seconds >= 0, not {timeout!r}")
        mistakes.require("grant", grant, "request")
        mistakes.require("policy", policy, "refresh_before")
        if store is not None:
            mistakes.require("store", store, "load", "save")
        if memory is not None:
            mistakes.require("memory", memory, "owner")
        self.keep_fresh = keep_fresh
        self._memory = memory
        self._closed = False
        self.renewer = Renewer(
            grant,
            (memory or process_wide(), *(() if store is None else (store,))),
            policy,
            timeout=timeout,
            proof=prove_credentials,
            on_event=on_event,
        )
        self._keep()

    # The renewer has them, and a process may hold thousands of managers.

    @property
    def grant(self) -> Grant:
        """How a token is obtained."""
        return self.renewer.grant

    @property
    def store(self) -> TokenStore | None:
        """Where it is shared beyond this process; None: nowhere."""
        return self.renewer.stores[1] if len(self.renewer.stores) > 1 else None

    @property
    def policy(self) -> RefreshPolicy:
        """When it is renewed."""
        return self.renewer.policy

    @property
    def timeout(self) -> float:
        """Seconds that a call waits at most, if it names no timeout."""
        return self.renewer.timeout

    @property
    def prove_credentials(self) -> bool:
        """Whether one token must be obtained before any is adopted."""
        return self.renewer.proof

    @property
    def on_event(self) -> Callable[[Event], None] | None:
        """What is called with each event."""
        return self.renewer.on_event

    def token(self, *, timeout: float | None = None) -> Token:
        """A usable token; waits only when there is none.

        Args:
            timeout: seconds to wait at most; None: the manager's.

        Raises:
            GrantRefused: the endpoint refused, now or within the cool-down.
            GrantUnavailable: the endpoint could not be asked, now or within the back-off.
            InvalidTokenResponse: the endpoint answered with something else.
            RefreshTimeout: none was there in time.
        """
        snapshot = self.renewer.snapshot
        # here and in `header`, since a method of its own would be a tenth of their time
        if not snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            snapshot = self._obtain(timeout)
        token = snapshot.former or snapshot.token
        assert token is not None  # noqa: S101  else _obtain would have raised
        return token

    def header(self, *, timeout: float | None = None) -> str:
        """The value of `Authorization` for a usable token (RFC 6750 section 2.1); as `token()`."""
        snapshot = self.renewer.snapshot
        if not snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            snapshot = self._obtain(timeout)
        return snapshot.header

    async def atoken(self, *, timeout: float | None = None) -> Token:
        """As `token`, for a task of asyncio or trio: the event loop goes on while the task waits.

        Tasks and threads wait for one renewal, which runs in the process's pool of threads, and no
        waiting task needs a thread. A task that is cancelled ends its own wait and nothing else.
        Managers belong to no event loop: any number of loops may share one.

        ```python
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": await manager.aheader()}
            await session.get(url, headers=headers)
        ```
        """
        snapshot = await self._aobtain(timeout)
        token = snapshot.former or snapshot.token
        assert token is not None  # noqa: S101  else _aobtain would have raised
        return token

    async def aheader(self, *, timeout: float | None = None) -> str:
        """As `header`, for a task of asyncio or trio; see `atoken`."""
        return (await self._aobtain(timeout)).header

    def _obtain(self, timeout: float | None) -> Snapshot:
        self._keep()
        return waiters.run(obtaining.obtain(self.renewer, clock.now(), self._seconds(timeout)))

    async def _aobtain(self, timeout: float | None) -> Snapshot:
        snapshot = self.renewer.snapshot
        if snapshot.fresh_from <= time.time() < snapshot.fresh_until:
            return snapshot
        self._keep()
        return await tasks.run(obtaining.obtain(self.renewer, clock.now(), self._seconds(timeout)))

    def refresh(self, *, timeout: float | None = None) -> Token:
        """Renew now, even if the token is fresh, and even after a refusal.

        A renewal that already runs is joined; nothing else holds it back.

        Raises:
            TokenError: as `token()` does.
        """
        return waiters.run(obtaining.refresh(self.renewer, clock.now(), self._seconds(timeout)))

    @discreet
    def replacement(self, rejected: str, *, timeout: float | None = None) -> str | None:
        """The header to send again after an API answered `rejected` with a 401 or 403.

        A token that is no longer current is replaced by the current one without a grant; the
        current one is renewed, at most once a minute per identity and process. If the new one is
        refused within that minute, that is logged, and told as `RejectedAgain`.

        Returns:
            None if no other token is available now.

        Raises:
            TokenError: as `token()` does.
        """
        return waiters.run(self._replacing(rejected, timeout))

    async def areplacement(self, rejected: str, *, timeout: float | None = None) -> str | None:
        """As `replacement`, for a task of asyncio or trio; see `atoken`."""
        return await tasks.run(self._replacing(rejected, timeout))

    def _replacing(self, rejected: str, timeout: float | None) -> Flow[str | None]:
        seconds = self._seconds(timeout)
        return obtaining.replace(self.renewer, rejected, clock.now(), seconds, self._may_replace)

    def invalidate(self, token: Token) -> None:
        """Drop `token` here and in the stores, so that the next call renews; a later one stays."""
        pool.run(functools.partial(ending.invalidate, self.renewer, token), self.renewer.place)

    def revoke(self) -> None:
        """Revoke the token and its refresh token (RFC 7009); forget them here and in the stores.

        They are forgotten whatever the server answers. Without any token nothing is sent. A token
        that the stores hold for other credentials stays.

        Raises:
            RevocationFailed: the server did not confirm, there is no `revoke_url`, or the
                credentials, which tell whose the stored token is, cannot be read.
        """
        revoked, error = pool.run(
            functools.partial(ending.revoke, self.renewer), f"revocation {id(self.grant)}"
        )
        if error is not None and not isinstance(error, RevocationFailed):
            error = RevocationFailed(f"the token was not revoked: {error}")
        if revoked:
            events.emit(self.on_event, events.TokenRevoked(confirmed=error is None))
        if error is not None:
            raise error.again()

    def status(self) -> Status:
        """What stands at this moment, without a secret and without asking anything."""
        return self.renewer.status()

    def settle(self, *, timeout: float | None = None) -> TokenError | None:
        """Wait for the renewal in flight, if there is one: for a process that ends soon.

        Returns:
            Its error; None if it brought a token, or if there is no renewal.
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
        """End `keep_fresh`; never waits for a renewal. Calls still work afterwards."""
        self._closed = True
        self.renewer.kept_in = None

    # hidden from type checkers, which refuse a manager as `auth=` by themselves
    if not TYPE_CHECKING:  # pragma: no branch

        def __call__(self, *_arguments: object, **_options: object) -> NoReturn:
            """Say what belongs in the place of a manager that was given as `auth=`."""
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
        # configuration alone: no token, lock or thread travels
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
        return self.timeout if timeout is None else timeout
