"""A machine of a fleet: a process group that shares only Redis with others.

Started by `Machine`; `python -m support.machine JOB COUNT` with the settings on its input.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from evertoken import PasswordGrant, RefreshPolicy, TokenManager
from evertoken.stores.redis import RedisStore
from support.fleet_worker import JOBS, TESTS, Report, Settings, _report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings(Settings):
    """The settings of each process of a machine.

    Attributes:
        redis_url: the server that shares the token.
        redis_timeout: seconds that a process waits for Redis.
    """

    redis_url: str
    redis_timeout: float = 0.5

    def manager(self, number: int) -> TokenManager:
        """The manager of the process with this number."""
        grant = PasswordGrant(
            self.token_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            username=self.username,
            password=self.passwords[number % len(self.passwords)],
            allow_http=True,
        )
        policy = RefreshPolicy(refusal_cooldown=self.refusal_cooldown)
        store = RedisStore(self.redis_url, timeout=self.redis_timeout)
        return TokenManager(grant, store=store, policy=policy, timeout=self.timeout)


class Machine:
    """A machine's processes; `prefix` is a command that starts them on another host."""

    def __init__(
        self, job: str, count: int, settings: MachineSettings, *, prefix: Sequence[str] = ()
    ) -> None:
        command = [*prefix, sys.executable, "-m", "support.machine", job, str(count)]
        self._home = TemporaryDirectory()
        self._process = subprocess.Popen(  # noqa: S603  this very file
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS), "HOME": self._home.name},
            cwd=self._home.name,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(settings)))
        self._process.stdin.close()
        self._process.stdin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._home, self._process:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def reports(self, *, within: float = 60.0) -> list[Report]:
        """The reports of its processes; a failed one has an `error`."""
        out, _ = self._process.communicate(timeout=within)
        assert self._process.returncode == 0
        return [json.loads(line) for line in out.splitlines()]


@contextmanager
def machines(
    job: str, count: int, settings: MachineSettings, *prefixes: Sequence[str]
) -> Iterator[list[Machine]]:
    """One machine per prefix in `prefixes`; all are ended with the block."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(Machine(job, count, settings, prefix=prefix)) for prefix in prefixes
        ]


def main() -> None:
    """Fork the workers, let them start, and wait for them."""
    job, count = JOBS[sys.argv[1]], int(sys.argv[2])
    settings = MachineSettings(**json.load(sys.stdin))
    settings.manager(0)
    gate, opener = os.pipe()
    for number in range(count):
        if os.fork() == 0:
            os.close(opener)
            os.read(gate, 1)
            _report(job, settings, number)
    os.close(opener)
    for _ in range(count):
        os.wait()


if __name__ == "__main__":
    main()
