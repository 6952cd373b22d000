"""One exchange with the token endpoint: post, date the token, remember the answer."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core.effects import (
    Hash,
    NewSalt,
    Now,
    OrderingTime,
    Publish,
    Reading,
    Request,
    Sleep,
)
from evertoken.core.entry import Entry, demoted, join, next_generation
from evertoken.core.failure import Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.outcome import Result, Source
from evertoken.core.token import Token

if TYPE_CHECKING:
    from evertoken.core.effects import Plan, RenewalRequest, Steps
    from evertoken.core.instant import Instant
    from evertoken.errors import TokenError

FIRST_TRIES = 3
"""Requests of a cold renewal: no usable token, no failure of this manager, no known outage."""

FIRST_PAUSE = 0.2
"""Seconds between the first two of them; the pause then doubles."""

LAST_TRY = 1.0
"""Seconds after the first try within which the last one is sent.

The lock is therefore held for little longer than one request. A request that hung is not retried.
"""

_TRANSIENT = frozenset({None, 408, 425, 429})
_SERVER_ERROR = 500


class Exchange:
    """The part of a renewal that talks to the server, with what is known so far.

    `Renewal` adds locks and stores; `ExclusiveRenewal` replaces `exchange`.

    Attributes:
        known: the join of everything that the manager and the stores know. It includes tokens of
            other credentials, since a new generation must be higher than theirs too.
    """

    def __init__(self, plan: Plan, request: RenewalRequest) -> None:
        self.plan = plan
        self.request: RenewalRequest = request
        self.known: Entry = demoted(request.snapshot.entry, request.start.wall)
        self.reading: Reading | None = None
        self.generation: int = 0
        self._sent: Instant | None = None

    @property
    def deadline(self) -> float:
        """When this renewal becomes late, on the clock since boot.

        Counted from the send, so the time spent waiting for locks is excluded.
        """
        return math.inf if self._sent is None else self._sent.boot + self.plan.deadline

    def hash(self) -> Steps[bytes]:
        """The hash of the credentials under the salt of what is known."""
        hashed: bytes = yield Hash(self.credentials, self.known.salt)
        return hashed

    @property
    def credentials(self) -> Reading:
        """The reading of the credentials, which is there by the time of a request."""
        assert self.reading is not None  # noqa: S101  `steps` ends if there is none
        return self.reading

    # -- the request -------------------------------------------------------------------------------

    def exchange(self) -> Steps[Result]:
        """Send the request and remember the answer."""
        answer = yield from self.answer()
        if isinstance(answer, Token):
            return (yield from self.granted(answer))
        return (yield from self.failed(answer))

    def answer(self) -> Steps[Token | TokenError]:
        """Post. A cold renewal retries, so that a passing error only delays the caller.

        Once a failure is known only the back-off decides, so that an outage does not triple
        requests.
        """
        now = yield Now()
        last = min(now.boot + LAST_TRY, self.request.start.boot + self.plan.lock_timeout)
        tries = 0
        while True:
            answer = yield from self.post()
            tries += 1
            if isinstance(answer, Token) or not (self._cold and _worth_retrying(answer)):
                return answer
            pause = FIRST_PAUSE * 2 ** (tries - 1)
            pause = self.jittered(max(pause, answer.retry_after or 0.0))
            now = yield Now()
            if tries == FIRST_TRIES or now.boot + pause > last:
                return answer
            yield Sleep(pause)

    def post(self, refresh_token: str | None = None) -> Steps[Token | TokenError]:
        """Post once.

        The issue time and the generation are taken before the send, so that a revocation during the
        request covers the token.
        """
        sent: Instant = yield Now()
        self._sent = sent
        self.generation = next_generation(self.known, (yield OrderingTime()))
        answer: Token | TokenError = yield Request(self.credentials, refresh_token)
        if not isinstance(answer, Token):
            return answer
        return replace(
            answer,
            issued_at=sent.wall,
            expires_at=sent.wall + answer.lifetime,
            issued_boot=sent.boot,
            generation=self.generation,
        )

    def granted(self, token: Token) -> Steps[Result]:
        """The result of a grant."""
        yield from self._record_success(token)
        self.known = join(self.known, Entry.of_token(token))
        return (yield from self.result(Source.GRANT, token=token))

    def _record_success(self, token: Token) -> Steps[None]:
        """If a refusal of these credentials is known, record that they were accepted."""
        if not self.known.refusals:
            return
        before = self.known.refusal_of((yield from self.hash()))
        if before is not None and before.count:
            accepted = replace(
                before,
                at=token.issued_at,
                until=token.issued_at,
                count=0,
                generation=self.generation,
                at_boot=token.issued_boot,
            )
            self.known = join(self.known, Entry.of_failure(accepted, self.known.salt))

    @property
    def _cold(self) -> bool:
        """Whether a caller has nothing to send and no failure is known."""
        snapshot = self.request.snapshot
        failed = snapshot.failure or self.known.outage
        return failed is None and not snapshot.usable(self.request.start)

    # -- failures ----------------------------------------------------------------------------------

    def failed(self, error: TokenError, *, kind: FailureKind | None = None) -> Steps[Result]:
        """The result of a failure, recorded for every manager that it binds.

        After the deadline only a refusal counts, since other errors may come from a suspended
        process.
        """
        kind = kind or FailureKind.of(error)
        if kind is FailureKind.REFUSED:
            return (yield from self._refused(error))
        now = yield Now()
        if now.boot > self.deadline:
            return (yield from self.result(Source.FAILED_LATE))
        own = self.request.snapshot.failure
        before = self.known.outage if kind is FailureKind.UNAVAILABLE else own
        count = before.count if before is not None and before.kind is kind else 0
        failure = yield from self._failure(kind, error, count + 1)
        self.known = join(self.known, Entry.of_failure(failure))
        return (yield from self.result(Source.GRANT, failure=failure))

    def _refused(self, error: TokenError) -> Steps[Result]:
        """Release the waiting callers before the slow hash, which only siblings need.

        If refusals are known, the hash comes first, to find the count of these credentials.
        """
        before = self.request.snapshot.failure
        if self.known.refusals:
            before = self.known.refusal_of((yield from self.hash()))
        elif before and before.credentials_hash != self.credentials.fingerprint:
            before = None
        count = before.count if before is not None and before.refused else 0
        failure = yield from self._failure(FailureKind.REFUSED, error, count + 1)
        own = replace(failure, credentials_hash=self.credentials.fingerprint)
        result = yield from self.result(Source.GRANT, failure=own)
        yield Publish(result)
        yield from self._remember_refusal(failure)
        return result

    def _remember_refusal(self, failure: Failure) -> Steps[None]:
        if not self.known.salt:
            salt = yield NewSalt()
            self.known = replace(self.known, salt=salt)
        hashed = yield from self.hash()
        if hashed:
            shared = replace(failure, credentials_hash=hashed)
            self.known = join(self.known, Entry.of_failure(shared, self.known.salt))

    def _failure(self, kind: FailureKind, error: TokenError, count: int) -> Steps[Failure]:
        now = yield Now()
        fraction = self.plan.jitter_fraction
        pause = self.plan.policy.backoff(error, kind=kind, count=count, jitter_fraction=fraction)
        return Failure(
            kind=kind,
            at=now.wall,
            until=now.wall + pause,
            error=error,
            count=count,
            generation=self.generation,
            at_boot=now.boot,
        )

    # -- results -----------------------------------------------------------------------------------

    def result(
        self,
        source: Source,
        *,
        token: Token | None = None,
        failure: Failure | None = None,
        store: int | None = None,
    ) -> Steps[Result]:
        """A result with the duration and the identity of this renewal."""
        now = yield Now()
        reading, start = self.reading, self.request.start
        return Result(
            source=source,
            entry=self.known,
            token=token,
            failure=failure,
            store=store,
            key=None if reading is None else reading.key,
            fingerprint=b"" if reading is None else reading.fingerprint,
            seconds=now.boot - start.boot,
            deadline=self.deadline,
        )

    def jittered(self, seconds: float) -> float:
        """`seconds`, lengthened by this process's jitter."""
        return seconds * (1 + self.plan.policy.jitter * self.plan.jitter_fraction)


def _worth_retrying(error: TokenError) -> bool:
    """Whether an immediate retry may help: no answer, or a temporary error status."""
    status = error.status
    temporary = status in _TRANSIENT or (status is not None and status >= _SERVER_ERROR)
    return error.transient and temporary
