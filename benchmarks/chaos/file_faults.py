"""The faults of disks and token files."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.chaos.faults import Effect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from benchmarks.chaos.faults import Patience
    from benchmarks.chaos.machine import Machine
    from benchmarks.chaos.world import World


class FileFaults:
    """A full and a read-only disk where a machine has one of its own; lost and damaged files.

    Attributes:
        kinds: each by its name in `kinds.KINDS`.
    """

    def __init__(self, world: World, patience: Patience) -> None:
        self._world, self._patience = world, patience
        self._copies: dict[Path, list[bytes]] = {}
        self.kinds: dict[str, Callable[[Random], Effect | None]] = {
            "disk full": self._fill_disk,
            "read-only disk": self._read_only,
            "lock file removed": self._remove_lock,
            "file damaged": self._damage,
            "old file restored": self._restore,
        }

    def copy_files(self) -> None:
        """Copy the token files; an old copy may be restored later."""
        for _, path in self._files(".json"):
            with contextlib.suppress(OSError):
                self._copies.setdefault(path, []).append(path.read_bytes())

    # -- disks -------------------------------------------------------------------------------------

    def _machine(self, draw: Random) -> Machine:
        return draw.choice(list(self._world.machines.values()))

    def _fill_disk(self, draw: Random) -> Effect | None:
        machine = self._machine(draw)
        with self._patience.holding(f"disk {machine.name}") as free:
            if not free or machine.disk is None:
                return None
            filler = machine.disk / "filler"
            try:
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while file.write(bytes(4096)):
                        pass
                self._patience.stay(draw)
            finally:
                filler.unlink(missing_ok=True)
        return Effect((f"disk {machine.name}",))

    def _read_only(self, draw: Random) -> Effect | None:
        machine = self._machine(draw)
        with self._patience.holding(f"disk {machine.name}") as free:
            if not free or machine.disk is None or not _remounted(machine.disk, "ro"):
                return None
            try:
                self._patience.stay(draw)
            finally:
                while not _remounted(machine.disk, "rw"):
                    pass
        return Effect((f"disk {machine.name}",))

    # -- files -------------------------------------------------------------------------------------

    def _files(self, suffix: str) -> list[tuple[Machine, Path]]:
        return [
            (machine, path)
            for machine in self._world.machines.values()
            for path in sorted((machine.folder / "tokens").glob(f"*{suffix}"))
        ]

    def _effect(self, machine: Machine, path: Path) -> Effect:
        """On the identity of a file if it can be told, otherwise on all of the disk."""
        identity = self._world.identity_in(path.with_suffix(".json"))
        return Effect((identity or f"disk {machine.name}",))

    def _remove_lock(self, draw: Random) -> Effect | None:
        if not (found := self._files(".lock")):
            return None
        machine, path = draw.choice(found)
        effect = self._effect(machine, path)
        try:
            path.unlink()
        except OSError:
            return None
        return effect

    def _damage(self, draw: Random) -> Effect | None:
        if not (found := self._files(".json")):
            return None
        machine, path = draw.choice(found)
        effect = self._effect(machine, path)
        try:
            content = path.read_bytes()
            broken = [b"", content[: len(content) // 2], os.urandom(200), b"[" * 500]
            with path.open("r+b") as file:
                file.truncate()
                file.write(draw.choice(broken))
        except OSError:
            return None
        return effect

    def _restore(self, draw: Random) -> Effect | None:
        found = [(machine, path) for machine, path in self._files(".json") if path in self._copies]
        if not found:
            return None
        machine, path = draw.choice(found)
        draft = path.with_suffix(".restored")
        try:
            draft.write_bytes(draw.choice(self._copies[path]))
            draft.chmod(0o600)
            draft.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            return None
        return self._effect(machine, path)


def _remounted(disk: Path, how: str) -> bool:
    """Whether it is done: a disk with a file that is open for writing refuses `ro`."""
    command = ["mount", "-o", f"remount,{how}", str(disk)]
    for _ in range(100):
        if not subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603
            return True
        time.sleep(0.01)
    return False
