"""One renewal across threads, processes and machines: lock, look again, adopt or grant, save."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from evertoken import clock, policy
from evertoken.errors import GrantRefused, GrantUnavailable, RevocationFailed, TokenError
from evertoken.token import Refusal, Token, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from evertoken.instant import Instant
    from evertoken.policy import RefreshPolicy, Snapshot
    from evertoken.ports import Grant, TokenStore
    from evertoken.token import Entry, TokenKey

T = TypeVar("T")

_log = logging.getLogger("evertoken")

LOCK_SLICE = 1.0
"""Seconds of waiting for a lock after which the store is looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one renewal is asked to do.

    Attributes:
        snapshot: what the caller held.
        start: the caller's reading of both clocks.
        force: grant even where a back-off, a refusal or the floor between grants forbids it.
        rejected: a token that an API refused: not adopted again.
        latest: the last token known to have been granted, used up or not.
    """

    snapshot: Snapshot
    start: Instant
    force: bool = False
    rejected: Token | None = None
    latest: Token | None = None

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for its outcome."""
        idle = self.snapshot.usable(self.start) and self.rejected is None
        return self.force or not idle

    def knowing(self, entry: Entry | None) -> Demand:
        """This demand in the light of what a store holds."""
        held = self.snapshot.token
        if isinstance(entry, Refusal) and held is not None and entry.forgets == held.digest():
            return replace(self, snapshot=policy.EMPTY, latest=None)
        if isinstance(entry, Token) and (self.latest is None or entry.later_than(self.latest)):
            return replace(self, latest=entry)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a renewal; neither token nor refusal: a sibling is at it.

    Attributes:
        entry: the token, or why there is none.
        source: `"grant"`, or the name of the store that it was adopted from.
        seconds: how long the renewal took.
    """

    entry: Entry | None = None
    source: str = "busy"
    seconds: float = 0.0

    @property
    def error(self) -> TokenError | None:
        """What a caller that waited is told."""
        return self.entry.error if isinstance(self.entry, Refusal) else None


BUSY = Outcome()

GRANT = "grant"
"""The source of what the token endpoint answered."""

OWN = "own"
"""The source of a refusal that the manager remembered by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """How a manager renews: its grant, its stores near to far, and its rules.

    Attributes:
        patience: seconds to wait for a lock before going on without it.
        draw: this process's lot in [0, 1), for jitter.
    """

    grant: Grant
    stores: Sequence[tuple[str, TokenStore]]
    policy: RefreshPolicy
    patience: float
    draw: float

    def run(self, demand: Demand) -> Outcome:
        """Renew once. Raises nothing: a failure is an `Outcome` with a refusal."""
        outcome = _caught(lambda: self._through(self.stores, self.grant.key, demand))
        if isinstance(outcome, TokenError):
            outcome = Outcome(entry=self._refusal(outcome, demand), source=GRANT)
        return replace(outcome, seconds=clock.since_boot() - demand.start.boot)

    def _through(
        self, stores: Sequence[tuple[str, TokenStore]], key: TokenKey, demand: Demand
    ) -> Outcome:
        """Near to far, the only order of locks; what is found or granted is saved far to near."""
        if not stores:
            return self._ask(demand)
        (name, store), *farther = stores
        for wait, last in self._waits(demand):
            with store.lock(key, timeout=wait) as held:
                entry = store.load(key)
                if (found := self._adoptable(entry, demand)) is not None:
                    return Outcome(entry=found, source=name)
                if not (held or last):
                    continue
                if not held:
                    _log.warning("the lock of the %s store was not had in time: no waiting", name)
                outcome = self._through(farther, key, demand.knowing(entry))
                if outcome.entry is not None and outcome.source != OWN:
                    store.save(key, outcome.entry)
                return outcome
        return BUSY

    def _waits(self, demand: Demand) -> Iterator[tuple[float, bool]]:
        """Seconds to wait for a lock, and whether to go on without it after that.

        Where nobody waits there is one try; else slices, between which a token that a sibling
        saved is seen. Jitter keeps siblings from giving up together behind a stuck holder.
        """
        blocked = demand.snapshot.blocked_since
        since = demand.start.boot if blocked is None else blocked
        give_up = since + self.patience * (1 + self.policy.jitter * self.draw)
        if not demand.urgent:
            yield 0.0, clock.since_boot() >= give_up
            return
        while (left := give_up - clock.since_boot()) > LOCK_SLICE:
            yield LOCK_SLICE, False
        yield max(0.0, left), True

    def _adoptable(self, entry: Entry | None, demand: Demand) -> Entry | None:
        """`entry` where it makes a grant needless."""
        now = clock.elapsed(demand.start)
        if isinstance(entry, Token):
            return entry if self._serves(entry, demand, now) else None
        if entry is None or demand.force or not policy.stands(entry, now, self.policy):
            return None
        return entry if not entry.tag or self._tag(entry.salt) == entry.tag else None

    def _serves(self, token: Token, demand: Demand, now: Instant) -> bool:
        if not self.policy.usable(token, now):
            return False
        if demand.rejected is not None:
            return token.value != demand.rejected.value
        if demand.force:
            return token.issued_since(demand.start)
        due = self.policy.due_at(token, draw=self.draw).reached(now)
        return not due or not demand.snapshot.usable(now)

    def _tag(self, salt: bytes) -> bytes:
        tag = _caught(lambda: self.grant.credentials_tag(salt))
        return b"" if isinstance(tag, TokenError) else tag

    def _ask(self, demand: Demand) -> Outcome:
        if (standing := self._adoptable(demand.snapshot.refusal, demand)) is not None:
            return Outcome(entry=standing, source=OWN)
        self._keep_floor(demand)
        sent = clock.elapsed(demand.start)
        answer = _caught(self.grant.request)
        if isinstance(answer, TokenError):
            return Outcome(entry=self._refusal(answer, demand), source=GRANT)
        # age counts from before the request was sent, on the caller's clocks
        token = replace(
            answer,
            issued_at=sent.wall,
            expires_at=sent.wall + answer.lifetime,
            issued_boot=sent.boot,
        )
        return Outcome(entry=token, source=GRANT)

    def _keep_floor(self, demand: Demand) -> None:
        if demand.latest is None or demand.latest.issued_boot is None or demand.force:
            return
        wait = demand.latest.issued_boot + policy.GRANT_FLOOR - clock.since_boot()
        if 0 < wait <= policy.GRANT_FLOOR:
            time.sleep(wait)

    def _refusal(self, error: TokenError, demand: Demand) -> Refusal:
        now = clock.elapsed(demand.start)
        refused = isinstance(error, GrantRefused)
        before = demand.snapshot.refusal
        failures = 1 if before is None else before.failures + 1
        salt = os.urandom(16) if refused else b""
        pause = self.policy.backoff(error, failures=failures, refused=refused, draw=self.draw)
        return Refusal(
            refused_at=now.wall,
            until=now.wall + pause,
            error=error,
            failures=failures,
            salt=salt,
            tag=self._tag(salt) if refused else b"",
            token=demand.snapshot.token,
            refused_boot=now.boot,
        )

    def revoke(self, held: Token | None) -> tuple[frozenset[str], TokenError | None]:
        """Revoke what the manager or a store holds, and forget it everywhere all the same.

        Returns:
            The values of the tokens, and the first error.
        """
        key = self.grant.key
        with contextlib.ExitStack() as locks:
            for _, store in self.stores:
                locks.enter_context(store.lock(key, timeout=self.patience))
            entries = [held, *(store.load(key) for _, store in self.stores)]
            tokens = {token.value: token for token in map(token_of, entries) if token is not None}
            errors = [self._revoke(token) for token in tokens.values()]
            for _, store in reversed(self.stores):
                for token in tokens.values():
                    store.forget(key, token)
        return frozenset(tokens), next((error for error in errors if error is not None), None)

    def _revoke(self, token: Token) -> TokenError | None:
        answer = _caught(lambda: self.grant.revoke(token))
        if answer is None or isinstance(answer, RevocationFailed):
            return answer
        return RevocationFailed(f"the token was not revoked: {answer}", transient=answer.transient)


def _caught(call: Callable[[], T]) -> T | TokenError:
    """What `call` returns, or its error without traceback, context or cause.

    Whatever else a grant or a credential's callable raises may quote a secret: only its type is
    told.
    """
    try:
        return call()
    except TokenError as raised:
        error = raised
    except Exception as raised:  # noqa: BLE001  a user's callable may raise anything
        name = type(raised).__name__
        error = GrantUnavailable(f"the credentials could not be read: {name}", transient=True)
    return error.again()
