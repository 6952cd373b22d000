"""A pytest plugin that fails a passed test if its captured output shows a secret."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from evertoken.testing import TokenServer
from support.planted import SCANNER
from support.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

LEAST = 16
"""The shortest secret of a server to search for; a shorter one may appear by chance."""


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(OutputWatch(config))


class OutputWatch:
    """Knows the planted secrets, and every token server that runs or was started by the test.

    Args:
        config: servers are tracked until its end.
    """

    def __init__(self, config: pytest.Config) -> None:
        # the original accounts: a test may set one to text that appears anywhere
        self._accounts: dict[TokenServer, list[str]] = {}
        # kept until all output of the test was searched, even if it closed them
        self._of_this_test: list[TokenServer] = []
        patch = pytest.MonkeyPatch()
        start = TokenServer.start

        @functools.wraps(start)
        def noted(server: TokenServer) -> TokenServer:
            self._accounts.setdefault(server, [server.client_secret, server.password])
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
            listening = [server for server in self._accounts if server._wire is not None]
            self._accounts = {server: self._accounts[server] for server in listening}
        return report

    def _shown(self, output: str) -> Iterator[str]:
        yield from SCANNER.found_in(output)
        for server, account in self._accounts.items():
            named = zip(("client_secret", "password"), account, strict=True)
            long = {f"{name} of a TokenServer": it for name, it in named if len(it) >= LEAST}
            yield from Scanner(**long).found_in(output)
            # random letters and digits: quoting does not change them, and there are many
            if any(token in output for token in server._ledger.secrets):
                yield "a token of a TokenServer"


def _fail(item: pytest.Item, report: pytest.TestReport, reason: str) -> None:
    # neither this report nor that of a later phase may show it again
    item._report_sections.clear()
    report.sections = [("Output withheld", reason)]
    if not report.failed:
        report.outcome = "failed"
        report.longrepr = reason
