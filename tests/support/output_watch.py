"""A pytest plugin: a test fails whose captured output shows a secret, although it passed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

import pytest

from evertoken.testing import TokenServer
from support.planted import SCANNER
from support.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

LEAST = 16
"""Characters of what a server is searched for: a shorter one may turn up by chance."""


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(OutputWatch(config))


class OutputWatch:
    """Knows the planted secrets, and every token server that was started.

    Args:
        config: at whose end servers are no longer noted.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._servers: WeakSet[TokenServer] = WeakSet()
        # keeps those that a test started until all of its output was searched
        self._of_this_test: list[TokenServer] = []
        patch = pytest.MonkeyPatch()
        start = TokenServer.start

        def noted(server: TokenServer) -> TokenServer:
            self._servers.add(server)
            self._of_this_test.append(server)
            return start(server)

        patch.setattr(TokenServer, "start", noted)
        config.add_cleanup(patch.undo)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        output = "\n".join(said for title, said in report.sections if title.endswith(report.when))
        if output and (shown := {name.partition(" (")[0] for name in self._shown(output)}):
            _fail(item, report, f"the output of {report.when} shows: {', '.join(sorted(shown))}")
        if report.when == "teardown":
            self._of_this_test.clear()
        return report

    def _shown(self, output: str) -> Iterator[str]:
        yield from SCANNER.found_in(output)
        for server in list(self._servers):
            account = {"client_secret": server.client_secret, "password": server.password}
            long = {
                f"{name} of a TokenServer": it for name, it in account.items() if len(it) >= LEAST
            }
            yield from Scanner(**long).found_in(output)
            # letters and digits, as made up: they look the same quoted, and there are many
            if any(it in output for it in server.secrets if len(it) >= LEAST):
                yield "a secret of a TokenServer"


def _fail(item: pytest.Item, report: pytest.TestReport, reason: str) -> None:
    # neither this report nor that of a later phase may show it once more
    item._report_sections.clear()
    report.sections = [("Output withheld", reason)]
    if not report.failed:
        report.outcome = "failed"
        report.longrepr = reason
