"""What an operator is given: alert rules, a dashboard, a health endpoint."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
import yaml
from prometheus_client import CollectorRegistry, start_http_server

from evertoken import BearerAuth, FileStore, MemoryStore, TokenError, TokenManager
from evertoken.contrib.prometheus import PrometheusEvents
from evertoken.events import LoginEnding, RejectedAgain
from evertoken.runtime import reports
from evertoken.testing import Answer
from support.fleet import eventually
from support.http_clients import grant_of, manager_of
from support.prometheus import checked, scraping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evertoken.testing import TokenServer

CONTRIB = importlib.resources.files("evertoken.contrib")
ALERTS = yaml.safe_load((CONTRIB / "alerts.yml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((CONTRIB / "dashboard.json").read_text(encoding="utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]

SELECTOR = re.compile(r"(evertoken_\w+)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"by \(([^)]*)\)")
OF_EVERY_SCRAPE = {"instance", "job"}
"""Labels that Prometheus itself adds."""


def queries() -> Iterator[tuple[str, str]]:
    """Every query of the rules and of the dashboard, with what it is called."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]


def standing(query: str) -> str:
    """`query`, with what Grafana would put in place of its variables."""
    return query.replace("$__rate_interval", "5m").replace("$account", ".*")


@pytest.fixture
def registry(token_server: TokenServer, tmp_path: Path) -> Iterator[CollectorRegistry]:
    """Metrics after a token, a replay, a rejection, an outage, a refusal and a store that fails."""
    registry = CollectorRegistry()
    events = PrometheusEvents(registry)
    kept = [troubled(token_server, events, tmp_path)]
    token_server.api.answer_next(Answer(401), times=3)
    for _ in range(2):
        requests.get(token_server.api_url, auth=BearerAuth(kept[0]), timeout=30)
    for username, trouble in TROUBLES.items():
        token_server.recover()
        trouble(token_server)
        grant = grant_of(token_server, username=username)
        kept.append(TokenManager(grant, memory=MemoryStore(), on_event=events))
        with contextlib.suppress(TokenError):
            kept[-1].token()
    reports.catch_up(20.0)
    name, url = token_server.username, token_server.token_url
    events(LoginEnding(time.time() + 3600, account=name, token_url=url))
    yield registry
    # until now, since the gauges live as long as the listener
    kept.clear()


TROUBLES: dict[str, Callable[[TokenServer], None]] = {
    "down": lambda server: server.outage(503),
    "refused": lambda server: server.refuse("invalid_grant"),
}


def troubled(server: TokenServer, events: PrometheusEvents, folder: Path) -> TokenManager:
    """A manager with a token, whose folder has something in place of the token file."""
    store = FileStore(folder / "tokens")
    manager = manager_of(server, store=store, on_event=events)
    store.path(manager.grant.key).mkdir(parents=True, mode=0o700)
    (folder / "tokens").chmod(0o700)
    manager.token()
    return manager


def labels_of(registry: CollectorRegistry) -> dict[str, set[str]]:
    """The labels of each metric that is exposed."""
    return {
        sample.name: set(sample.labels)
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


class TestQueries:
    def test_name_metrics_and_labels_that_exist(self, registry: CollectorRegistry) -> None:
        exposed = labels_of(registry)
        asked: set[str] = set()
        for what, query in queries():
            names = set()
            for name, selected in SELECTOR.findall(query):
                names.add(name)
                labels = set(re.findall(r"(\w+)\s*=", selected))
                assert labels <= exposed[name], what
            for grouped in GROUPING.findall(query):
                by = {label.strip() for label in grouped.split(",")} - OF_EVERY_SCRAPE
                assert all(by <= exposed[name] for name in names), what
            asked |= names

        # a metric that no query asks for would be looked at by nobody
        assert asked == exposed.keys()

    def test_of_labels_name_values_that_exist(self, registry: CollectorRegistry) -> None:
        text = " ".join(query for _, query in queries())
        outcomes = {
            each for it in re.findall(r'outcome=~?"([^"]+)"', text) for each in it.split("|")
        }
        shown = {
            sample.labels["outcome"]
            for family in registry.collect()
            for sample in family.samples
            if sample.name == "evertoken_renewal_status"
        }

        assert outcomes == shown
        assert 'source="grant"' in text

    def test_of_a_legend_use_labels_that_the_query_keeps(self) -> None:
        for panel in DASHBOARD["panels"]:
            for target in panel["targets"]:
                kept = {
                    it.strip() for by in GROUPING.findall(target["expr"]) for it in by.split(",")
                }
                assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept

    def test_are_sound_promql(self, tmp_path: Path) -> None:
        rules = [
            {"record": f"query_{number}", "expr": standing(query)}
            for number, (_, query) in enumerate(queries())
        ]
        file = tmp_path / "queries.yml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))

        assert f"{len(rules)} rules found" in checked(file)

    def test_of_the_dashboard_find_something_in_a_running_prometheus(
        self, registry: CollectorRegistry, tmp_path: Path
    ) -> None:
        with exporter(registry) as port, scraping(port, no_rules(tmp_path), tmp_path) as prometheus:
            for what, query in queries():
                if what in {rule["alert"] for rule in RULES}:
                    continue

                def found(query: str = standing(query)) -> object:
                    return prometheus.samples(query)

                eventually(found)


@contextlib.contextmanager
def exporter(registry: CollectorRegistry) -> Iterator[int]:
    """The port on which the metrics of `registry` are."""
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def no_rules(folder: Path) -> Path:
    file = folder / "none.yml"
    file.write_text("groups: []\n")
    return file


def at_once(folder: Path) -> Path:
    """The rules, without the time for which each has to hold."""
    rules = [{name: it for name, it in rule.items() if name != "for"} for rule in RULES]
    file = folder / "alerts.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "at once", "rules": rules}]}))
    return file


class TestAlerts:
    def test_are_sound_rules(self) -> None:
        with importlib.resources.as_file(CONTRIB / "alerts.yml") as file:
            assert f"{len(RULES)} rules found" in checked(file)

    def test_say_how_bad_it_is_and_what_to_do(self) -> None:
        for rule in RULES:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert rule["annotations"].keys() == {"summary", "description"}

    def test_fire_at_what_they_are_for(
        self, registry: CollectorRegistry, token_server: TokenServer, tmp_path: Path
    ) -> None:
        again = RejectedAgain("", account=token_server.username, token_url=token_server.token_url)
        listener = PrometheusEvents(registry)
        with exporter(registry) as port, scraping(port, at_once(tmp_path), tmp_path) as prometheus:
            eventually(lambda: prometheus.samples("evertoken_rejections_total"))
            # one a minute, in production
            listener(again)
            expected = {rule["alert"] for rule in RULES} - {"EvertokenManyGrants"}
            eventually(lambda: prometheus.firing() == expected)

    def test_are_silent_while_all_is_well(self, token_server: TokenServer, tmp_path: Path) -> None:
        registry = CollectorRegistry()
        manager = manager_of(token_server, on_event=PrometheusEvents(registry))
        manager.token()
        reports.catch_up(20.0)
        with exporter(registry) as port, scraping(port, at_once(tmp_path), tmp_path) as prometheus:
            eventually(
                lambda: prometheus.samples("count_over_time(evertoken_renewal_status[1m]) > 3")
            )
            assert prometheus.firing() == set()


def test_the_page_quotes_records_that_are_logged() -> None:
    page = (CONTRIB / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| log record, at WARNING .*?\n\n", page, re.DOTALL)
    package = Path(str(CONTRIB)).parent
    source = "".join(file.read_text(encoding="utf-8") for file in package.rglob("*.py"))
    quoted = [part.strip(" :") for it in re.findall(r"`([^`]+)`", table) for part in it.split("…")]

    for part in filter(None, quoted):
        # a number, a URL or an error stands in its place
        assert re.search(re.sub(r"\\ |\d+", ".{1,20}", re.escape(part)), source), part


def test_the_health_endpoint_tells_who_fails_why_and_until_when(
    token_server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("base_url", "client_id", "client_secret", "username", "password"):
        monkeypatch.setenv(f"SQUADRUN_{name.upper()}", getattr(token_server, name))
    page = (CONTRIB / "README.md").read_text(encoding="utf-8")
    recipe = next(
        it for it in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "health" in it
    )
    names: dict[str, Callable[..., tuple[int, dict[str, object]]]] = {}
    exec(recipe, names)  # noqa: S102  the page's own
    health = names["health"]
    manager = manager_of(token_server)

    assert health(manager)[0] == 200
    token_server.outage(503, retry_after=100)
    with contextlib.suppress(TokenError):
        manager.token()
    code, told = health(manager)
    assert (code, told["state"], told["account"]) == (503, "cooling", token_server.username)
    assert "503" in str(told["error"])
    assert told["failed_at"] < told["retry_at"]  # type: ignore[operator]  # both are times
    token_server.recover()
    manager.refresh()
    assert health(manager)[0] == 200
