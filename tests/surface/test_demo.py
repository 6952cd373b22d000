"""The demo as a command, on a sandbox and on another account, and its worker processes."""

from __future__ import annotations

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

from evertoken.demo import cpu, fleet
from evertoken.demo.tally import Tally
from evertoken.demo.worker import Job, work
from evertoken.sandbox import serve
from evertoken.testing import Answer, TokenServer
from support.console import complaint, ran, running, stream_of
from support.fleet import eventually
from support.valkey import PASSWORD, Valkey, free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from evertoken.sandbox import Sandbox

pytestmark = pytest.mark.slow

PROCESSES = Path("/proc")

SUMMARY = re.compile(
    r"grants: (\d+) lifetimes: (\d+) calls: (\d+) failed: (\d+) longest-wait-ms: (\d+)"
)

# one renewal after 8 to 9 s, with 2.4 s for a grant of 5 ms: enough even on a busy machine
SMALL = ["--seconds", "11", "--expires-in", "12", "--workers", "2", "--threads", "2"]
SMALL.append("--fast-hashing")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    """A completed demo."""
    # this proxy refuses connections: the demo must not use it for its own sandbox
    return ran("demo", *SMALL, no_proxy="", NO_PROXY="", http_proxy="http://127.0.0.1:9")


def broken(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The promises marked as broken in the table."""
    return re.findall(r"^(.+?)  .* NOT KEPT$", done.stdout, re.MULTILINE)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with serve(fast_hashing=True) as served:
        yield served


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
            location=str(tmp_path),
            campaign=7,
            threads=1,
            seconds=60,
            writes=False,
            once=True,
        )

    def test_count_their_calls(self, job: Job, server: TokenServer) -> None:
        *_, tally = fleet.run([job, replace(job, threads=2)])

        assert (tally.calls, tally.failed, tally.leads) == (3, 0, 0)
        assert tally.first_wait > 0
        assert server.grants == 1

    def test_do_not_count_time_without_a_cpu_as_a_stall(
        self, job: Job, server: TokenServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cpu, "delayed_since", lambda _before: 0.001)
        server.api.answer_next(Answer.json([], status=201), Answer.json({"count": 1}))
        listen, report = multiprocessing.Pipe(duplex=False)
        # the wait of the second call counts
        work(replace(job, writes=True), report)
        tally = Tally()
        while listen.poll():
            tally = listen.recv()

        assert (tally.calls, tally.failed) == (2, 0)
        assert tally.longest_wait > 0
        assert tally.longest_stall == pytest.approx(max(0.0, tally.longest_wait - 0.001))

    def test_that_die_count_as_one_failure_each(self, job: Job) -> None:
        tally = Tally()
        for tally in fleet.run([replace(job, once=False)]):
            if tally.calls:
                for child in multiprocessing.active_children():
                    child.kill()

        assert tally.failed == 1
        assert tally.first_failure == "a worker ended with status -9"

    def test_end_if_their_parent_is_gone(self, job: Job) -> None:
        tallies = fleet.run([replace(job, once=False)])
        next(tallies)
        tallies.close()

        assert multiprocessing.active_children() == []

    def test_count_a_meaningless_answer_as_a_failure(self, job: Job, server: TokenServer) -> None:
        # without `count`, which shows whether the lead was stored
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
        grants, within, calls, failed, _ = map(int, match.groups())

        assert 2 <= grants <= within + 1
        # each of 4 threads adds a lead and reads it back, more than once
        assert calls > 2 * 4
        assert failed == 0

    def test_shows_the_leads_sent_and_stored(self, done: subprocess.CompletedProcess[str]) -> None:
        match = re.search(r"leads stored +(\d+) +(\d+) sent +ok", done.stdout)

        assert match
        assert int(match[1]) == int(match[2]) > 4
        assert re.search(r"its mode +0600 +0600 +ok", done.stdout)
        assert re.search(r"token once revoked +refused by the API .*ok", done.stdout)

    def test_prints_everything_as_json(self) -> None:
        done = ran("demo", "--json", "--seconds", "2", "--workers", "1", "--fast-hashing")
        told = json.loads(done.stdout)

        assert told["failed"] == 0 < min(told["calls"], told["grants"])
        assert told["kept"] == all(line["kept"] for line in told["lines"]) == (not done.returncode)
        assert told["judged"] == all(line["judged"] for line in told["lines"])
        assert told["measured_grant"] > 0
        assert 6 <= told["expires_in"] <= 30
        assert told["longest_grant"] > 0
        assert "calls, " in done.stderr

    def test_shows_plain_lines_while_it_runs(self, done: subprocess.CompletedProcess[str]) -> None:
        shown = re.findall(r"^ *\d+\.\d s  \d+ calls, ", done.stdout, re.MULTILINE)

        assert len(shown) >= 2

    @pytest.mark.skipif(not PROCESSES.exists(), reason="tells processes by /proc")
    @pytest.mark.parametrize(
        ("words", "processes", "number", "send", "status"),
        [
            # Ctrl-C, which a terminal sends to all processes: while grants are timed, to the demo
            # and a sandbox
            ("timing three grants", 2, signal.SIGINT, os.killpg, 130),
            # while the workers start, and while they call: itself, its sandbox, two workers, and a
            # process that multiprocessing has beside them
            ("starting the workers", 5, signal.SIGINT, os.killpg, 130),
            (" calls, ", 5, signal.SIGINT, os.killpg, 130),
            (" calls, ", 5, signal.SIGTERM, os.kill, 143),
            (" calls, ", 5, signal.SIGKILL, os.kill, -9),
        ],
    )
    def test_leaves_no_process_behind_when_it_is_ended(
        self,
        *,
        words: str,
        processes: int,
        number: signal.Signals,
        send: Callable[[int, int], None],
        status: int,
        tmp_path: Path,
    ) -> None:
        mark = uuid.uuid4().hex
        options = ["--seconds", "60", "--workers", "2"]
        with running("demo", *options, MARK=mark, TMPDIR=str(tmp_path)) as process:
            read_until(words, process)
            eventually(lambda: len(marked(mark)) >= processes)
            send(process.pid, number)
            _, complaints = process.communicate(timeout=30)

        assert process.returncode == status
        assert "Traceback" not in complaints
        eventually(lambda: not marked(mark))
        # a killed process does not clean up
        assert number == signal.SIGKILL or list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(not PROCESSES.exists(), reason="tells processes by /proc")
    def test_reports_that_its_sandbox_was_killed(self, tmp_path: Path) -> None:
        mark = uuid.uuid4().hex
        options = ["--seconds", "60", "--workers", "2", "--fast-hashing"]
        with running("demo", *options, MARK=mark, TMPDIR=str(tmp_path)) as process:
            read_until(" calls, ", process)
            (served,) = [pid for pid in marked(mark) if b"evertoken.sandbox" in command_of(pid)]
            os.kill(int(served), signal.SIGKILL)
            _, complaints = process.communicate(timeout=30)

        assert process.returncode == 1
        assert re.fullmatch(
            r"Error: the sandbox at http://127\.0\.0\.1:\d+ does not answer any more: .+\n",
            complaints,
        )
        eventually(lambda: not marked(mark))


def read_until(words: str, process: subprocess.Popen[str]) -> None:
    """Read the output up to the line that contains `words`."""
    for line in stream_of(process.stdout):
        if words in line:
            return
    pytest.fail(f"it ended before it said {words!r}")


def command_of(pid: str) -> bytes:
    return (PROCESSES / pid / "cmdline").read_bytes()


def marked(mark: str) -> list[str]:
    """The processes that inherited `mark`."""
    return [process.name for process in PROCESSES.glob("[0-9]*") if mark in inherited(process)]


def inherited(process: Path) -> str:
    try:
        return (process / "environ").read_bytes().decode(errors="replace")
    except OSError:  # the process has ended, or belongs to another user
        return ""


class TestRedis:
    def test_keeps_the_same_promises(self) -> None:
        with Valkey() as valkey:
            done = ran("demo", *SMALL, "--store", valkey.url)
            [shared] = valkey.client.keys()

        assert broken(done) == []
        assert (done.returncode, done.stderr) == (0, "")
        match = SUMMARY.fullmatch(done.stdout.splitlines()[-1])
        assert match
        grants, within, _, failed, _ = map(int, match.groups())
        assert 2 <= grants <= within + 1
        assert failed == 0
        # a table wraps a name that is too long
        assert isinstance(shared, bytes)
        assert shared.decode() in re.sub(r"\s", "", done.stdout)
        assert "token file" not in done.stdout
        assert PASSWORD not in done.stdout

    def test_that_is_unreachable_is_a_broken_promise(self) -> None:
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
            (f"redis://:{PASSWORD}/@host", "--store is not a URL at which Redis can be reached"),
        ],
    )
    def test_with_an_invalid_url_is_an_error_without_the_password(
        self, url: str, said: str
    ) -> None:
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
    def test_is_read_once_and_written_only_if_asked(
        self, sandbox: Sandbox, options: list[str], made: dict[int, int], stored: int
    ) -> None:
        before = sandbox.stats()
        done = ran("demo", "--base-url", sandbox.base_url, *options, **sandbox.environment)
        after = sandbox.stats()

        assert done.returncode == 0, done.stdout + done.stderr
        assert after.leads - before.leads == stored
        # the 401 is for the revoked token
        assert Counter(after.api_calls) - Counter(before.api_calls) == Counter({**made, 401: 1})
        assert after.revocations > before.revocations

    def test_that_refuses_the_credentials_gets_one_request(self, sandbox: Sandbox) -> None:
        before = sandbox.stats()
        wrong = {**sandbox.environment, "SQUADRUN_PASSWORD": "wrong"}
        done = ran("demo", "--base-url", sandbox.base_url, **wrong)
        after = sandbox.stats()

        assert done.returncode == 1
        assert re.search(r"^the first call that failed: .*invalid_grant", done.stdout, re.MULTILINE)
        assert "Traceback" not in done.stderr
        refused = Counter(after.refused_grants) - Counter(before.refused_grants)
        assert refused == {"invalid_grant": 1}
