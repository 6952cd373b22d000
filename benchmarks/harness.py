"""What every benchmark stands on: the run, its scale, its token server, its command line."""

from __future__ import annotations

import argparse
import contextlib
import enum
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import requests

from benchmarks.endpoint import RIGHT
from benchmarks.peers import registry
from benchmarks.peers.peer import API_URL, Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from requests import PreparedRequest

    from benchmarks.peers.peer import Peer
    from benchmarks.report import Result

T = TypeVar("T")

_names = itertools.count()

ENVIRONMENT = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
"""Of a timed process: its modules are compiled once, as those of an installed package are."""


class Scale(enum.Enum):
    """How long a run may take: a minute, 15 minutes, 75 minutes."""

    SMOKE = 0
    QUICK = 1
    FULL = 2


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the token server was asked in one run; a grant is token, issued, dead (monotonic)."""

    requests: int
    grants: list[tuple[str, float, float]]

    def dead(self, header: str, moment: float) -> bool:
        """Whether an API would have refused `header` at `moment`: dead, or none of its own."""
        ends = {f"Bearer {token}": end for token, _, end in self.grants}
        return moment >= ends.get(header, 0.0)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The running token server."""

    port: int

    def url(self, run: str, *, expires_in: int, delay: float, refresh: bool) -> str:
        """A token URL; `delay` in seconds."""
        path = f"{run}/{expires_in}/{round(delay * 1000)}/{int(refresh)}/token/"
        return f"http://127.0.0.1:{self.port}/{path}"

    def ask(self, path: str) -> bytes:
        """The body of a control page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read()

    def ledger(self, site: Site) -> Ledger:
        """What was asked for the identities that share the run of `site`."""
        book = json.loads(self.ask(f"/ledger/{run_of(site)}"))
        return Ledger(book["requests"], [(token, a, b) for token, a, b in book["grants"]])

    def switch(self, site: Site, state: str) -> None:
        """Turn it "down" or "up" for one run."""
        self.ask(f"/{state}/{run_of(site)}")


def run_of(site: Site) -> str:
    """The run that the token URL names."""
    return site.token_url.split("/")[3]


@dataclass(frozen=True, slots=True)
class Run:
    """One call of the command: what is measured, how long, against which server."""

    scale: Scale
    endpoint: Endpoint
    directory: str
    peers: Mapping[str, Peer]
    missing: Mapping[str, str] = field(default_factory=dict)

    def pick(self, smoke: T, quick: T, full: T) -> T:
        """The value for the scale."""
        return (smoke, quick, full)[self.scale.value]

    def site(
        self, peer: Peer, *, expires_in: int, delay: float = 0.0, password: str = RIGHT
    ) -> Site:
        """A new identity for `peer`, with an empty directory and a ledger of its own."""
        run = f"{peer.packages[-1]}-{next(_names)}"
        directory = os.path.join(self.directory, run)
        os.mkdir(directory)
        url = self.endpoint.url(run, expires_in=expires_in, delay=delay, refresh=peer.refreshes)
        return Site(url, directory, expires_in, password=password)

    def shuffled(self, names: list[str]) -> list[str]:
        """The order of one round."""
        return random.sample(names, len(names))

    def renewing(self) -> list[str]:
        """The peers that can renew."""
        return [name for name, peer in self.peers.items() if not peer.unable_to_renew]


def prepared() -> PreparedRequest:
    """A request as `requests` hands it to `auth`."""
    return requests.Request("GET", API_URL).prepare()


def child(job: str, peer: str, site: Site, *numbers: float, timeout: float = 60) -> str:
    """What a process of `benchmarks.child` prints.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.child", job, peer, json.dumps(site._asdict())]
    done = subprocess.run(  # noqa: S603  this package's own module
        [*command, *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=ENVIRONMENT,
    )
    if done.returncode:
        raise RuntimeError(f"{job} of {peer} failed:\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


class Benchmark(Protocol):
    """A module that measures one thing."""

    def measure(self, run: Run) -> Result:
        """Measure all peers in one interleaved run."""
        ...


@contextlib.contextmanager
def endpoint() -> Iterator[Endpoint]:
    """Start the token server, and end it."""
    command = [sys.executable, "-m", "benchmarks.endpoint"]
    # this package's own module
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            yield Endpoint(int(process.stdout.readline()))
        finally:
            process.kill()


@contextlib.contextmanager
def running(scale: Scale) -> Iterator[Run]:
    """A run of all peers that are installed."""
    peers, missing = registry.load_all()
    with endpoint() as server, tempfile.TemporaryDirectory() as directory:
        yield Run(scale, server, directory, peers, missing)


def options(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    scale = parser.add_mutually_exclusive_group()
    for name, text in (("quick", "15 minutes"), ("smoke", "a minute: checks, no figures")):
        scale.add_argument(
            f"--{name}",
            dest="scale",
            action="store_const",
            const=Scale[name.upper()],
            default=Scale.FULL,
            help=text,
        )
    return parser


def alone(name: str) -> None:
    """Run one benchmark, print its tables."""
    module: Benchmark = sys.modules["__main__"]
    scale = options(f"Run the benchmark {name} alone.").parse_args().scale
    with running(scale) as run:
        print(module.measure(run).plain())
