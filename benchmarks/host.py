"""Under which circumstances figures were made: the machine, the versions, the date."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.peers.peer import Peer


LOADED = " (**loaded: these figures are not for publishing**)"

BUSY = 0.5
"""Threads that want a core, per core, from which on the machine was loaded."""


class Load(NamedTuple):
    """What the machine had to do before a run began.

    Attributes:
        average: threads that ran or wanted a core, averaged over the minute before.
        cores: of the machine.
    """

    average: float
    cores: int

    @property
    def busy(self) -> bool:
        """Whether it had so much to do that figures made then are not published."""
        return self.average > BUSY * self.cores

    def __str__(self) -> str:
        return f"load {self.average:.1f} on {self.cores} cores"


def load() -> Load:
    """The load now."""
    return Load(os.getloadavg()[0], os.cpu_count() or 1)


def circumstances(peers: Iterable[Peer], before: Load) -> dict[str, str]:
    """What to print above the tables, in that order."""
    packages = sorted({name for peer in peers for name in peer.packages})
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "load average at the start": f"{before.average:.1f}" + LOADED * before.busy,
        "Python": platform.python_version(),
        "versions": ", ".join(f"{name} {_version(name)}" for name in packages),
    }


def processor() -> str:
    """The name of this machine's processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model na")]
    except OSError:
        models = []
    return models[0] if models else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
