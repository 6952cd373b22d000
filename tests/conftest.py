"""The long runs behind `--soak`, and a count of what was skipped or warned about."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from evertoken.core import renewal
from evertoken.runtime import reports

if TYPE_CHECKING:
    from _pytest.logging import LogCaptureHandler
    from _pytest.terminal import TerminalReporter

pytest_plugins = ("support.output_watch",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="make the long runs: tens of minutes")
    parser.addoption("--schedule", help="the line of a simulated schedule to replay")
    parser.addoption("--schedule-seed", type=int, help="the interleaving of threads to replay")


def pytest_configure() -> None:
    # a background job of a shell ignores SIGINT, and so would processes that tests interrupt
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether to make the long run."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture
def no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a token at once, not a second after its grant."""
    monkeypatch.setattr(renewal, "GRANT_FLOOR", 0.0)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    # otherwise failures before a crash of the runner would not be shown
    if exitstatus == pytest.ExitCode.INTERNAL_ERROR and reporter is not None:
        reporter.summary_failures()
        reporter.short_test_summary()


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    counts = {kind: len(terminalreporter.getreports(kind)) for kind in ("skipped", "warnings")}
    terminalreporter.write_line(", ".join(f"{kind}: {n}" for kind, n in counts.items()))


@pytest.fixture
def caplog(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    """Pytest's `caplog`, with all records when it is read, and none of the previous test.

    The pool writes log records a moment later.
    """
    reports.catch_up(5.0)
    caplog.clear()
    handler = caplog.handler

    def complete(_: pytest.LogCaptureFixture) -> LogCaptureHandler:
        reports.catch_up(5.0)
        return handler

    monkeypatch.setattr(pytest.LogCaptureFixture, "handler", property(complete))
    return caplog
