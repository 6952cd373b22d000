"""The renewal of an exclusive grant, whose rotating refresh token must not be spent twice.

The farthest store is the home of the login. A request is sent only under the home's lock, and only
after the home has saved the mark "being spent", which proves that the successor can be saved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core.effects import (
    InitialRefused,
    LoginUnsaved,
    MayAdopt,
    Now,
    OrderingTime,
    Publish,
    Save,
    Sleep,
    StillHeld,
)
from evertoken.core.entry import Entry, join, next_generation
from evertoken.core.failure_kind import FailureKind
from evertoken.core.hold import Hold
from evertoken.core.login import Initial, Login, digest_of
from evertoken.core.outcome import Source
from evertoken.core.renewal import Renewal
from evertoken.core.token import Token
from evertoken.errors import GrantRefused, GrantUnavailable

if TYPE_CHECKING:
    from evertoken.core.effects import Steps
    from evertoken.core.failure import Failure
    from evertoken.core.instant import Instant
    from evertoken.core.outcome import Result
    from evertoken.errors import TokenError

LOST_WITHIN = 3.0
"""Seconds within which an answer that was lost is asked for again.

Later, the lock's lease might end before the second answer. The next renewal then asks again.
"""

SAVE_PAUSE = 0.5
"""Seconds between two tries to save the successor of a refresh token."""


class ExclusiveRenewal(Renewal):
    """A renewal that spends a refresh token."""

    @property
    def _home(self) -> int:
        return self.plan.stores - 1

    def locked(self, store: int, hold: Hold) -> Steps[Result | None]:
        """Stop if the home has no lock."""
        if store == self._home and hold is Hold.ABSENT:
            obstacle = "the store of the login has no lock: it does not answer, or supports none"
            return (yield from self._not_sent(obstacle))
        return None

    def not_locked(self, store: int) -> Steps[Result | None]:
        """Stop if another process holds the home's lock: it may be spending the refresh token."""
        if store == self._home:
            return (yield from self._not_sent("another process holds the lock of the login"))
        return (yield from super().not_locked(store))

    def exchange(self) -> Steps[Result]:
        """Spend the refresh token, and save its successor."""
        if self.known.login is None and not (yield from self._has_read_home()):
            return (yield from self._not_sent("the store of the login could not be read"))
        login = self._login((yield OrderingTime()))
        if login is None or login.refresh_token is None:
            return (yield from self._without_login(login))
        if obstacle := (yield from self._obstacle(login)):
            return (yield from self._not_sent(obstacle))
        answer = yield from self._spend(login.refresh_token)
        if isinstance(answer, Token):
            return (yield from self._succeeded(login, answer))
        if answer.error != "invalid_grant":
            return (yield from self.failed(answer))
        return (yield from self._ended(login, answer))

    def _obstacle(self, login: Login) -> Steps[str]:
        """Mark `login`, and look at the lock once more; why it must not be spent, or nothing."""
        if not (yield from self._mark(login)):
            return "the login could not be saved before its use"
        if not (yield StillHeld(self._home)):
            return "the lock of the login was lost"
        return ""

    def _spend(self, refresh_token: str) -> Steps[Token | TokenError]:
        """Post the refresh token, and post it again if the answer was lost.

        The server may have replaced it already. Within its grace period it answers again; without
        one the login is lost either way.
        """
        since = yield Now()
        answer = yield from self.post(refresh_token)
        now = yield Now()
        if isinstance(answer, Token) or not _lost(answer) or now.boot > since.boot + LOST_WITHIN:
            return answer
        if not (yield StillHeld(self._home)):
            return answer
        return (yield from self.post(refresh_token))

    def _ended(self, login: Login, error: TokenError) -> Steps[Result]:
        """The server does not take the refresh token any more: the login has ended for everyone.

        Unless another process holds a newer one: it spent this one while our lock was lost.
        """
        yield from self._load(self._home)
        newest = self.known.login
        if newest is not None and newest.generation > login.generation:
            found = yield from self._result_if_found(self._home)
            return found or (yield from self.result(Source.BUSY))
        if (older := self._older(login)) is not None:
            self._learn(replace(older, initials=login.initials))
            return (yield from self._without_initial(error))
        # Of the same generation: a successor that a sibling saves later still replaces it.
        self._learn(replace(login, refresh_token=None))
        if self.plan.fallback:
            return (yield from self._fall_back())
        return (yield from self.failed(error, kind=FailureKind.LOCAL))

    def _without_initial(self, error: TokenError) -> Steps[Result]:
        """The initial token is not taken: go on with the stored login, if it is ours."""
        token = self.known.token
        if token is not None and not (yield MayAdopt(self.credentials, token)):
            return (yield from self.failed(error, kind=FailureKind.LOCAL))
        yield InitialRefused(error)
        return (yield from self.exchange())

    # -- without a refresh token -------------------------------------------------------------------

    def _without_login(self, login: Login | None) -> Steps[Result]:
        if self.plan.fallback:
            return (yield from self._fall_back())
        none = "there is no refresh token: log in"
        what = none if login is None else "the login has ended: log in again"
        error = GrantRefused(self._named(what), error="invalid_grant")
        return (yield from self.failed(error, kind=FailureKind.LOCAL))

    def _fall_back(self) -> Steps[Result]:
        """Ask with the fallback's credentials; the refresh token that comes begins a new login."""
        answer = yield from self.answer()
        if isinstance(answer, Token):
            return (yield from self._succeeded(None, answer))
        return (yield from self.failed(answer))

    def _not_sent(self, reason: str) -> Steps[Result]:
        """The result of a renewal that did not send the refresh token; an error names the reason.

        A fallback needs no lock and no store. What it brings leaves the stored login alone.
        """
        now = yield Now()
        own = self._own_failure(now)
        if own is not None:
            return (yield from self.result(Source.REMEMBERED, failure=own))
        if self.plan.fallback:
            return (yield from super().exchange())
        what = self._named(f"the refresh token was not sent: {reason}")
        error = GrantUnavailable(what, transient=True)
        return (yield from self.failed(error, kind=FailureKind.LOCAL))

    # -- failures that are remembered --------------------------------------------------------------

    def _remembered_refusal(self) -> Steps[Result | None]:
        """The end of the login is remembered too, without a lock, until there is another one."""
        now = yield Now()
        own = self._own_failure(now)
        if own is None or self.request.rejected or not _ends_login(own):
            return (yield from super()._remembered_refusal())
        return (yield from self.result(Source.REMEMBERED, failure=own))

    def _own_failure(self, now: Instant) -> Failure | None:
        own = super()._own_failure(now)
        return None if own is not None and _ends_login(own) and self._starts_anew else own

    def _result_if_found(self, store: int) -> Steps[Result | None]:
        """A failure in a nearer store does not bind before the home was asked for a newer login."""
        if self._home not in self._stored:
            return None
        return (yield from super()._result_if_found(store))

    def _binding_failure(self, now: Instant) -> Steps[Failure | None]:
        """A refusal does not outlast the login that it came before."""
        failure = yield from super()._binding_failure(now)
        login = self.known.login
        if failure is None or login is None or not failure.refused:
            return failure
        return None if login.refresh_token and login.generation > failure.generation else failure

    # -- the login ---------------------------------------------------------------------------------

    @property
    def _starts_anew(self) -> bool:
        """Whether the initial token is one that has not been used."""
        login, initial = self.known.login, self.credentials.initial
        if initial is None:
            return False
        return login is None or digest_of(initial) not in {each.digest for each in login.initials}

    def _login(self, seconds: float) -> Login | None:
        """The login to spend: a new one if the initial token has not been used yet."""
        login, initial = self.known.login, self.credentials.initial
        if initial is None or not self._starts_anew:
            return login
        used = () if login is None else login.initials
        generation = next_generation(self.known, seconds)
        return Login(initial, generation, initials=(Initial(generation, digest_of(initial)), *used))

    def _has_read_home(self) -> Steps[bool]:
        """Whether the home has no login that is known here: a load that failed looks the same.

        A save of nothing new writes nothing, and returns what the home holds.
        """
        joined = yield Save(self._home, self.known)
        if joined is None:
            return False
        self._stored[self._home] = joined
        self.known = join(self.known, joined)
        return True

    def _older(self, login: Login) -> Login | None:
        """The login that the store holds, which lives, and which `login` is to replace."""
        known = self.known.login
        if known is None or known.refresh_token is None:
            return None
        return known if known.generation < login.generation else None

    def _mark(self, login: Login) -> Steps[bool]:
        """Save that `login` is about to be spent; whether the home has it, and no newer one.

        An initial token that the server may not take replaces no login that works: the mark is then
        on the older one, until there is a successor.
        """
        marked = replace(self._older(login) or login, being_spent=True)
        self._learn(marked)
        joined: Entry | None = yield Save(self._home, self.known)
        saved = None if joined is None else joined.login
        if saved is None or saved.generation != marked.generation:
            return False
        return saved.refresh_token == marked.refresh_token

    def _succeeded(self, login: Login | None, token: Token) -> Steps[Result]:
        kept = None if login is None else login.refresh_token
        if successor := token.refresh_token or kept:
            ends = token.refresh_expires_at
            if not token.refresh_token and login is not None:
                # RFC 6749 section 6: no new one, so the old one stays
                ends = ends or login.expires_at
            initials = () if login is None else login.initials
            self._learn(Login(successor, self.generation, initials=initials, expires_at=ends))
        result = yield from self.granted(token)
        if not (yield from self.save(self._home)):
            yield LoginUnsaved(self._home)
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

    def _named(self, text: str) -> str:
        return f"{self.credentials.key}: {text}"


def _lost(error: TokenError) -> bool:
    """Whether the server may have replaced the refresh token, and its answer was lost."""
    if error.local or not error.transient:
        return False
    status = error.status
    # a gateway that gave up on the server, or a success that is cut or garbled
    return status is None or status in {502, 504} or status // 100 == 2  # noqa: PLR2004  HTTP's


def _ends_login(failure: Failure) -> bool:
    """Whether `failure` is the end of a login, which binds nobody by the client's credentials."""
    return not failure.refused and isinstance(failure.error, GrantRefused)
