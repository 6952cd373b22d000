"""The worker processes: started, watched, and started again when they die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from benchmarks.chaos.history import Exited, now
from benchmarks.chaos.job import JOB
from benchmarks.chaos.world import PROGRAMS, UWSGI, WORKERS

if TYPE_CHECKING:
    import random
    from typing import Self

    from benchmarks.chaos.job import Job

from benchmarks.chaos.world import World

ROOT = Path(__file__).parents[2]

BETWEEN_SCRIPTS = 4.0
"""Seconds between two runs of a script."""

BETWEEN_STARTS = 0.5
"""Seconds after which a process that died is started again."""

ASKING = 20.0
"""Longest time in seconds for one page of a server."""

PATIENCE = 20.0
"""Seconds in which a process ends when it is told to."""


def _command(job: Job) -> list[str]:
    if job.kind != UWSGI:
        return [sys.executable, "-m", "benchmarks.chaos.worker"]
    server = [str(Path(PROGRAMS, UWSGI)), "--home", sys.prefix, "--enable-threads", "--master"]
    server += ["--http-socket", f"127.0.0.1:{job.port}", "--processes", "2", "--need-app"]
    return [
        *server,
        "--module",
        "benchmarks.chaos.wsgi",
        "--disable-logging",
        "--die-on-term",
        "--no-orphans",
    ]


class Slot:
    """The place of one worker, and the process that has it now."""

    def __init__(self, job: Job, world: World) -> None:
        self.job = job
        self._log = world.outputs / f"{job.slot}.log"
        self._job_file = world.jobs / job.slot
        self._job_file.write_text(json.dumps(asdict(job)), "utf-8")
        self.process: subprocess.Popen[bytes] | None = None
        self.sessions: list[int] = []
        self.due = 0.0

    def start(self) -> None:
        """Start a process, which writes its output to the slot's log."""
        with self._log.open("a") as log:
            self.process = subprocess.Popen(  # noqa: S603  this very package
                _command(self.job),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, JOB: str(self._job_file)},
                start_new_session=True,
            )
        self.sessions.append(self.process.pid)

    def ask(self) -> None:
        """Request a page of a server, which calls the API for it."""
        with contextlib.suppress(OSError):
            requests.get(f"http://127.0.0.1:{self.job.port}/", timeout=ASKING)

    def name_of(self, pid: int) -> str:
        """As the history has it."""
        return f"{self.job.slot}.{pid}"

    def members(self) -> list[int]:
        """The process and its children."""
        if self.process is None or self.process.poll() is not None:
            return []
        pid = self.process.pid
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return [pid, *map(int, children)]
        return [pid]


class Fleet:
    """All workers of a world; leaving it ends them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.slots = [Slot(world.job(n), world) for n in range(len(WORKERS))]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._keep, daemon=True)]
        for slot in self.slots:
            if slot.job.port:
                asking = threading.Thread(target=self._ask, args=(slot,), daemon=True)
                self._threads.append(asking)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._world.stop.touch()
        self._over.set()
        for thread in self._threads:
            thread.join()
        end = time.monotonic() + PATIENCE
        for slot in self.slots:
            if slot.process is not None:
                if slot.job.port:
                    slot.process.terminate()
                try:
                    code = slot.process.wait(max(0.0, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    code = None
                self._note(slot, code)
                for session in slot.sessions:
                    # a child that outlived its parent is still in its session
                    with contextlib.suppress(OSError):
                        os.killpg(session, signal.SIGKILL)
                slot.process.wait()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the slots."""
        return tuple(slot.job.slot for slot in self.slots)

    def victim(self, draw: random.Random) -> tuple[Slot, int] | None:
        """A process that lives."""
        slot = draw.choice(self.slots)
        members = slot.members()
        return (slot, draw.choice(members)) if members else None

    def list_processes(self) -> None:
        """Append the command lines of all processes to an output, as `ps` shows them."""
        with (self._world.outputs / "processes.log").open("a", encoding="utf-8") as file:
            for pid in (pid for slot in self.slots for pid in slot.members()):
                with contextlib.suppress(OSError):
                    file.write(Path(f"/proc/{pid}/cmdline").read_text("utf-8") + "\n")

    def _note(self, slot: Slot, code: int | None) -> None:
        assert slot.process is not None
        process = slot.name_of(slot.process.pid)
        places = (process, *slot.job.places)
        self._world.record(Exited(process=process, places=places, at=now(), code=code))

    def _ask(self, slot: Slot) -> None:
        while not self._over.wait(slot.job.pace):
            slot.ask()

    def _keep(self) -> None:
        while not self._over.wait(0.05):
            for slot in self.slots:
                if slot.process is not None and slot.process.poll() is None:
                    slot.due = 0.0
                elif not slot.due:
                    if slot.process is not None:
                        self._note(slot, slot.process.returncode)
                    script = slot.job.kind == "script"
                    pause = BETWEEN_SCRIPTS if script else BETWEEN_STARTS
                    slot.due = time.monotonic() + pause * (slot.process is not None)
                elif time.monotonic() >= slot.due:
                    slot.start()
