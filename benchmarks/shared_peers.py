"""One login with a rotating refresh token, shared by processes that use other libraries.

`python -m benchmarks.shared_peers [--processes 8] [--lifetimes 3]`. Each library is used as its
documentation shows: a process loads the token from a file, and saves what it refreshed there. The
server revokes the whole login when a refresh token comes a second time.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from benchmarks import mcp_sdk
from benchmarks.harness import ENVIRONMENT
from benchmarks.report import Result, Table
from benchmarks.shared_login import LATENCY, PACE, forked, grant_of
from evertoken import BearerAuth, FileStore, TokenManager
from evertoken.testing import TokenServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.harness import Run

    Session = Any  # each library has one of its own
    Peer = Callable[[TokenServer, Path], Session]

LIFETIME = 4.0
"""Seconds of an access token."""


def ever(server: TokenServer, at: Path) -> Session:
    """This library."""
    first = str(_saved(at)["refresh_token"])
    session = requests.Session()
    manager = TokenManager(grant_of(server, lambda: first), store=FileStore(at / "tokens"))
    session.auth = BearerAuth(manager, origins=[server.base_url])
    return session


def requests_oauthlib(server: TokenServer, at: Path) -> Session:
    """`auto_refresh_url` and `token_updater`."""
    from requests_oauthlib import OAuth2Session  # noqa: PLC0415  a peer may not be installed

    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    client = {"client_id": server.client_id, "client_secret": server.client_secret}
    return OAuth2Session(
        server.client_id,
        token=_saved(at),
        auto_refresh_url=server.token_url,
        auto_refresh_kwargs=client,
        token_updater=lambda token: _save(at, token),
    )


def authlib(server: TokenServer, at: Path) -> Session:
    """`update_token`."""
    from authlib.integrations.requests_client import OAuth2Session  # noqa: PLC0415  likewise

    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    return OAuth2Session(
        server.client_id,
        server.client_secret,
        token=_saved(at),
        token_endpoint=server.token_url,
        token_endpoint_auth_method="client_secret_post",
        update_token=lambda token, **_: _save(at, token),
        leeway=1,
    )


def requests_oauth2client(server: TokenServer, at: Path) -> Session:
    """`OAuth2AccessTokenAuth`, which keeps the token in its process."""
    from requests_oauth2client import (  # noqa: PLC0415  likewise
        BearerToken,
        ClientSecretPost,
        OAuth2AccessTokenAuth,
        OAuth2Client,
    )

    client = OAuth2Client(
        server.token_url,
        auth=ClientSecretPost(server.client_id, server.client_secret),
        testing=True,
    )
    saved = _saved(at)
    token = BearerToken(
        access_token=str(saved["access_token"]),
        refresh_token=str(saved["refresh_token"]),
        expires_in=int(LIFETIME),
    )
    session = requests.Session()
    session.auth = OAuth2AccessTokenAuth(client, token, leeway=1)
    return session


def mcp(server: TokenServer, at: Path) -> Session:
    """`OAuthClientProvider`, which keeps the token in its process."""
    token = {name: value for name, value in _saved(at).items() if name != "expires_at"}
    auth = mcp_sdk.provider(
        *(server.token_url, server.client_id, server.client_secret, token), api=server.base_url
    )
    return mcp_sdk.Session(auth)


PEERS: dict[str, Peer] = {
    "evertoken": ever,
    "requests-oauthlib": requests_oauthlib,
    "Authlib": authlib,
    "requests-oauth2client": requests_oauth2client,
    "MCP SDK": mcp,
}

MODULES = {
    "evertoken": "evertoken",
    "requests-oauthlib": "requests_oauthlib",
    "Authlib": "authlib.integrations.requests_client",
    "requests-oauth2client": "requests_oauth2client",
    "MCP SDK": "mcp.client.auth",
}
"""What each is imported from before a login, so that no time of the token's life goes into it."""


def _saved(at: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((at / "token.json").read_text())
    return {**found, "expires_at": time.time() + LIFETIME}


def _save(at: Path, token: dict[str, object]) -> None:
    draft = at / f"draft-{os.getpid()}"
    draft.write_text(json.dumps(token))
    draft.replace(at / "token.json")


def call_api(server: TokenServer, peer: Peer, at: Path, seconds: float, report: int) -> None:
    """Call the API all the time; report the calls, those that failed, and when the first did."""
    calls, failed, died = 0, 0, None
    session, started = peer(server, at), time.monotonic()
    while (now := time.monotonic() - started) < seconds:
        try:
            good = session.get(server.api_url, timeout=10).status_code == 200
        except Exception:  # noqa: BLE001  each library has errors of its own
            good = False
        calls, failed = calls + 1, failed + (not good)
        died = died if good or died is not None else now
        time.sleep(PACE)
    os.write(report, json.dumps([calls, failed, died]).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the processes of one library saw.

    Attributes:
        name: of the library.
        processes: how many there were.
        seconds: how long they called.
        posts: of refresh tokens.
        calls: of the API.
        failed: of these.
        died: when each process had its first failed call, in seconds; those that had none are left
            out.
    """

    name: str
    processes: int
    seconds: float
    posts: int
    calls: int
    failed: int
    died: list[float]


def fleet(name: str, processes: int, lifetimes: int) -> Fleet:
    """Have so many processes call an API with the library `name`."""
    importlib.import_module(MODULES[name])
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as made, TokenServer(latency=LATENCY) as server:
        at, server.expires_in = Path(made), LIFETIME
        server.reuse_protection = server.refresh_keeps_access = True
        form = {"grant_type": "password", "username": server.username}
        form |= {"password": server.password, "client_id": server.client_id}
        form["client_secret"] = server.client_secret
        _save(at, requests.post(server.token_url, form, timeout=10).json())
        seconds = (lifetimes + 0.5) * LIFETIME
        children = [
            forked(lambda: call_api(server, PEERS[name], at, seconds, writer))
            for _ in range(processes)
        ]
        os.close(writer)
        with os.fdopen(reader) as reports:
            seen = [json.loads(line) for line in reports]
        for child in children:
            os.waitpid(child, 0)
        posts = server.token_requests - 1
    calls, failed = (sum(each[it] for each in seen) for it in (0, 1))
    died = sorted(round(died, 2) for _, _, died in seen if died is not None)
    # a process that reported nothing has not lived to the end
    died = [0.0] * (processes - len(seen)) + died
    return Fleet(name, processes, seconds, posts, calls, failed, died)


def table(fleets: Sequence[Fleet]) -> Table:
    """A row for each library."""
    rows = [
        [
            each.name,
            f"{each.processes - len(each.died)} of {each.processes}",
            str(each.posts),
            f"{each.failed} of {each.calls}",
            f"{each.died[0]:.1f} s" if each.died else "never",
        ]
        for each in fleets
    ]
    columns = ["", "alive at the end", "refresh posts", "failed calls", "first failure after"]
    return Table(f"One login, {fleets[0].processes} processes", columns, rows)


TOLD = (
    "Processes share one login whose refresh token changes at each use, at a server that ends the "
    f"login if one comes a second time. Tokens live {LIFETIME:g} s. A process is alive as long as "
    "none of its calls failed."
)


def measure(run: Run) -> Result:
    """Each library in turn, in a process of its own: this one may have threads, and forks."""
    numbers = run.pick((2, 1), (8, 2), (8, 3))
    options = zip(("--processes", "--lifetimes"), map(str, numbers), strict=True)
    done = subprocess.run(  # noqa: S603  this module
        [sys.executable, "-m", "benchmarks.shared_peers", "--json", *itertools.chain(*options)],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    fleets = [Fleet(**each) for each in json.loads(done.stdout)]
    assert not fleets[0].died, "a process with evertoken had a call that failed"
    return Result("shared_peers", TOLD, [table(fleets)], {"fleets": [asdict(it) for it in fleets]})


def main() -> int:
    """Print the table; 1 where a process with evertoken had a call that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--lifetimes", type=int, default=3)
    parser.add_argument("--only", action="append", choices=PEERS)
    parser.add_argument("--json", action="store_true", help="print what was seen as JSON")
    given = parser.parse_args()
    chosen = [name for name in PEERS if name in (given.only or PEERS)]
    fleets = [fleet(name, given.processes, given.lifetimes) for name in chosen if _installed(name)]
    if given.json:
        print(json.dumps([asdict(each) for each in fleets]))
    else:
        print(table(fleets).plain())
    return int(any(each.died for each in fleets if each.name == "evertoken"))


def _installed(name: str) -> bool:
    return importlib.util.find_spec(MODULES[name].partition(".")[0]) is not None


if __name__ == "__main__":
    sys.exit(main())
