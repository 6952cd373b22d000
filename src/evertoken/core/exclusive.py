"""The renewal of an exclusive grant, whose rotating refresh token must not be spent twice.

The farthest store is the home of the login. A request is sent only under the home's lock, and only
after the home has saved the mark "being spent", which proves that the successor can be saved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core.effects import Now, OrderingTime, Publish, Save, Sleep, StillHeld
from evertoken.core.entry import Entry, join, next_generation
from evertoken.core.failure_kind import FailureKind
from evertoken.core.hold import Hold
from evertoken.core.login import Initial, Login, digest_of
from evertoken.core.renewal import Renewal
from evertoken.core.token import Token
from evertoken.errors import GrantRefused, GrantUnavailable

if TYPE_CHECKING:
    from evertoken.core.effects import Steps
    from evertoken.core.outcome import Result

SAVE_PAUSE = 0.5
"""Seconds between two tries to save the successor of a refresh token."""


class ExclusiveRenewal(Renewal):
    """A renewal that spends a refresh token."""

    @property
    def _home(self) -> int:
        return self.plan.stores - 1

    def locked(self, store: int, hold: Hold) -> Steps[Result | None]:
        """Stop if the home does not support locking."""
        if store == self._home and hold is Hold.ABSENT:
            return (yield from self._not_sent("the store of the login does not support locking"))
        return None

    def not_locked(self, store: int) -> Steps[Result | None]:
        """Stop if another process holds the home's lock: it may be spending the refresh token."""
        if store == self._home:
            return (yield from self._not_sent("another process holds the lock of the login"))
        return (yield from super().not_locked(store))

    def exchange(self) -> Steps[Result]:
        """Spend the refresh token, and save its successor."""
        login = self._login((yield OrderingTime()))
        if login is None or login.refresh_token is None:
            error = GrantRefused("there is no refresh token: log in again", error="invalid_grant")
            return (yield from self.failed(error, kind=FailureKind.LOCAL))
        marked = yield from self._mark(login)
        if not marked:
            return (yield from self._not_sent("the login could not be saved before its use"))
        if not (yield StillHeld(self._home)):
            return (yield from self._not_sent("the lock of the login was lost"))
        answer = yield from self.post(login.refresh_token)
        if isinstance(answer, Token):
            return (yield from self._succeeded(login, answer))
        if answer.error != "invalid_grant":
            return (yield from self.failed(answer))
        # The verdict is on the login: siblings see that it has ended, and a new login ends the
        # wait.
        self._learn(replace(login, refresh_token=None, generation=self.generation))
        return (yield from self.failed(answer, kind=FailureKind.LOCAL))

    def _login(self, seconds: float) -> Login | None:
        """The login to spend: a new one if the initial token has not been used yet."""
        login, initial = self.known.login, self.credentials.initial
        used = () if login is None else login.initials
        if initial is None or digest_of(initial) in {each.digest for each in used}:
            return login
        generation = next_generation(self.known, seconds)
        return Login(initial, generation, initials=(Initial(generation, digest_of(initial)), *used))

    def _mark(self, login: Login) -> Steps[bool]:
        """Save that `login` is about to be spent. True if the home holds it, and no newer login."""
        self._learn(replace(login, being_spent=True))
        joined: Entry | None = yield Save(self._home, self.known)
        saved = None if joined is None else joined.login
        if saved is None or saved.generation != login.generation:
            return False
        return saved.refresh_token == login.refresh_token

    def _succeeded(self, login: Login, token: Token) -> Steps[Result]:
        successor = token.refresh_token or login.refresh_token
        self._learn(Login(successor, self.generation))
        result = yield from self.granted(token)
        if not (yield from self.save(self._home)):
            yield Publish(result)
            yield from self._save_late(result.deadline)
        return result

    def _save_late(self, deadline: float) -> Steps[None]:
        """Retry the save under the lock: until it succeeds, the login would die with us."""
        now = yield Now()
        while now.boot < deadline:
            yield Sleep(SAVE_PAUSE)
            if (yield from self.save(self._home)):
                return
            now = yield Now()

    def _learn(self, login: Login) -> None:
        self.known: Entry = join(self.known, Entry(login=login))

    def _not_sent(self, reason: str) -> Steps[Result]:
        """The result of a renewal that sent nothing: `GrantUnavailable` with the reason."""
        error = GrantUnavailable(f"the refresh token was not sent: {reason}", transient=True)
        return (yield from self.failed(error, kind=FailureKind.LOCAL))
