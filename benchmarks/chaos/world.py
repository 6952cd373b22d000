"""Two machines, six identities with a server each, one Valkey: what a fleet lives in."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.chaos.controls import NAME
from benchmarks.chaos.endpoint import Served
from benchmarks.chaos.history import Setting, write
from benchmarks.chaos.job import COOLDOWN, Job
from benchmarks.chaos.kinds import ALL
from benchmarks.chaos.machine import Machine, Valkey, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.chaos.history import Event

LIFETIME = 12.0
"""Seconds of an access token."""

REDIS = "Valkey"
"""The place of all that is kept there."""


LINKS = ("link A", "link B")
"""The places of what is kept in Valkey, for each machine."""

UWSGI = "uwsgi"

PROGRAMS = str(Path(sys.executable).parent)
"""Where the program is, if it is installed: see the extra `hosts`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose token it is, by which grant, and where it is kept: on a machine or in Valkey."""

    name: str
    grant: str
    home: str
    stranger: bool = False


IDENTITIES = (
    Identity("password-file", "password", "A"),
    Identity("password-redis", "password", REDIS),
    Identity("client-file", "client_credentials", "B"),
    Identity("login-file", "refresh_token", "A"),
    Identity("login-redis", "refresh_token", REDIS),
    Identity("stranger-file", "password", "B", stranger=True),
)

WORKERS = (
    ("password-file", "A", "threads"),
    ("password-file", "A", "forks"),
    ("password-file", "A", "script"),
    ("password-redis", "A", "threads"),
    ("password-redis", "B", "tasks"),
    ("client-file", "B", "tasks"),
    ("client-file", "B", "forks"),
    ("client-file", "B", "script"),
    ("login-file", "A", "threads"),
    ("login-file", "A", "tasks"),
    ("login-file", "A", "forks"),
    ("login-redis", "A", "threads"),
    ("login-redis", "B", "tasks"),
    ("stranger-file", "B", "threads"),
    ("stranger-file", "B", "script"),
    *([("password-file", "A", UWSGI)] if shutil.which(UWSGI, path=PROGRAMS) else []),
)
"""Identity, machine and kind of each worker."""


class World:
    """All of it, in a folder.

    Args:
        place: an empty folder.
        grace: seconds for which the servers still accept a replaced refresh token.

    Attributes:
        outputs: the folder that no secret may enter.
        history: the folder with what was written down.
        jobs: the folder with what each worker is told.
    """

    def __init__(self, place: Path, *, grace: float) -> None:
        self.place, self.grace = place, grace
        self.outputs, self.history = place / "outputs", place / "outputs" / "history"
        self.history.mkdir(parents=True)
        self.stop = place / "stop"
        self._secrets, self.jobs = place / "secrets", place / "jobs"
        for private in (self._secrets, self.jobs):
            private.mkdir(mode=0o700)
        self._lock = threading.Lock()  # guards _file
        self._file = (self.history / "harness.jsonl").open("a", encoding="utf-8")
        self.valkey = Valkey()
        self.machines = {name: Machine(name, place, self.valkey) for name in "AB"}
        self.served = {
            each.name: Served(
                each.name,
                self._secrets / each.name,
                self.record,
                lifetime=LIFETIME,
                exclusive=each.grant == "refresh_token",
            )
            for each in IDENTITIES
        }

    def record(self, event: Event) -> None:
        """Write down what the harness saw; from any thread."""
        with self._lock:
            write(self._file, event)

    @contextlib.contextmanager
    def running(self) -> Iterator[World]:
        """All servers run while the block does."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._file.close)
            stack.callback(self.valkey.kill)
            self.valkey.start()
            for machine in self.machines.values():
                stack.enter_context(machine)
            for identity in IDENTITIES:
                served = self.served[identity.name]
                served.server.grace = self.grace
                stack.enter_context(served.server)
                if identity.grant == "refresh_token":
                    served.log_in()
                else:
                    wrong = identity.stranger
                    served.write_credentials("wrong-" * wrong + served.server.password)
            yield self

    def log_in_again(self) -> None:
        """Log in, as a user does, where a login has been lost for a while."""
        for each in self.served.values():
            each.log_in_if_lost()

    def job(self, number: int) -> Job:
        """What the worker with this number is told."""
        name, machine, kind = WORKERS[number]
        identity = next(it for it in IDENTITIES if it.name == name)
        server, home = self.served[name].server, self.machines[machine]
        in_redis = identity.home == REDIS
        link = (f"link {machine}",) if in_redis else ()
        return Job(
            slot=f"{kind}-{number}",
            kind=kind,
            identity=name,
            machine=machine,
            grant=identity.grant,
            # a name, so that a resolver is asked
            token_url=server.token_url.replace("127.0.0.1", NAME),
            api_url=server.api_url,
            client_id=server.client_id,
            client_secret=server.client_secret,
            username=server.username,
            credentials=str(self.served[name].credentials),
            folder="" if in_redis else str(home.folder / "tokens"),
            redis_url=f"redis://127.0.0.1:{home.link.port}" if in_redis else "",
            places=(name, f"machine {machine}", *self._store(identity), *link, ALL),
            history=str(self.history),
            controls=str(home.controls_path),
            stop=str(self.stop),
            pace=0.4,
            harness=os.getpid(),
            port=free_port() if kind == UWSGI else 0,
        )

    def setting(self, quiet: float, slots: tuple[str, ...]) -> Setting:
        """What the checker must know."""
        return Setting(
            places={
                each.name: (each.name, *self._machines(each), *self._store(each), *LINKS, ALL)
                if each.home == REDIS
                else (each.name, *self._machines(each), *self._store(each), ALL)
                for each in IDENTITIES
            },
            lifetime=LIFETIME,
            grace=self.grace,
            exclusive=frozenset(it.name for it in IDENTITIES if it.grant == "refresh_token"),
            strangers=frozenset(it.name for it in IDENTITIES if it.stranger),
            cooldown=COOLDOWN,
            quiet_since=quiet,
            slots=slots,
        )

    def identity_in(self, record: Path) -> str | None:
        """Whose token file it is, by the address of the token endpoint in it."""
        with contextlib.suppress(OSError):
            text = record.read_text("utf-8", errors="replace")
            for served in self.served.values():
                if f":{served.server.base_url.rpartition(':')[2]}/" in text:
                    return served.identity
        return None

    def secrets(self) -> frozenset[str]:
        """All that must not be seen."""
        known = [it.server.secrets | it.secrets for it in self.served.values()]
        return frozenset().union(*known)

    def _store(self, identity: Identity) -> tuple[str, ...]:
        return (REDIS,) if identity.home == REDIS else (f"disk {identity.home}",)

    def _machines(self, identity: Identity) -> tuple[str, ...]:
        found = {machine for name, machine, _ in WORKERS if name == identity.name}
        return tuple(f"machine {each}" for each in sorted(found))
