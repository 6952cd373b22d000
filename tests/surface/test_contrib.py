"""Metrics and spans, as the real libraries show them."""

from __future__ import annotations

import contextlib
import gc
import queue
import time
from typing import TYPE_CHECKING

import pytest
import requests
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry, generate_latest

from evertoken import (
    BearerAuth,
    FileStore,
    GrantRefused,
    MemoryStore,
    PasswordGrant,
    Token,
    TokenError,
)
from evertoken import TokenManager as Manager
from evertoken.contrib.opentelemetry import OpenTelemetryEvents
from evertoken.contrib.prometheus import PrometheusEvents
from evertoken.core.entry import Entry
from evertoken.events import LoginEnding, RenewalFailed, TokenRevoked
from evertoken.testing import Answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opentelemetry.sdk.metrics.export import Metric
    from opentelemetry.sdk.trace import ReadableSpan

    from evertoken.events import Event
    from evertoken.testing import TokenServer

EXPIRY = "evertoken_token_expiry_seconds"
LOGIN = "evertoken_login_expiry_seconds"


class Heard:
    """A listener that can be waited for: a caller has its token before the event is told."""

    def __init__(self, listener: Callable[[Event], None]) -> None:
        self._listener = listener
        self._told: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def __call__(self, event: Event) -> None:
        self._listener(event)
        self._told.put(event)

    def wait(self, count: int) -> None:
        for _ in range(count):
            self._told.get(timeout=30)


def settled(it: Manager, *, events: int = 1) -> None:
    """Wait until so many more events have been told."""
    assert isinstance(it.on_event, Heard)
    it.on_event.wait(events)


def manager(
    server: TokenServer,
    on_event: Callable[[Event], None],
    *,
    store: FileStore | None = None,
    username: str | None = None,
    password: str | None = None,
) -> Manager:
    """One that shares its token with no other, unless through a file."""
    grant = PasswordGrant(
        server.token_url,
        client_id=server.client_id,
        client_secret=server.client_secret,
        username=username or server.username,
        password=password or server.password,
        revoke_url=server.revoke_url,
    )
    return Manager(grant, store=store, memory=MemoryStore(), on_event=Heard(on_event))


def run(
    server: TokenServer, events: Callable[[str], Callable[[Event], None]], path: Path
) -> list[Manager]:
    """A grant and its adoption, a replay, a refusal, a failure: each by an account of its own."""
    store = FileStore(path)
    first = manager(server, events("granting"), store=store)
    first.token()
    settled(first)
    second = manager(server, events("adopting"), store=store)
    second.token()
    server.revoke(second.token().value)
    assert requests.get(server.api_url, auth=BearerAuth(second), timeout=30).status_code == 200

    settled(second, events=3)

    refused = manager(server, events("refused"), password="wrong")
    with pytest.raises(GrantRefused):
        refused.token()
    settled(refused)
    server.outage(503, retry_after=100)
    failing = manager(server, events("failing"))
    with pytest.raises(TokenError):
        failing.token()
    settled(failing)
    server.recover()
    return [first, second, refused, failing]


RENEWALS = {
    ("granting", "renewed", "grant"): 1,
    ("adopting", "renewed", "file"): 1,
    ("adopting", "renewed", "grant"): 1,
    ("refused", "refused", "grant"): 1,
    ("failing", "failed", "grant"): 1,
}
"""What `run` does, by account, outcome and source."""


def account(server: TokenServer) -> tuple[str, str]:
    """What metrics call the server's account."""
    return server.username, server.token_url


def arrange(server: TokenServer, outcome: str) -> None:
    """Have the server's next answers lead to `outcome`."""
    server.recover()
    if outcome == "failed":
        server.outage(503)
    elif outcome == "refused":
        server.refuse("invalid_grant")


def reject(server: TokenServer, listener: Callable[[Event], None]) -> None:
    """Have an API refuse a token, and the one that replaces it."""
    held = manager(server, listener)
    server.api.answer_always(Answer(401))
    for _ in range(2):
        requests.get(server.api_url, auth=BearerAuth(held), timeout=30)
    # two renewals, one replay
    settled(held, events=4)


def degrade(server: TokenServer, listener: Callable[[Event], None], path: Path) -> Manager:
    """Have something stand in place of the token file."""
    store = FileStore(path)
    degraded = manager(server, listener, store=store)
    store.path(degraded.grant.key).mkdir()
    degraded.token()
    settled(degraded, events=2)
    return degraded


class TestPrometheus:
    def test_counts_stores_that_fail(self, token_server: TokenServer, tmp_path: Path) -> None:
        registry = CollectorRegistry()
        degrade(token_server, PrometheusEvents(registry, account="acme"), tmp_path)

        labels = {"account": "acme", "token_url": token_server.token_url, "store": "file"}
        assert registry.get_sample_value("evertoken_store_degradations_total", labels) == 1

    def test_tells_whether_a_store_serves_again(
        self, token_server: TokenServer, tmp_path: Path
    ) -> None:
        registry = CollectorRegistry()
        held = degrade(token_server, PrometheusEvents(registry), tmp_path)
        assert series(registry, "evertoken_store_degraded") == {(*account(token_server), "file"): 1}
        FileStore(tmp_path).path(held.grant.key).rmdir()
        held.refresh()
        settled(held, events=2)

        assert series(registry, "evertoken_store_degraded") == {(*account(token_server), "file"): 0}

    def test_counts_tokens_that_an_api_refuses_again(self, token_server: TokenServer) -> None:
        registry = CollectorRegistry()
        reject(token_server, PrometheusEvents(registry))

        assert series(registry, "evertoken_rejections_total") == {account(token_server): 1}

    def test_tells_when_a_login_ends_until_it_is_revoked(self) -> None:
        registry, url = CollectorRegistry(), "https://id.example/"
        listener = PrometheusEvents(registry)
        listener(LoginEnding(time.time() + 3600, account="ann", token_url=url))
        (left,) = series(registry, LOGIN).values()
        assert 3590 < left <= 3600
        listener(TokenRevoked(confirmed=True, account="ann", token_url=url))

        assert series(registry, LOGIN) == {}

    def test_tells_what_came_of_the_last_renewal(self, token_server: TokenServer) -> None:
        registry = CollectorRegistry()
        held = manager(token_server, PrometheusEvents(registry))
        assert series(registry, "evertoken_renewal_status") == {}
        for outcome in ("renewed", "failed", "refused", "renewed"):
            arrange(token_server, outcome)
            with contextlib.suppress(TokenError):
                held.refresh()
            settled(held)
            found = series(registry, "evertoken_renewal_status")
            assert found == {
                (*account(token_server), each): float(each == outcome)
                for each in ("renewed", "failed", "refused")
            }

    def test_counts_renewals_and_replays(self, token_server: TokenServer, tmp_path: Path) -> None:
        registry = CollectorRegistry()
        kept = run(token_server, lambda name: PrometheusEvents(registry, account=name), tmp_path)

        found = {
            (name, outcome, source): count
            for (name, url, outcome, source), count in series(
                registry, "evertoken_renewals_total"
            ).items()
            if url == token_server.token_url
        }
        assert found == RENEWALS
        assert series(registry, "evertoken_replays_total") == {
            ("adopting", token_server.token_url, "401"): 1
        }
        text = generate_latest(registry).decode()
        assert "# TYPE evertoken_renewals_total counter" in text
        # S46
        assert not [secret for secret in token_server.secrets if secret in text]
        assert len(kept) == 4

    def test_tells_the_seconds_to_expiry_at_each_scrape(
        self, token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = CollectorRegistry()
        token_server.expires_in = 600
        now = time.time()
        held = manager(token_server, PrometheusEvents(registry))
        assert series(registry, EXPIRY) == {}
        held.token()
        settled(held)
        assert 590 < scraped(registry) <= 600

        monkeypatch.setattr(time, "time", lambda: now + 400)
        assert 190 < scraped(registry) <= 201
        monkeypatch.setattr(time, "time", lambda: now + 700)
        assert scraped(registry) == 0

    def test_an_adopted_token_has_lived_for_a_while(
        self, token_server: TokenServer, tmp_path: Path
    ) -> None:
        registry = CollectorRegistry()
        store = FileStore(tmp_path)
        held = manager(token_server, PrometheusEvents(registry), store=store)
        now = time.time()
        store.save(held.grant.key, Entry.of_token(Token("kept", now - 3000, now + 600)))
        assert held.token().value == "kept"
        settled(held)

        assert 590 < scraped(registry) <= 600

    def test_has_no_time_left_once_the_token_is_revoked(self, token_server: TokenServer) -> None:
        registry = CollectorRegistry()
        held = manager(token_server, PrometheusEvents(registry))
        held.token()
        settled(held)
        held.revoke()
        settled(held)

        assert scraped(registry) == 0

    def test_forgets_the_expiry_of_a_listener_that_is_gone(self) -> None:
        registry = CollectorRegistry()
        kept, gone = (PrometheusEvents(registry, account=name) for name in ("kept", "gone"))
        for listener in (kept, gone):
            listener(RenewalFailed(TokenError("down"), 0.0, token_url="https://id.example/"))
        assert {name for name, _ in series(registry, EXPIRY)} == {"kept", "gone"}

        del gone, listener
        gc.collect()

        assert series(registry, EXPIRY) == {(kept.account, "https://id.example/"): 0}

    def test_names_the_accounts_of_one_listener_as_events_do(
        self, token_server: TokenServer
    ) -> None:
        registry = CollectorRegistry()
        listener = PrometheusEvents(registry)
        held = [manager(token_server, listener), manager(token_server, listener, username="ann")]
        for each in held:
            with contextlib.suppress(TokenError):
                each.token()
            settled(each)

        assert series(registry, "evertoken_renewals_total") == {
            (*account(token_server), "renewed", "grant"): 1,
            ("ann", token_server.token_url, "refused", "grant"): 1,
        }

    def test_shows_one_series_for_two_managers_of_one_account(
        self, token_server: TokenServer
    ) -> None:
        registry = CollectorRegistry()
        idle, held = PrometheusEvents(registry), manager(token_server, PrometheusEvents(registry))
        held.token()
        settled(held)

        assert idle.accounts.standings() == {}
        assert 35900 < scraped(registry) <= 36000
        assert generate_latest(registry).decode().count(f"{EXPIRY}{{") == 1


def series(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one metric by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def scraped(registry: CollectorRegistry) -> float:
    (value,) = series(registry, EXPIRY).values()
    return value


class Telemetry:
    """The SDK, with all that it is given kept in memory."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    def events(self, account: str = "") -> OpenTelemetryEvents:
        return OpenTelemetryEvents(
            tracer_provider=self.tracers, meter_provider=self.meters, account=account
        )

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()

    def metrics(self) -> dict[str, Metric]:
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[tuple[dict[str, object], float]]:
        points = self.metrics()[name].data.data_points
        return [
            (dict(point.attributes or {}), point.value)
            for point in points
            if isinstance(point, NumberDataPoint)
        ]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


class TestOpenTelemetry:
    def test_counts_stores_that_fail(
        self, telemetry: Telemetry, token_server: TokenServer, tmp_path: Path
    ) -> None:
        held = degrade(token_server, telemetry.events("acme"), tmp_path)

        told = {
            "evertoken.account": "acme",
            "url.full": token_server.token_url,
            "evertoken.store": "file",
        }
        assert telemetry.points("evertoken.store.degradations") == [(told, 1)]
        assert telemetry.points("evertoken.store.degraded") == [(told, 1)]
        assert held.token().value
        unit = telemetry.metrics()["evertoken.store.degradations"].unit
        assert unit == "{degradation}"

    def test_counts_renewals_and_replays(
        self, telemetry: Telemetry, token_server: TokenServer, tmp_path: Path
    ) -> None:
        kept = run(token_server, telemetry.events, tmp_path)

        errors = {"refused": "invalid_grant", "failing": "GrantUnavailable"}
        found = {
            (
                at["evertoken.account"],
                at["evertoken.outcome"],
                at.get("evertoken.source", ""),
            ): count
            for at, count in telemetry.points("evertoken.renewals")
        }
        assert found == RENEWALS
        assert {
            at["evertoken.account"]: at["error.type"]
            for at, _ in telemetry.points("evertoken.renewals")
            if "error.type" in at
        } == errors
        replayed = {
            "evertoken.account": "adopting",
            "url.full": token_server.token_url,
            "http.response.status_code": 401,
        }
        assert telemetry.points("evertoken.replays") == [(replayed, 1)]
        assert {
            (at["evertoken.account"], at["evertoken.outcome"])
            for at, holds in telemetry.points("evertoken.renewal.status")
            if holds
        } == {
            ("granting", "renewed"),
            ("adopting", "renewed"),
            ("refused", "refused"),
            ("failing", "failed"),
        }
        assert len(kept) == 4

    def test_counts_tokens_that_an_api_refuses_again(
        self, telemetry: Telemetry, token_server: TokenServer
    ) -> None:
        reject(token_server, telemetry.events())

        name, url = account(token_server)
        assert telemetry.points("evertoken.rejections") == [
            ({"evertoken.account": name, "url.full": url}, 1)
        ]

    def test_tells_when_a_login_ends(self, telemetry: Telemetry) -> None:
        listener = telemetry.events("ann")
        listener(LoginEnding(time.time() + 3600))
        ((attributes, left),) = telemetry.points("evertoken.login.time_to_expiry")

        assert attributes == {"evertoken.account": "ann"}
        assert 3590 < left <= 3600

    def test_names_units(
        self, telemetry: Telemetry, token_server: TokenServer, tmp_path: Path
    ) -> None:
        kept = run(token_server, telemetry.events, tmp_path)

        assert {name: metric.unit for name, metric in telemetry.metrics().items()} == {
            "evertoken.renewals": "{renewal}",
            "evertoken.replays": "{request}",
            "evertoken.token.time_to_expiry": "s",
            "evertoken.renewal.status": "1",
        }
        assert len(kept) == 4

    def test_records_a_span_for_each_renewal(
        self, telemetry: Telemetry, token_server: TokenServer, tmp_path: Path
    ) -> None:
        run(token_server, telemetry.events, tmp_path)

        spans = {
            str((span.attributes or {})["evertoken.account"]): span for span in telemetry.spans()
        }
        assert len(telemetry.spans()) == sum(RENEWALS.values())
        assert {span.name for span in telemetry.spans()} == {"evertoken.renewal"}
        assert {name: span.status.status_code for name, span in spans.items()} == {
            "granting": StatusCode.UNSET,
            "adopting": StatusCode.UNSET,
            "refused": StatusCode.ERROR,
            "failing": StatusCode.ERROR,
        }
        assert dict(spans["refused"].attributes or {}) == {
            "evertoken.account": "refused",
            "url.full": token_server.token_url,
            "evertoken.outcome": "refused",
            "evertoken.source": "grant",
            "error.type": "invalid_grant",
            "http.response.status_code": 400,
        }
        # S46
        told = "".join(span.to_json() for span in telemetry.spans())
        assert not [secret for secret in token_server.secrets if secret in told]

    def test_gives_a_span_the_length_of_its_renewal(
        self, telemetry: Telemetry, token_server: TokenServer
    ) -> None:
        token_server.latency = 0.2
        begun = time.time_ns()
        held = manager(token_server, telemetry.events())
        held.token()
        settled(held)
        (span,) = telemetry.spans()

        assert span.start_time is not None
        assert span.end_time is not None
        assert span.end_time - span.start_time >= 0.2e9
        # the two clocks that time a renewal and date its span may be set apart by a little
        assert begun - 50e6 <= span.start_time < span.end_time <= time.time_ns()
        assert (span.attributes or {})["evertoken.account"] == token_server.username

    def test_tells_the_seconds_to_expiry_of_managers_that_live(
        self, telemetry: Telemetry, token_server: TokenServer
    ) -> None:
        held = manager(token_server, telemetry.events())
        gone = telemetry.events("gone")
        gone(RenewalFailed(TokenError("down"), 0.0))
        held.token()
        settled(held)
        assert {
            at.get("evertoken.account")
            for at, _ in telemetry.points("evertoken.token.time_to_expiry")
        } == {token_server.username, gone.account}

        del gone
        gc.collect()
        ((attributes, left),) = telemetry.points("evertoken.token.time_to_expiry")

        name, url = account(token_server)
        assert attributes == {"evertoken.account": name, "url.full": url}
        assert 35900 < left <= 36000

    def test_uses_the_global_providers_where_none_is_given(self, token_server: TokenServer) -> None:
        # without an SDK they drop everything, and that must not disturb a renewal
        held = manager(token_server, OpenTelemetryEvents())
        held.token()
        settled(held)
