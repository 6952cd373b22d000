"""The watch over the output of the suite is tested, since a broken one would fail nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.planted import SCANNER

pytest_plugins = ("pytester",)

TESTS = Path(__file__).parents[1]

PASSES_BUT_SHOWS = """
    import base64, logging, os, subprocess, sys
    import pytest
    from support.planted import ACCESS_TOKEN, CLIENT_SECRET, LATER_TOKEN, PASSWORD, REFRESH_TOKEN

    def test_printed():
        print("aside", PASSWORD)

    def test_written():
        sys.stderr.write(f"aside {CLIENT_SECRET!r}")

    def test_to_the_descriptor():
        os.write(1, f"aside {ACCESS_TOKEN}".encode())

    def test_by_a_child():
        subprocess.run(["echo", "aside", LATER_TOKEN], check=True)

    def test_logged():
        logging.getLogger("urllib3.any").debug("aside %s", REFRESH_TOKEN)

    def test_encoded():
        print("aside", base64.b64encode(f"client:{PASSWORD}".encode()))

    def test_token(token_manager):
        print("aside", token_manager.token().value)

    def test_account(token_server):
        print("aside", token_server.client_secret.encode().hex())

    @pytest.fixture
    def before():
        print("aside", PASSWORD)

    @pytest.fixture
    def after():
        yield
        print("aside", PASSWORD)

    def test_changed(token_server):
        made_up, token_server.client_secret = token_server.client_secret, "another, that is short"
        print("aside", made_up)

    def test_set_up(before): ...

    def test_torn_down(after): ...
"""
REASONS = {
    "the output of call shows: access_token",
    "the output of call shows: a token of a TokenServer",
    "the output of call shows: client_secret",
    "the output of call shows: client_secret of a TokenServer",
    "the output of call shows: later_token",
    "the output of call shows: password",
    "the output of call shows: refresh_token",
    "the output of setup shows: password",
    "the output of teardown shows: password",
}


@pytest.fixture
def watched(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite with the same watch as this one."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=":")
    pytester.makeconftest('pytest_plugins = ["support.output_watch"]')
    pytester.makeini("[pytest]\nlog_level = DEBUG\naddopts = -rA -p no:randomly")
    return pytester


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_test_that_shows_a_secret_fails_and_its_output_is_withheld(
    watched: pytest.Pytester, processes: str
) -> None:
    watched.makepyfile(PASSES_BUT_SHOWS)
    result = watched.runpytest_subprocess("-n", processes)

    # output of the teardown is found after the test itself has passed
    result.assert_outcomes(failed=9, errors=2, passed=1)
    reasons = {line for line in result.outlines if line.startswith("the output of")}
    assert reasons == REASONS
    result.stdout.no_fnmatch_line("*aside*")
    assert SCANNER.found_in(*result.outlines, *result.errlines) == []


def test_a_test_that_fails_anyway_gives_the_reason_without_the_output(
    watched: pytest.Pytester,
) -> None:
    watched.makepyfile(
        """
        from support.planted import PASSWORD

        def test_it():
            print("aside", PASSWORD)
            assert 1 == 2
        """
    )
    result = watched.runpytest_subprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2*", "the output of call shows: password"])
    result.stdout.no_fnmatch_line("*Captured stdout*")
    assert SCANNER.found_in(*result.outlines, *result.errlines) == []


def test_other_output_is_not_changed(watched: pytest.Pytester) -> None:
    watched.makepyfile(
        """
        from support.planted import PASSWORD

        def test_it(token_manager, token_server):
            print("aside", PASSWORD[:9])
            token_manager.token()
            token_server.password = "http://127.0.0.1:"
        """
    )
    result = watched.runpytest_subprocess()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["aside *", "*Starting new HTTP connection*"])
