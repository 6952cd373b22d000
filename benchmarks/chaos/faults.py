"""The faults: each is put into force, lasts, and ends; it yields the places that it concerns."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.chaos.history import Ended, now
from benchmarks.chaos.kinds import RETRY_AFTER
from benchmarks.chaos.world import IDENTITIES, LIFETIME, REDIS
from evertoken.testing import Answer, Cut
from evertoken.testing.answers import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from random import Random

    from benchmarks.chaos.endpoint import Served
    from benchmarks.chaos.fleet import Fleet
    from benchmarks.chaos.world import Machine, World
    from evertoken.testing.answers import Behaviour

Places = tuple[str, ...]
"""The places that a fault concerns; none if it was not put into force."""

SHORT, LONG = 1.0, LIFETIME + 3.0
"""Seconds that a fault lasts: at least, and at most. The longest outlasts a token."""

FREE = 4
"""Descriptors that a process without any may still open, as those of its standard library do."""


class Faults:
    """All faults of a world and its fleet.

    Attributes:
        over: set when all have to end.
        kinds: each by its name in `kinds.KINDS`; the argument is its source of chance.
    """

    def __init__(self, world: World, fleet: Fleet) -> None:
        self._world, self._fleet = world, fleet
        self.over = threading.Event()
        self._lock = threading.Lock()  # guards _busy
        self._busy: set[str] = set()  # what a fault holds: no second one breaks the same
        self._copies: dict[Path, list[bytes]] = {}
        self.kinds: Mapping[str, Callable[[Random], contextlib.AbstractContextManager[Places]]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "clock step": self._clock_step,
            "lock file removed": self._remove_lock,
            "file damaged": self._damage,
            "old file restored": self._restore,
            "Valkey stopped": self._stop_valkey,
            "Valkey killed": self._kill_valkey,
            "Valkey flushed": self._flush,
            "Valkey cut off": self._cut_off,
            "slow endpoint": self._slow,
            "endpoint down": self._down,
            "one 4xx": lambda draw: self._once(
                draw, Answer(404, {"Content-Type": "text/html"}, b"gone")
            ),
            "garbage": lambda draw: self._once(
                draw, Answer(200, {"Content-Type": "text/html"}, b"<html>")
            ),
            "429": lambda draw: self._once(
                draw, Answer(429, {"Retry-After": f"{RETRY_AFTER:.0f}"})
            ),
            "token revoked": self._revoke,
            "password rotated": self._rotate_password,
            "answer lost": lambda draw: self._once(draw, Cut("head", keep=0)),
            "no DNS": self._no_dns,
            "no threads": self._no_threads,
            "no descriptors": self._no_descriptors,
        }
        if all(machine.disk for machine in world.machines.values()):
            self.kinds |= {"disk full": self._fill_disk, "read-only disk": self._read_only}

    @contextlib.contextmanager
    def _holding(self, what: str) -> Iterator[bool]:
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

    def _last(self, draw: Random) -> None:
        """Let a fault be in force for a while."""
        self.over.wait(math.exp(draw.uniform(math.log(SHORT), math.log(LONG))))

    # -- processes ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _kill(self, draw: Random) -> Iterator[Places]:
        if (victim := self._fleet.victim(draw)) is None:
            yield ()
            return
        slot, pid = victim
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        yield slot.name_of(pid), slot.job.identity

    @contextlib.contextmanager
    def _freeze(self, draw: Random) -> Iterator[Places]:
        if (victim := self._fleet.victim(draw)) is None:
            yield ()
            return
        slot, pid = victim
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._last(draw)
            os.kill(pid, signal.SIGCONT)
        yield slot.name_of(pid), slot.job.identity

    @contextlib.contextmanager
    def _no_descriptors(self, draw: Random) -> Iterator[Places]:
        if (victim := self._fleet.victim(draw)) is None:
            yield ()
            return
        slot, pid = victim
        with contextlib.suppress(OSError):
            most = len(os.listdir(f"/proc/{pid}/fd")) + FREE
            before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
            self._last(draw)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        yield slot.name_of(pid), slot.job.identity

    # -- machines ----------------------------------------------------------------------------------

    def _machine(self, draw: Random) -> Machine:
        return draw.choice(list(self._world.machines.values()))

    @contextlib.contextmanager
    def _clock_step(self, draw: Random) -> Iterator[Places]:
        machine = self._machine(draw)
        size = math.exp(draw.uniform(math.log(2), math.log(7200)))
        machine.controls.ahead += size * draw.choice([-1, 1])
        yield (f"machine {machine.name}",)

    @contextlib.contextmanager
    def _no_dns(self, draw: Random) -> Iterator[Places]:
        machine = self._machine(draw)
        with self._holding(f"DNS {machine.name}") as free:
            if free:
                machine.controls.no_dns = True
                self._last(draw)
                machine.controls.no_dns = False
            yield (f"machine {machine.name}",) if free else ()

    @contextlib.contextmanager
    def _no_threads(self, draw: Random) -> Iterator[Places]:
        machine = self._machine(draw)
        with self._holding(f"threads {machine.name}") as free:
            if free:
                machine.controls.no_threads = True
                self._last(draw)
                machine.controls.no_threads = False
            yield (f"machine {machine.name}",) if free else ()

    # -- files -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _fill_disk(self, draw: Random) -> Iterator[Places]:
        machine = self._machine(draw)
        with self._holding(f"disk {machine.name}") as free:
            if free:
                filler = machine.folder / "filler"
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while file.write(bytes(4096)):
                        pass
                self._last(draw)
                filler.unlink()
            yield (f"disk {machine.name}",) if free else ()

    @contextlib.contextmanager
    def _read_only(self, draw: Random) -> Iterator[Places]:
        machine = self._machine(draw)
        with self._holding(f"disk {machine.name}") as free:
            done = free and self._remounted(machine, "ro")
            if done:
                self._last(draw)
                while not self._remounted(machine, "rw"):
                    time.sleep(0.05)
            yield (f"disk {machine.name}",) if done else ()

    def _remounted(self, machine: Machine, how: str) -> bool:
        """Whether it is done: a disk with a file that is open for writing refuses `ro`."""
        command = ["mount", "-o", f"remount,{how}", str(machine.folder)]
        for _ in range(100):
            if not subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603
                return True
            time.sleep(0.01)
        return False

    def _files(self, suffix: str) -> list[tuple[Machine, Path]]:
        return [
            (machine, path)
            for machine in self._world.machines.values()
            for path in sorted((machine.folder / "tokens").glob(f"*{suffix}"))
        ]

    @contextlib.contextmanager
    def _remove_lock(self, draw: Random) -> Iterator[Places]:
        places: Places = ()
        if found := self._files(".lock"):
            machine, path = draw.choice(found)
            with contextlib.suppress(OSError):
                path.unlink()
                places = (f"disk {machine.name}",)
        yield places

    @contextlib.contextmanager
    def _damage(self, draw: Random) -> Iterator[Places]:
        places: Places = ()
        if found := self._files(".json"):
            machine, path = draw.choice(found)
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                broken = [b"", content[: len(content) // 2], os.urandom(200), b"[" * 500]
                path.write_bytes(draw.choice(broken))
                places = (f"disk {machine.name}",)
        yield places

    def copy_files(self) -> None:
        """Copy the token files; an old copy may be restored later."""
        for _, path in self._files(".json"):
            with contextlib.suppress(OSError):
                self._copies.setdefault(path, []).append(path.read_bytes())

    @contextlib.contextmanager
    def _restore(self, draw: Random) -> Iterator[Places]:
        places: Places = ()
        found = [(machine, path) for machine, path in self._files(".json") if path in self._copies]
        if found:
            machine, path = draw.choice(found)
            draft = path.with_suffix(".restored")
            with contextlib.suppress(OSError):
                draft.write_bytes(draw.choice(self._copies[path]))
                draft.chmod(0o600)
                draft.replace(path)
                places = (f"disk {machine.name}",)
        yield places

    # -- Valkey ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _stop_valkey(self, draw: Random) -> Iterator[Places]:
        with self._holding(REDIS) as free:
            if free:
                self._world.valkey.signal(signal.SIGSTOP)
                self._last(draw)
                self._world.valkey.signal(signal.SIGCONT)
            yield (REDIS,) if free else ()

    @contextlib.contextmanager
    def _kill_valkey(self, draw: Random) -> Iterator[Places]:
        with self._holding(REDIS) as free:
            if free:
                self._world.valkey.kill()
                self._last(draw)
                self._world.valkey.start()
            yield (REDIS,) if free else ()

    @contextlib.contextmanager
    def _flush(self, _draw: Random) -> Iterator[Places]:
        with self._holding(REDIS) as free:
            if free:
                self._world.valkey.client.flushall()
            yield (REDIS,) if free else ()

    @contextlib.contextmanager
    def _cut_off(self, draw: Random) -> Iterator[Places]:
        machine = self._machine(draw)
        with self._holding(f"link {machine.name}") as free:
            if free:
                machine.link.cut()
                self._last(draw)
                machine.link.restore()
            yield (REDIS,) if free else ()

    # -- endpoints ---------------------------------------------------------------------------------

    def _served(self, draw: Random) -> Served:
        return self._world.served[draw.choice([it.name for it in IDENTITIES])]

    @contextlib.contextmanager
    def _slow(self, draw: Random) -> Iterator[Places]:
        served = self._served(draw)
        with self._holding(f"latency {served.identity}") as free:
            if free:
                served.server.latency = draw.uniform(0.5, 3.0)
                self._last(draw)
                served.server.latency = 0.0
            yield (served.identity,) if free else ()

    @contextlib.contextmanager
    def _down(self, draw: Random) -> Iterator[Places]:
        served = self._served(draw)
        with self._holding(f"endpoint {served.identity}") as free:
            if free:
                served.watched.fault = Answer(503)
                self._last(draw)
                served.watched.fault = USUAL
            yield (served.identity,) if free else ()

    @contextlib.contextmanager
    def _once(self, draw: Random, behaviour: Behaviour) -> Iterator[Places]:
        """In force until a request has met it."""
        served = self._served(draw)
        with self._holding(f"once {served.identity}") as free:
            if free:
                served.watched.once = behaviour
                while not self.over.wait(0.05) and served.watched.once is behaviour:
                    pass
                served.watched.once = None
            yield (served.identity,) if free else ()

    @contextlib.contextmanager
    def _revoke(self, draw: Random) -> Iterator[Places]:
        served = self._served(draw)
        # a login goes on: only its access tokens end
        served.server.expire_all()
        self._world.record(Ended(identity=served.identity, at=now()))
        yield (served.identity,)

    @contextlib.contextmanager
    def _rotate_password(self, draw: Random) -> Iterator[Places]:
        names = [it.name for it in IDENTITIES if it.grant == "password" and not it.stranger]
        served = self._world.served[draw.choice(names)]
        with self._holding(f"password {served.identity}") as free:
            if free:
                new = f"password-{draw.getrandbits(64):016x}"
                served.server.change_password(new)
                time.sleep(draw.uniform(0.0, 2.0))
                served.write_credentials(new)
            yield (served.identity,) if free else ()
