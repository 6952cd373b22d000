"""The benchmarks measure peers that work: each really renewed, cached and made its requests.

These tests check one smoke run of all benchmarks, three processes at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from benchmarks import publish, simulated_fleet
from benchmarks.__main__ import NAMES
from benchmarks.figures import Figures
from benchmarks.host import Load
from benchmarks.peers import registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    Results = Mapping[str, Mapping[str, Any]]  # the JSON of each benchmark

# half a minute on an idle machine, longer on a busy one
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]

PARTS = (
    ("server", "hot_path", "threads", "refusal", "memory", "identities"),
    ("stall", "outage", "processes"),
    ("cold_start", "command_line", "accounts"),
    ("asynchronous", "shared_peers", "client_credentials"),
)

RENEWING = [name for name in registry.NAMES if name != registry.FLOOR]
SHARING = ["ever", "requests_auth_file", "msal_file", "botocore_file"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the results of the smoke run."""
    pytest.importorskip("matplotlib", reason="the pictures need the extra `bench`")
    place = tmp_path_factory.mktemp("results")
    runs = []
    for number, part in enumerate(PARTS):
        only = [word for name in part for word in ("--only", name)]
        command = [sys.executable, "-m", "benchmarks", "--smoke", "--results"]
        runs.append(
            subprocess.Popen(  # noqa: S603  this project's own command
                [*command, str(place / str(number)), *only],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for run in runs:
        said, _ = run.communicate(timeout=280)
        assert run.returncode == 0, said
    return place


@pytest.fixture(scope="module")
def results(directory: Path) -> Results:
    found: dict[str, Any] = {}
    for number in range(len(PARTS)):
        found |= json.loads((directory / str(number) / "results.json").read_text())["results"]
    return found


def installed(name: str) -> str:
    """Return `name`, or skip the test if the peer is not installed."""
    try:
        registry.load(name)
    except ImportError as error:
        pytest.skip(f"the peer {name} is not installed: {error}")
    return name


def data(results: Results, name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", results[name]["data"])


def test_every_benchmark_has_run(results: Results) -> None:
    assert sorted(results) == sorted(NAMES)


@pytest.mark.parametrize("name", RENEWING)
def test_a_peer_was_timed_with_a_token_it_had_cached(name: str, results: Results) -> None:
    found = data(results, "hot_path")
    assert found["ns"][installed(name)] > 0
    # a grant takes over a millisecond: no call in the timed rounds made one
    assert found["ns"][name] < 1e6


@pytest.mark.parametrize("name", RENEWING)
def test_a_peer_renewed_while_it_was_called(name: str, results: Results) -> None:
    trial = data(results, "stall")["1 threads"][installed(name)]
    assert 2 <= trial["grants"][0] <= 4
    assert trial["count"] > 100


@pytest.mark.parametrize("name", RENEWING)
def test_a_peer_was_called_by_threads_cold_and_at_an_expiry(name: str, results: Results) -> None:
    found = data(results, "threads")
    for phase in ("cold", "ended"):
        (grants, seconds, _), *_ = found[phase][installed(name)]
        assert grants >= 1
        assert seconds > 0


@pytest.mark.parametrize("name", RENEWING)
def test_a_peer_made_calls_through_the_outage(name: str, results: Results) -> None:
    (trial,) = data(results, "outage")[installed(name)]
    assert trial["calls"] > 100
    assert trial["grants"] + trial["asked"] >= 2


@pytest.mark.parametrize("name", RENEWING)
def test_a_peer_posted_the_wrong_password(name: str, results: Results) -> None:
    (posts,) = data(results, "refusal")["posts"][installed(name)]
    assert posts >= 1


@pytest.mark.parametrize("name", RENEWING)
def test_the_memory_of_a_peer_was_measured_with_its_own_tokens(name: str, results: Results) -> None:
    made, used = data(results, "memory")["bytes"][installed(name)]
    assert 0 < made < used


def test_calls_were_timed_after_few_and_after_many_identities(results: Results) -> None:
    # the run itself fails if a store does not hold the expected content
    found = data(results, "identities")["microseconds"]
    assert len(found) == 6
    assert all(few > 0 and many > 0 for few, many in found.values())


@pytest.mark.parametrize("name", SHARING)
def test_a_peer_found_its_warm_cache_in_a_fresh_process(name: str, results: Results) -> None:
    # the run itself fails if a new process sent another token request
    assert data(results, "cold_start")["warm"][installed(name)][0] > 0


def test_a_command_found_its_token_in_a_file(results: Results) -> None:
    # the run itself fails if the command printed another token, or requested one
    found = data(results, "command_line")["seconds"]
    assert [name for name, (seconds,) in found.items() if seconds > 0] == [
        'python -c "import requests"',
        "evertoken token",
        "evertoken status",
        "evertoken --help",
    ]


@pytest.mark.parametrize("name", [*SHARING, "by_hand"])
def test_a_peer_renewed_in_a_fleet_of_processes(name: str, results: Results) -> None:
    alone, fleet = data(results, "processes")["grants per lifetime"][installed(name)]
    assert alone[0] >= 1
    assert fleet[0] >= 1


def test_evertoken_keeps_its_promises_in_the_smoke_run(results: Results) -> None:
    threads = data(results, "threads")
    assert threads["cold"]["ever"][0][0] == 1
    assert threads["ended"]["ever"][0][0] == 1
    processes = data(results, "processes")
    assert processes["grants per lifetime"]["ever"] == [[1.0], [1.0]]
    assert processes["failed"]["ever"] == [[0], [0]]
    assert data(results, "refusal")["posts"]["ever"] == [1]
    outage = data(results, "outage")["ever"][0]
    assert (outage["failed"], outage["refused"]) == (0, 0)
    assert data(results, "stall")["1 threads"]["ever"]["refused"] == [0]


@pytest.mark.parametrize("client", ["httpx", "httpx2", "aiohttp"])
def test_an_asynchronous_client_renewed_while_it_was_called(client: str, results: Results) -> None:
    (table,) = results["asynchronous"]["tables"]
    grants = {row[0]: row[-1] for row in table["rows"]}
    assert grants[f"evertoken, {client}"] == "2"


def test_the_heart_of_an_event_loop_beat_all_the_time(results: Results) -> None:
    beats = data(results, "asynchronous")["beats"]["evertoken, httpx"]
    assert len(beats) > 100


def test_processes_of_evertoken_share_a_login_and_others_lose_it(results: Results) -> None:
    fleets = {each["name"]: each for each in data(results, "shared_peers")["fleets"]}
    assert fleets["evertoken"]["died"] == []
    assert fleets["evertoken"]["calls"] > 50
    for name in set(fleets) - {"evertoken"}:
        assert len(fleets[name]["died"]) == fleets[name]["processes"]


def test_claims_about_peers_that_share_nothing_are_measured(results: Results) -> None:
    # a count that can only be 1 would prove nothing
    (cold, *_), *_ = data(results, "threads")["cold"][installed("oauth2client")]
    assert cold > 1
    _, fleet = data(results, "processes")["grants per lifetime"]["by_hand"]
    assert fleet[0] > 2
    assert data(results, "refusal")["posts"]["by_hand"] == [100]


def test_a_peer_that_cannot_do_a_job_is_in_the_table_with_its_reason(results: Results) -> None:
    (table,) = results["processes"]["tables"]
    rows = {row[0]: row[1:] for row in table["rows"]}
    assert rows["static header"] == ["never renews"]
    assert rows["cachetools.TTLCache"] == ["keeps its token in memory"]


def test_the_picture_of_waits_shows_each_call_and_the_nearest_rival_second(
    results: Results,
) -> None:
    found = data(results, "stall")
    trials, calls = found["1 threads"], found["calls"]
    renewing = [name for name in trials if name not in (registry.FLOOR, registry.SUBJECT)]
    nearest = min(renewing, key=lambda name: max(trials[name]["max_ms"]))
    assert list(calls)[:2] == [registry.SUBJECT, nearest]
    for name, shown in calls.items():
        assert len(shown) == trials[name]["count"]
        assert max(took for _, took in shown) == pytest.approx(
            max(trials[name]["max_ms"]), abs=1e-3
        )


@pytest.mark.parametrize(
    ("half", "picture"),
    [(0, "hot_path"), (1, "stall"), (1, "processes"), (3, "heartbeat"), (3, "shared_login")],
)
def test_a_picture_has_a_transparent_background(half: int, picture: str, directory: Path) -> None:
    image = (directory / str(half) / f"{picture}.svg").read_text()
    assert ET.fromstring(image).tag.endswith("svg")  # noqa: S314  made by the run above
    assert ">evertoken" in image
    assert "#ffffff" not in image


@pytest.mark.parametrize("half", range(len(PARTS)))
def test_the_tables_name_their_date_and_machine(half: int, directory: Path) -> None:
    page = (directory / str(half) / "tables.md").read_text()
    for line in ("date", "machine", "Python", "versions", "load average at the start"):
        assert f"\n- {line}: " in page


def test_figures_of_a_run_of_any_scale_can_be_published(results: Results, directory: Path) -> None:
    run = json.loads((directory / "0" / "results.json").read_text())
    kept = Figures.read()
    figures = Figures(run["circumstances"], Load(**run["load"]), results, kept.fleet)
    assert "\n| grants per lifetime, 4 processes | 1.0 |" in publish.beside_others(figures)
    assert "\n| grants per lifetime of 4 processes | 1.0 |" in publish.nearest(figures)
    assert "by a smoke run of" in publish.when(figures)
    for block in publish.BLOCKS.values():
        assert block(figures).endswith("\n")


@pytest.mark.parametrize(
    ("scenario", "grants"), [("edge", 1), ("edge, the holder dies", 1), ("edge, 30 s outage", 1)]
)
def test_a_simulated_fleet_grants_once(scenario: str, grants: int) -> None:
    (plan,) = (each for each in simulated_fleet.SCENARIOS if each.name == scenario)
    outcome = simulated_fleet.Fleet(replace(plan, workers=100)).run()
    assert outcome.grants.total() == grants
    # a process polls once in ten seconds, and a grant takes five commands
    assert outcome.commands.total() > 100 * (plan.end - plan.begin) / plan.recheck / 2
