"""The faults: each is put into force, lasts for a while, is undone, and tells what it concerned."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.chaos.history import TokensEnded, now
from benchmarks.chaos.kinds import RETRY_AFTER, SLOWEST
from benchmarks.chaos.world import IDENTITIES, LIFETIME, REDIS
from evertoken.testing import Answer, Cut
from evertoken.testing.answers import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from benchmarks.chaos.endpoint import Served
    from benchmarks.chaos.fleet import Fleet
    from benchmarks.chaos.machine import Machine
    from benchmarks.chaos.world import World
    from evertoken.testing.answers import Behaviour

SHORT, LONG = 1.0, LIFETIME + 3.0
"""Seconds that a fault lasts: at least, and at most. The longest outlasts a token."""

SPARE = 4
"""Descriptors that an affected process may still open; the standard library needs a few."""

HTML = {"Content-Type": "text/html"}
LATER = {"Retry-After": f"{RETRY_AFTER:.0f}"}


class Effect(NamedTuple):
    """What a fault concerned, and since when; None: since it was drawn."""

    places: tuple[str, ...]
    since: float | None = None


class Patience:
    """How long faults last, and which of them exclude each other.

    Attributes:
        over: set when all have to end.
    """

    def __init__(self) -> None:
        self.over = threading.Event()
        self._lock = threading.Lock()  # guards _busy
        self._busy: set[str] = set()  # what a fault holds: no second one breaks the same

    @contextlib.contextmanager
    def holding(self, what: str) -> Iterator[bool]:
        """Whether no other fault holds the same."""
        with self._lock:
            free = what not in self._busy
            self._busy.add(what)
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    self._busy.discard(what)

    def stay(self, draw: Random) -> None:
        """Let a fault be in force for a while."""
        self.over.wait(math.exp(draw.uniform(math.log(SHORT), math.log(LONG))))


class Faults:
    """The faults of processes, machines, Valkey and endpoints.

    Attributes:
        kinds: each by its name in `kinds.KINDS`. Its argument is its source of chance; it returns
            None if there was nothing that it could break.
    """

    def __init__(self, world: World, fleet: Fleet, patience: Patience) -> None:
        self._world, self._fleet, self._patience = world, fleet, patience
        self.kinds: dict[str, Callable[[Random], Effect | None]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "no descriptors": self._no_descriptors,
            "clock step": self._clock_step,
            "no DNS": lambda draw: self._switched(draw, "no_dns"),
            "no threads": lambda draw: self._switched(draw, "no_threads"),
            "Valkey stopped": self._stop_valkey,
            "Valkey killed": self._kill_valkey,
            "Valkey flushed": self._flush,
            "Valkey cut off": self._cut_off,
            "slow endpoint": self._slow,
            "endpoint down": self._down,
            "one 4xx": lambda draw: self._once(draw, Answer(404, HTML, b"gone")),
            "garbage": lambda draw: self._once(draw, Answer(200, HTML, b"<html>")),
            "429": lambda draw: self._once(
                draw, Answer(429, {"Retry-After": f"{RETRY_AFTER:.0f}"})
            ),
            "answer lost": lambda draw: self._once(draw, Cut("head", keep=0)),
            "token revoked": self._revoke,
            "password rotated": self._rotate_password,
        }

    # -- processes ---------------------------------------------------------------------------------

    def _kill(self, draw: Random) -> Effect | None:
        if (victim := self._fleet.victim(draw)) is None:
            return None
        slot, pid = victim
        if not _sent(pid, signal.SIGKILL):
            return None
        return Effect((slot.name_of(pid), slot.job.identity))

    def _freeze(self, draw: Random) -> Effect | None:
        if (victim := self._fleet.victim(draw)) is None:
            return None
        slot, pid = victim
        with self._patience.holding(f"process {pid}") as free:
            if not free or not _sent(pid, signal.SIGSTOP):
                return None
            try:
                self._patience.stay(draw)
            finally:
                _sent(pid, signal.SIGCONT)
        return Effect((slot.name_of(pid), slot.job.identity))

    def _no_descriptors(self, draw: Random) -> Effect | None:
        import resource  # noqa: PLC0415  Windows has none

        if (victim := self._fleet.victim(draw)) is None:
            return None
        slot, pid = victim
        with self._patience.holding(f"process {pid}") as free:
            if not free:
                return None
            try:
                soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                most = min(soft, len(os.listdir(f"/proc/{pid}/fd")) + SPARE)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, hard))
            except OSError:
                return None
            self._patience.stay(draw)
            # its children have the same limit
            for each in {pid, *slot.members()}:
                with contextlib.suppress(OSError):
                    resource.prlimit(each, resource.RLIMIT_NOFILE, (soft, hard))
        return Effect((slot.name_of(pid), slot.job.identity))

    # -- machines ----------------------------------------------------------------------------------

    def _machine(self, draw: Random) -> Machine:
        return draw.choice(list(self._world.machines.values()))

    def _clock_step(self, draw: Random) -> Effect:
        machine = self._machine(draw)
        size = math.exp(draw.uniform(math.log(2), math.log(7200)))
        machine.controls.ahead += size * draw.choice([-1, 1])
        return Effect((f"machine {machine.name}",))

    def _switched(self, draw: Random, name: str) -> Effect | None:
        machine = self._machine(draw)
        with self._patience.holding(f"{name} {machine.name}") as free:
            if not free:
                return None
            try:
                setattr(machine.controls, name, True)
                self._patience.stay(draw)
            finally:
                setattr(machine.controls, name, False)
        return Effect((f"machine {machine.name}",))

    # -- Valkey ------------------------------------------------------------------------------------

    def _stop_valkey(self, draw: Random) -> Effect | None:
        with self._patience.holding(REDIS) as free:
            if not free:
                return None
            try:
                self._world.valkey.signal(signal.SIGSTOP)
                self._patience.stay(draw)
            finally:
                self._world.valkey.signal(signal.SIGCONT)
        return Effect((REDIS,))

    def _kill_valkey(self, draw: Random) -> Effect | None:
        with self._patience.holding(REDIS) as free:
            if not free:
                return None
            try:
                self._world.valkey.kill()
                self._patience.stay(draw)
            finally:
                self._world.valkey.start()
        return Effect((REDIS,))

    def _flush(self, _draw: Random) -> Effect | None:
        with self._patience.holding(REDIS) as free:
            if not free:
                return None
            self._world.valkey.client.flushall()
        return Effect((REDIS,))

    def _cut_off(self, draw: Random) -> Effect | None:
        machine = self._machine(draw)
        with self._patience.holding(f"link {machine.name}") as free:
            if not free:
                return None
            try:
                machine.link.cut()
                self._patience.stay(draw)
            finally:
                machine.link.restore()
        return Effect((f"link {machine.name}",))

    # -- endpoints ---------------------------------------------------------------------------------

    def _served(self, draw: Random) -> Served:
        return self._world.served[draw.choice([it.name for it in IDENTITIES])]

    def _slow(self, draw: Random) -> Effect | None:
        served = self._served(draw)
        with self._patience.holding(f"latency {served.identity}") as free:
            if not free:
                return None
            try:
                served.server.latency = draw.uniform(SLOWEST / 4, SLOWEST)
                self._patience.stay(draw)
            finally:
                served.server.latency = 0.0
        return Effect((served.identity,))

    def _down(self, draw: Random) -> Effect | None:
        served = self._served(draw)
        with self._patience.holding(f"endpoint {served.identity}") as free:
            if not free:
                return None
            try:
                served.recording.fault = Answer(503)
                self._patience.stay(draw)
            finally:
                served.recording.fault = USUAL
        return Effect((served.identity,))

    def _once(self, draw: Random, behaviour: Behaviour) -> Effect | None:
        """Wait until a request meets it."""
        served, met = self._served(draw), threading.Event()
        with self._patience.holding(f"once {served.identity}") as free:
            if not free:
                return None
            try:
                served.recording.answer_once(behaviour, met.set)
                while not met.wait(0.02):
                    if self._patience.over.is_set():
                        return None
            finally:
                served.recording.forget_once()
        return Effect((served.identity,), since=now() - 0.02)

    def _revoke(self, draw: Random) -> Effect:
        served = self._served(draw)
        # a login goes on: only its access tokens end
        served.server.expire_all()
        self._world.record(TokensEnded(identity=served.identity, at=now()))
        return Effect((served.identity,))

    def _rotate_password(self, draw: Random) -> Effect | None:
        names = [it.name for it in IDENTITIES if it.grant == "password" and not it.stranger]
        served = self._world.served[draw.choice(names)]
        with self._patience.holding(f"password {served.identity}") as free:
            if not free:
                return None
            new = f"password-{draw.getrandbits(64):016x}"
            served.server.change_password(new)
            time.sleep(draw.uniform(0.0, 2.0))
            served.write_credentials(new)
        return Effect((served.identity,))


def _sent(pid: int, number: signal.Signals) -> bool:
    """Whether the process was there to get the signal."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
