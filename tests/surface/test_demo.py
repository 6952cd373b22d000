"""The demo: what it promises and how it judges itself, on a sandbox and on another account."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import signal
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from evertoken.demo import Plan, display, fleet
from evertoken.demo.report import Report, file_lines, lifetimes, redis_lines
from evertoken.demo.tally import Tally, total
from evertoken.demo.worker import Job
from evertoken.sandbox import serve
from evertoken.testing import Answer, TokenServer
from support.console import complaint, ran, running, stream_of
from support.fleet import eventually
from support.valkey import PASSWORD, Valkey, free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from evertoken.sandbox import Sandbox

PROCESSES = Path("/proc")

SUMMARY = re.compile(
    r"grants: (\d+) lifetimes: (\d+) calls: (\d+) failed: (\d+) longest-wait-ms: (\d+)"
)

KEPT = Report(
    tally=Tally(calls=160, leads=80, first_wait=0.7, longest_wait=0.002),
    lifetimes=4,
    grants=4,
    unauthorized=0,
    stored=80,
    kept_in=file_lines("0123.json", 0o600),
    revoked=True,
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    """A demo that has ended."""
    # a grant of half a second may outlast a token of 3 s where the machine is busy otherwise
    options = ["--seconds", "6", "--expires-in", "3", "--workers", "2", "--threads", "2"]
    options.append("--fast-hashing")
    for _ in range(3):
        # this proxy refuses: nothing that the demo does with its own sandbox may go through it
        done = ran("demo", *options, no_proxy="", NO_PROXY="", http_proxy="http://127.0.0.1:9")
        if broken(done) != ["longest wait after that"]:
            break
        # a busy machine makes a call wait now and then; a wrong design does so each time
    return done


def broken(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The promises that the table marks as not kept."""
    return re.findall(r"^(.+?)  .* NOT KEPT$", done.stdout, re.MULTILINE)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with serve(fast_hashing=True) as served:
        yield served


class TestReport:
    def test_is_kept_where_all_is_as_promised(self) -> None:
        assert KEPT.kept
        assert all(line.kept for line in KEPT.lines())

    @pytest.mark.parametrize(
        ("broken", "what"),
        [
            (replace(KEPT, tally=replace(KEPT.tally, calls=0)), "calls made"),
            (replace(KEPT, tally=replace(KEPT.tally, failed=1)), "calls that failed"),
            (replace(KEPT, unauthorized=1), "401s the server answered"),
            (replace(KEPT, grants=6), "grants"),
            (replace(KEPT, grants=0), "grants"),
            (replace(KEPT, stored=79), "leads stored"),
            (replace(KEPT, stored=81), "leads stored"),
            (replace(KEPT, tally=replace(KEPT.tally, longest_wait=0.05)), "longest wait after"),
            (replace(KEPT, kept_in=file_lines("a", 0o640)), "its mode"),
            (replace(KEPT, kept_in=file_lines("a", 0)), "its mode"),
            (replace(KEPT, kept_in=redis_lines("a", held=False)), "that key"),
            (replace(KEPT, revoked=False), "token once revoked"),
        ],
    )
    def test_is_not_kept_where_one_promise_is_broken(self, broken: Report, what: str) -> None:
        [line] = [line for line in broken.lines() if not line.kept]

        assert not broken.kept
        assert line.what.startswith(what)

    @pytest.mark.parametrize(
        "allowed",
        [
            replace(KEPT, grants=5),
            replace(KEPT, tally=replace(KEPT.tally, longest_wait=0.049)),
            replace(KEPT, tally=replace(KEPT.tally, first_wait=20.0)),
        ],
    )
    def test_is_kept_up_to_the_bounds(self, allowed: Report) -> None:
        assert allowed.kept

    def test_of_an_account_that_counts_nothing_judges_the_rest(self) -> None:
        uncounted = replace(KEPT, grants=None, unauthorized=None, stored=None)

        assert uncounted.kept
        assert not replace(uncounted, revoked=False).kept
        assert {line.what for line in KEPT.lines()} - {line.what for line in uncounted.lines()} == {
            "401s the server answered",
            "grants",
            "leads stored",
        }

    def test_sums_up_in_one_line_of_whole_numbers(self) -> None:
        tally = replace(KEPT.tally, longest_wait=0.0499)

        assert (
            replace(KEPT, tally=tally).summary()
            == "grants: 4 lifetimes: 4 calls: 160 failed: 0 longest-wait-ms: 49"
        )

    @pytest.mark.parametrize(
        ("seconds", "expires_in", "expected"),
        # a token of 4 s is renewed after 2.75 s at the earliest, one of 10 h after 35,850 s
        [(0.1, 4, 1), (2.75, 4, 1), (2.76, 4, 2), (120, 4, 44), (35_850, 36_000, 1)],
    )
    def test_counts_lifetimes_by_the_earliest_renewals(
        self, seconds: float, expires_in: float, expected: int
    ) -> None:
        assert lifetimes(seconds, expires_in) == expected


class TestTally:
    def test_of_all_adds_counts_up_and_keeps_the_longest_waits(self) -> None:
        first = Tally(calls=3, failed=1, leads=1, first_wait=0.5, longest_wait=0.1)
        second = Tally(calls=4, leads=2, first_wait=0.6, longest_wait=0.01, first_failure="late")

        assert total([first, second]) == Tally(
            calls=7, failed=1, leads=3, first_wait=0.6, longest_wait=0.1, first_failure="late"
        )


class TestPlan:
    def test_writes_in_a_sandbox_and_elsewhere_only_where_asked(self) -> None:
        elsewhere = Plan(base_url="https://api.example")

        assert (Plan().writes, Plan().once) == (True, False)
        assert (elsewhere.writes, elsewhere.once) == (False, True)
        written = replace(elsewhere, write=True)
        assert (written.writes, written.once) == (True, True)


class TestDisplay:
    @pytest.fixture
    def terminal(self) -> Console:
        return Console(file=io.StringIO(), force_terminal=True, width=120, highlight=False)

    @pytest.fixture
    def file(self) -> Console:
        return Console(file=io.StringIO(), width=40, highlight=False)

    def test_is_a_live_line_on_a_terminal(self, terminal: Console) -> None:
        with display.live(terminal, 20.0) as show:
            show(KEPT.tally, 4, 4)

        assert "160 calls, 4 grants in 4 lifetimes, 0 failed, slowest auth 2.0 ms" in said(terminal)

    def test_is_a_plain_line_elsewhere_that_is_never_wrapped(self, file: Console) -> None:
        with display.live(file, 20.0) as show:
            show(KEPT.tally, None, 4)

        assert said(file).endswith("s  160 calls, 0 failed, slowest auth 2.0 ms\n")
        assert said(file).count("\n") == 1

    def test_ends_with_a_table_that_marks_what_was_not_kept(self, terminal: Console) -> None:
        tally = replace(KEPT.tally, failed=1, first_failure="503 [busy]")
        display.table(terminal, replace(KEPT, tally=tally))
        lines = said(terminal).splitlines()

        assert [line.split()[:3] for line in lines if "NOT KEPT" in line] == [
            ["calls", "that", "failed"]
        ]
        assert lines[-2] == "the first call that failed: 503 [busy]"
        assert lines[-1] == replace(KEPT, tally=tally).summary()


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestWorkers:
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
        with TokenServer() as server:
            monkeypatch.setenv("SQUADRUN_CLIENT_ID", server.client_id)
            monkeypatch.setenv("SQUADRUN_CLIENT_SECRET", server.client_secret)
            monkeypatch.setenv("SQUADRUN_USERNAME", server.username)
            monkeypatch.setenv("SQUADRUN_PASSWORD", server.password)
            yield server

    @pytest.fixture
    def job(self, server: TokenServer, tmp_path: Path) -> Job:
        return Job(
            name="job",
            base_url=server.token_url.removesuffix("/oauth/token/"),
            place=str(tmp_path),
            campaign=7,
            threads=1,
            seconds=60,
            writes=False,
            once=True,
        )

    def test_count_what_they_did(self, job: Job, server: TokenServer) -> None:
        *_, tally = fleet.run([job, replace(job, threads=2)])

        assert (tally.calls, tally.failed, tally.leads) == (3, 0, 0)
        assert tally.first_wait > 0
        assert server.grants == 1

    def test_that_die_count_as_a_failure_each(self, job: Job) -> None:
        tally = Tally()
        for tally in fleet.run([replace(job, once=False)]):
            if tally.calls:
                for child in multiprocessing.active_children():
                    child.kill()

        assert tally.failed == 1
        assert tally.first_failure == "a worker ended with status -9"

    def test_are_ended_where_nobody_listens_any_more(self, job: Job) -> None:
        tallies = fleet.run([replace(job, once=False)])
        next(tallies)
        tallies.close()

        assert multiprocessing.active_children() == []

    def test_count_an_answer_that_makes_no_sense_as_a_failure(
        self, job: Job, server: TokenServer
    ) -> None:
        # no `count` in it, which is what tells whether the lead was stored
        server.api.answer_next(Answer.json([], status=201), Answer.json([]))
        *_, tally = fleet.run([replace(job, writes=True)])

        assert (tally.calls, tally.failed, tally.leads) == (2, 1, 1)
        assert str(tally.first_failure).startswith("TypeError")

    def test_count_another_status_as_a_failure(self, job: Job, server: TokenServer) -> None:
        server.api.answer_next(Answer(503))
        *_, tally = fleet.run([job])

        assert (tally.calls, tally.failed) == (1, 1)
        assert str(tally.first_failure).startswith("503 ")


class TestCommand:
    def test_keeps_its_promises(self, done: subprocess.CompletedProcess[str]) -> None:
        assert broken(done) == []
        assert "NOT KEPT" not in done.stdout
        assert done.stderr == ""
        assert done.returncode == 0

    def test_ends_with_a_line_for_scripts(self, done: subprocess.CompletedProcess[str]) -> None:
        match = SUMMARY.fullmatch(done.stdout.splitlines()[-1])
        assert match
        grants, within, calls, failed, longest = map(int, match.groups())

        assert 3 <= grants <= within + 1
        assert calls > 2 * 2 * 6
        assert failed == 0
        assert longest < 50

    def test_shows_what_was_sent_and_what_was_stored(
        self, done: subprocess.CompletedProcess[str]
    ) -> None:
        match = re.search(r"leads stored +(\d+) +(\d+) sent +ok", done.stdout)

        assert match
        assert int(match[1]) == int(match[2]) > 2 * 6
        assert re.search(r"its mode +0600 +0600 +ok", done.stdout)
        assert re.search(r"token once revoked +refused by the API .*ok", done.stdout)

    def test_tells_programs_all_of_it_as_json(self) -> None:
        done = ran("demo", "--json", "--seconds", "2", "--workers", "1", "--fast-hashing")
        told = json.loads(done.stdout)

        assert told["failed"] == 0 < min(told["calls"], told["grants"])
        assert told["kept"] == all(line["kept"] for line in told["lines"]) == (not done.returncode)
        assert "calls, " in done.stderr

    def test_shows_plain_lines_while_it_runs(self, done: subprocess.CompletedProcess[str]) -> None:
        shown = re.findall(r"^ *\d+\.\d s  \d+ calls, ", done.stdout, re.MULTILINE)

        assert len(shown) >= 2

    @pytest.mark.skipif(not PROCESSES.exists(), reason="tells processes by /proc")
    @pytest.mark.parametrize(
        ("lines", "number", "send", "status"),
        [
            # Ctrl-C, which a terminal sends to all: while the workers start, while they call
            (0, signal.SIGINT, os.killpg, 130),
            (1, signal.SIGINT, os.killpg, 130),
            (1, signal.SIGTERM, os.kill, 143),
            (1, signal.SIGKILL, os.kill, -9),
        ],
    )
    def test_leaves_no_process_behind_when_it_is_ended(
        self,
        lines: int,
        number: signal.Signals,
        send: Callable[[int, int], None],
        status: int,
        tmp_path: Path,
    ) -> None:
        mark = uuid.uuid4().hex
        options = ["--seconds", "60", "--workers", "2"]
        with running("demo", *options, MARK=mark, TMPDIR=str(tmp_path)) as process:
            for _ in range(lines):
                stream_of(process.stdout).readline()
            # itself, its sandbox, two workers, and a process that multiprocessing has beside them
            eventually(lambda: len(marked(mark)) >= 5)
            send(process.pid, number)
            _, complaints = process.communicate(timeout=30)

        assert process.returncode == status
        assert "Traceback" not in complaints
        eventually(lambda: not marked(mark))
        # who is killed cleans nothing up
        assert number == signal.SIGKILL or list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(not PROCESSES.exists(), reason="tells processes by /proc")
    def test_says_so_where_its_sandbox_is_killed(self, tmp_path: Path) -> None:
        mark = uuid.uuid4().hex
        options = ["--seconds", "60", "--workers", "2", "--fast-hashing"]
        with running("demo", *options, MARK=mark, TMPDIR=str(tmp_path)) as process:
            stream_of(process.stdout).readline()
            (served,) = [pid for pid in marked(mark) if b"evertoken.sandbox" in command_of(pid)]
            os.kill(int(served), signal.SIGKILL)
            _, complaints = process.communicate(timeout=30)

        assert process.returncode == 1
        assert re.fullmatch(
            r"Error: the sandbox at http://127\.0\.0\.1:\d+ does not answer any more: .+\n",
            complaints,
        )
        eventually(lambda: not marked(mark))


def command_of(pid: str) -> bytes:
    return (PROCESSES / pid / "cmdline").read_bytes()


def marked(mark: str) -> list[str]:
    """Processes that inherited `mark`."""
    return [process.name for process in PROCESSES.glob("[0-9]*") if mark in inherited(process)]


def inherited(process: Path) -> str:
    try:
        return (process / "environ").read_bytes().decode(errors="replace")
    except OSError:  # it has ended, or is another user's
        return ""


class TestRedis:
    def test_keeps_the_same_promises(self) -> None:
        options = ["--seconds", "6", "--expires-in", "3", "--workers", "2", "--threads", "2"]
        with Valkey() as valkey:
            for _ in range(3):
                done = ran("demo", *options, "--fast-hashing", "--store", valkey.url)
                if broken(done) != ["longest wait after that"]:
                    break
                # as above: a busy machine
            [shared] = valkey.client.keys()

        assert broken(done) == []
        assert (done.returncode, done.stderr) == (0, "")
        match = SUMMARY.fullmatch(done.stdout.splitlines()[-1])
        assert match
        grants, within, _, failed, _ = map(int, match.groups())
        assert 3 <= grants <= within + 1
        assert failed == 0
        # a table folds a name that is too long for it
        assert isinstance(shared, bytes)
        assert shared.decode() in re.sub(r"\s", "", done.stdout)
        assert "token file" not in done.stdout
        assert PASSWORD not in done.stdout

    def test_that_nobody_reaches_is_a_promise_not_kept(self) -> None:
        url = f"redis://:{PASSWORD}@127.0.0.1:{free_port()}"
        done = ran("demo", "--seconds", "1", "--workers", "1", "--fast-hashing", "--store", url)

        assert done.returncode == 1
        assert broken(done) == ["that key"]
        assert "Redis is not used for now" in done.stderr
        assert PASSWORD not in done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("/somewhere", "--store must begin with redis://, rediss://, unix://"),
            (f"redis://:{PASSWORD}/@host", "--store is no URL that Redis can be reached by"),
        ],
    )
    def test_that_is_no_url_is_said_without_its_password(self, url: str, said: str) -> None:
        assert complaint(ran("demo", "--store", url)) == f"Error: {said}"


class TestOtherAccount:
    def test_needs_its_variables(self) -> None:
        said = complaint(
            ran("demo", "--base-url", "https://api.example", SQUADRUN_CLIENT_ID="somebody")
        )

        assert said == (
            "Error: a real account needs its credentials: set SQUADRUN_CLIENT_SECRET, "
            "SQUADRUN_USERNAME, SQUADRUN_PASSWORD"
        )

    @pytest.mark.parametrize(
        ("options", "made", "stored"), [([], {200: 1}, 0), (["--write"], {200: 1, 201: 1}, 1)]
    )
    def test_is_read_once_and_written_only_where_asked(
        self, sandbox: Sandbox, options: list[str], made: dict[int, int], stored: int
    ) -> None:
        before = sandbox.stats()
        done = ran("demo", "--base-url", sandbox.base_url, *options, **sandbox.environment)
        after = sandbox.stats()

        assert done.returncode == 0, done.stdout + done.stderr
        assert after.leads - before.leads == stored
        # the 401 is that of the token once it was revoked
        assert Counter(after.api_calls) - Counter(before.api_calls) == Counter({**made, 401: 1})
        assert after.revocations > before.revocations

    def test_that_refuses_the_credentials_is_asked_once(self, sandbox: Sandbox) -> None:
        before = sandbox.stats()
        wrong = {**sandbox.environment, "SQUADRUN_PASSWORD": "wrong"}
        done = ran("demo", "--base-url", sandbox.base_url, **wrong)
        after = sandbox.stats()

        assert done.returncode == 1
        assert re.search(r"^the first call that failed: .*invalid_grant", done.stdout, re.MULTILINE)
        assert "Traceback" not in done.stderr
        refused = Counter(after.refused_grants) - Counter(before.refused_grants)
        assert refused == {"invalid_grant": 1}
