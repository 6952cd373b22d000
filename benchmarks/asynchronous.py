"""Asynchronous clients: calls at once, the cost of a call, and the loop across a renewal."""

from __future__ import annotations

import asyncio
import importlib
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks import mcp_sdk
from benchmarks.harness import alone
from benchmarks.peers.peer import Site
from benchmarks.report import Result, Table, percentile, spread
from evertoken import MemoryStore, PasswordGrant, TokenManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from benchmarks.harness import Run

    Call = Callable[[str], Awaitable[object]]

TASKS = 50
LATENCY_MS = 20
"""Of the API, where many call it at once."""

GRANT = 0.3
"""Seconds that the token endpoint takes."""

EXPIRES_IN = 4


def manager_of(site: Site) -> TokenManager:
    """A manager with its token in memory."""
    grant = PasswordGrant(
        site.token_url,
        client_id=site.client_id,
        client_secret=site.client_secret,
        username=site.username,
        password=site.password,
    )
    return TokenManager(grant, memory=MemoryStore())


async def by_httpx(name: str, auth: Callable[[Site], Any], site: Site) -> AsyncIterator[Call]:
    """A client of httpx or of httpx2."""
    module: Any = importlib.import_module(name)
    headers = {"Authorization": "Bearer static"} if auth is no_auth else {}
    async with module.AsyncClient(auth=auth(site), headers=headers, timeout=30) as client:

        async def call(url: str) -> None:
            (await client.get(url)).raise_for_status()

        yield call


async def by_aiohttp(auth: Callable[[Site], Any], site: Site) -> AsyncIterator[Call]:
    """A session of aiohttp."""
    module: Any = importlib.import_module("aiohttp")
    headers = {"Authorization": "Bearer static"} if auth is no_auth else {}
    middlewares = [] if auth is no_auth else [auth(site)]
    async with module.ClientSession(headers=headers, middlewares=middlewares) as session:

        async def call(url: str) -> None:
            async with session.get(url) as answer:
                answer.raise_for_status()
                await answer.read()

        yield call


async def by_authlib(site: Site) -> AsyncIterator[Call]:
    """Authlib's own client, on httpx2."""
    module: Any = importlib.import_module("authlib.integrations.httpx_client")
    async with module.AsyncOAuth2Client(
        site.client_id,
        site.client_secret,
        token_endpoint=site.token_url,
        token_endpoint_auth_method="client_secret_post",
        leeway=1,
        timeout=30,
    ) as client:
        await client.fetch_token(site.token_url, username=site.username, password=site.password)

        async def call(url: str) -> None:
            (await client.get(url)).raise_for_status()

        yield call


async def by_mcp(site: Site) -> AsyncIterator[Call]:
    """The MCP SDK's provider, on httpx2."""
    module: Any = importlib.import_module("httpx2")
    form = {"grant_type": "password", "username": site.username, "password": site.password}
    form |= {"client_id": site.client_id, "client_secret": site.client_secret}
    async with module.AsyncClient(timeout=30) as client:
        token = (await client.post(site.token_url, data=form)).json()
        client.auth = mcp_sdk.provider(
            *(site.token_url, site.client_id, site.client_secret, token), api=site.token_url
        )

        async def call(url: str) -> None:
            (await client.get(url)).raise_for_status()

        yield call


def no_auth(_: Site) -> None:
    """A static header instead."""


def by_ever(module: str, name: str) -> Callable[[Site], Any]:
    """The auth of evertoken for one client."""
    return lambda site: getattr(importlib.import_module(module), name)(
        manager_of(site), origins=[site.token_url]
    )


def httpx_auth(site: Site) -> Any:
    """The package httpx-auth."""
    return importlib.import_module("httpx_auth").OAuth2ResourceOwnerPasswordCredentials(
        site.token_url, site.username, site.password, early_expiry=1.0
    )


@dataclass(frozen=True, slots=True)
class Way:
    """A row of the table.

    Attributes:
        title: of the row.
        control: the title of the static header on the same client.
        open: opens it.
    """

    title: str
    control: str
    open: Callable[[Site], AsyncIterator[Call]]

    @property
    def package(self) -> str:
        """The module that must be installed."""
        return self.title.partition(", ")[0].removesuffix(" SDK").replace("-", "_").lower()


def ways() -> list[Way]:
    """All, those first that others are compared with."""
    found = []
    for client in ("httpx", "httpx2"):
        static, ours = f"static header, {client}", f"evertoken, {client}"
        ever = by_ever(f"evertoken.clients.{client}", "BearerAuth")
        found += [
            Way(static, static, lambda site, it=client: by_httpx(it, no_auth, site)),  # type: ignore[misc]  # bound now
            Way(ours, static, lambda site, it=client, auth=ever: by_httpx(it, auth, site)),  # type: ignore[misc]  # likewise
        ]
    static = "static header, aiohttp"
    middleware = by_ever("evertoken.clients.aiohttp", "bearer_auth")
    found += [
        Way(static, static, lambda site: by_aiohttp(no_auth, site)),
        Way("evertoken, aiohttp", static, lambda site: by_aiohttp(middleware, site)),
        Way("Authlib, httpx2", "static header, httpx2", by_authlib),
        Way("MCP SDK, httpx2", "static header, httpx2", by_mcp),
        Way(
            "httpx-auth, httpx",
            "static header, httpx",
            lambda site: by_httpx("httpx", httpx_auth, site),
        ),
    ]
    return found


@dataclass(slots=True)
class Found:
    """What one way showed: ratios beside its control, and milliseconds.

    Attributes:
        herd: many calls at once, ratios.
        cost: one call, ratios.
        gap: the longest time for which the loop was held, of each renewal.
        slowest: the slowest call, of each renewal.
        beats: seconds, and the milliseconds for which the loop was held then, of the last one.
        grants: of all renewals.
    """

    herd: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)
    beats: list[tuple[float, float]] = field(default_factory=list)
    grants: int = 0


def measure(run: Run) -> Result:
    """Each way in turn, in rounds."""
    rounds, calls = run.pick(1, 2, 9), run.pick(10, 150, 400)
    missing = {}
    found: dict[str, Found] = {}
    chosen = []
    for way in ways():
        try:
            importlib.import_module(way.package)
        except ImportError as error:
            if not way.title.startswith("static"):
                missing[way.title] = str(error)
                continue
        chosen.append(way)
        found[way.title] = Found()
    controls = {way.title: way for way in chosen}
    for _ in range(rounds):
        for way in chosen:
            asyncio.run(_calls(run, way, controls[way.control], calls, found[way.title]))
    for _ in range(run.pick(1, 1, 3)):
        # a smoke run only looks whether they renew, which all can do at once
        with ThreadPoolExecutor(run.pick(len(chosen), 1, 1)) as pool:
            list(pool.map(lambda way: asyncio.run(_renewal(run, way, found[way.title])), chosen))
    beats = {title: found[title].beats for title in HEARTS if title in found}
    data = {"missing": missing, "beats": beats}
    return Result("asynchronous", TOLD, [_table(chosen, found)], data)


HEARTS = ("evertoken, httpx", "httpx-auth, httpx", "Authlib, httpx2")
"""The picture shows these."""


TOLD = (
    f"{TASKS} calls at once of {LATENCY_MS} ms, and one call after another of an API that answers "
    "at once: by turns with a static header on the same client, median of the ratios. Then a "
    f"call every 5 ms while a token of {EXPIRES_IN} s is renewed; a grant takes "
    f"{GRANT * 1000:.0f} ms: the longest time for which the event loop was held, and the slowest "
    "call, in milliseconds."
)


def _site(run: Run, way: Way, expires_in: int = 3600) -> Site:
    name = "".join(it for it in way.title if it.isalnum())
    url = run.endpoint.url(
        f"{name}-{time.monotonic_ns()}", expires_in=expires_in, delay=GRANT, refresh=True
    )
    return Site(url, run.directory, expires_in)


def _api(run: Run, milliseconds: int) -> str:
    return f"http://127.0.0.1:{run.endpoint.port}/api/{milliseconds}/"


async def _calls(run: Run, way: Way, control: Way, count: int, found: Found) -> None:
    """Both by turns in one loop: the machine is slow at times, and then for both."""
    calls: list[Call] = []
    async with AsyncExitStack() as stack:
        for each in (control, way):
            call = await stack.enter_async_context(asynccontextmanager(each.open)(_site(run, each)))
            # connections, and the first token, are there before
            await _herd(call, _api(run, LATENCY_MS))
            calls.append(call)
        url = _api(run, LATENCY_MS)
        herds = [[await _herd(call, url) for call in calls] for _ in range(run.pick(1, 5, 9))]
        found.herd += [theirs / own for own, theirs in herds]
        url = _api(run, 0)
        costs = [[await _timed(call(url)) for call in calls] for _ in range(count)]
        # the 10th percentile: noise only ever adds time
        low = [percentile(times, 0.1) for times in zip(*costs, strict=True)]
        found.cost.append(low[1] / low[0])


async def _herd(call: Call, url: str) -> float:
    return await _timed(asyncio.gather(*[call(url) for _ in range(TASKS)]))


async def _timed(work: Awaitable[object]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


async def _renewal(run: Run, way: Way, found: Found) -> None:
    seconds = run.pick(3.6, 4.5, 9.0)
    site = _site(run, way, EXPIRES_IN)
    beats: list[tuple[float, float]] = []

    async def heart() -> None:
        began = time.perf_counter()
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            held = 1000 * (time.perf_counter() - start) - 1
            beats.append((round(start - began, 3), round(max(held, 0.01), 2)))

    async with AsyncExitStack() as stack:
        call = await stack.enter_async_context(asynccontextmanager(way.open)(site))
        await call(_api(run, 0))
        beating = asyncio.create_task(heart())
        end = time.monotonic() + seconds
        slowest = 0.0
        while time.monotonic() < end:
            start = time.perf_counter()
            await call(_api(run, 0))
            slowest = max(slowest, 1000 * (time.perf_counter() - start))
            await asyncio.sleep(0.005)
        beating.cancel()
    found.gap.append(max(held for _, held in beats))
    found.beats = beats
    found.slowest.append(slowest)
    found.grants += len(run.endpoint.ledger(site).grants)


def _table(chosen: Sequence[Way], found: dict[str, Found]) -> Table:
    rows = []
    for way in chosen:
        it = found[way.title]
        rows.append(
            [
                way.title,
                f"{statistics.median(it.herd):.2f}",
                f"{statistics.median(it.cost):.2f}",
                spread(it.gap, ".1f"),
                spread(it.slowest, ".1f"),
                str(it.grants),
            ]
        )
    columns = ["", f"{TASKS} at once, x", "one call, x", "loop held", "slowest call", "grants"]
    return Table("Asynchronous clients", columns, rows)


if __name__ == "__main__":
    alone("asynchronous")
