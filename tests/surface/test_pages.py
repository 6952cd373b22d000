"""What a page shows works: snippets run, shell recipes fail safely, links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from evertoken.cli import config, settings
from evertoken.cli.app import evertoken as command_line
from evertoken.cli.commands.token import header
from support import pages

if TYPE_CHECKING:
    from pathlib import Path

    from support.pages import Block

ACCOUNT = {
    "SQUADRUN_CLIENT_ID": "client",
    "SQUADRUN_CLIENT_SECRET": "a-client-secret",
    "SQUADRUN_USERNAME": "user",
    "SQUADRUN_PASSWORD": "a-password",
    "CLIENT_SECRET": "a-client-secret",
    "PASSWORD": "a-password",
}
"""What a reader has set before a snippet runs."""

LANGUAGES = {"", "bash", "console", "python", "sh", "text", "toml"}
"""A block of another one would be looked at by no test."""

SHELL_COMMANDS = re.compile(r"(?<![\w./-])evertoken ([a-z]+)")
"""In what a reader types."""

INLINE = re.compile(r"`([^`\n]+)`")

every_page = pytest.mark.parametrize("page", pages.pages(), ids=pages.name_of)


def test_a_block_is_of_a_language_that_is_tested() -> None:
    found = {block.language for page in pages.pages() for block in pages.blocks_of(page)}

    assert found <= LANGUAGES


# --- Python -------------------------------------------------------------------------------------


def run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """The snippet as a program, or as a test file if it holds tests."""
    snippet = folder / "test_snippet.py"
    snippet.write_text(block.text, encoding="utf-8")
    command = [str(pages.ROOT / "tests" / "support" / "snippet.py")]
    if holds_tests(block):
        command = [
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(folder),
            "-W",
            "error",
        ]
    return subprocess.run(  # noqa: S603  what this project's own pages show
        [sys.executable, "-W", "error", *command, str(snippet)],
        cwd=folder,
        env={**os.environ, **ACCOUNT, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def holds_tests(block: Block) -> bool:
    return re.search(r"^(def test_|class Test)", block.text, re.MULTILINE) is not None


@pytest.mark.parametrize("block", pages.blocks("python"), ids=str)
def test_a_snippet_runs_as_it_stands(block: Block, tmp_path: Path) -> None:
    done = run(block, tmp_path)

    if block.reason:
        # a mark that is no longer true is an error too
        assert done.returncode != 0
        assert done.stderr.rstrip().endswith(block.reason)
        return
    assert done.returncode == 0, done.stdout + done.stderr
    if holds_tests(block):
        assert re.search(r"^\d+ passed in ", done.stdout.splitlines()[-1].strip("= "))


def test_a_snippet_that_cannot_run_here_says_why(tmp_path: Path) -> None:
    page = pages.ROOT / "tests" / "page.md"
    text = (
        "<!-- fails here: ModuleNotFoundError: No module named 'a' -->\n```python\nimport a\n```\n"
    )
    found = pages.FENCED.search(text)

    assert found is not None
    block = pages.Block(pages.name_of(page), 1, "python", found["text"], found["reason"])
    test_a_snippet_runs_as_it_stands(block, tmp_path)
    with pytest.raises(AssertionError):
        test_a_snippet_runs_as_it_stands(block._replace(text="import os\n"), tmp_path)


@pytest.mark.parametrize("block", pages.blocks("toml"), ids=str)
def test_a_file_of_profiles_is_one(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(block.text, encoding="utf-8")
    file.chmod(0o600)

    profiles = config.read(file)

    assert profiles
    assert all(settings.checked(profile) for profile in profiles.values())


# --- shell --------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", pages.shell_scripts(), ids=str)
def test_a_recipe_that_pipes_notices_a_failure(script: Block) -> None:
    piped = re.search(r"(?<![|>])\|(?![|&])", script.text)

    assert piped is None or "pipefail" in script.text


def scripts_that_take_a_token() -> list[Block]:
    """Those of the pages, and the one that `evertoken header --help` shows."""
    shown = re.findall(r"^.*\| *curl .*$|^.*&& curl .*$", header.help or "", re.MULTILINE)
    found = [s for s in pages.shell_scripts() if re.search(r"evertoken (header|token)\b", s.text)]
    return found + [pages.Block("header --help", 0, "bash", each, "") for each in shown]


def test_a_recipe_is_looked_at_wherever_it_is_shown() -> None:
    assert {script.page for script in scripts_that_take_a_token()} == {
        "README.md",
        "src/evertoken/cli/README.md",
        "src/evertoken/sandbox/README.md",
        "header --help",
    }


@pytest.mark.parametrize("script", scripts_that_take_a_token(), ids=str)
def test_a_recipe_sends_nothing_if_there_is_no_token(script: Block, tmp_path: Path) -> None:
    for name, body in (("evertoken", "exit 4"), ("curl", f"touch {tmp_path}/sent")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        program.chmod(0o755)

    done = subprocess.run(  # noqa: S603  what this project's own pages show
        ["bash", "-c", script.text],  # noqa: S607  a reader's shell
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
        timeout=30,
    )

    assert done.returncode == 4
    assert not (tmp_path / "sent").exists()


@every_page
def test_the_commands_of_a_page_exist(page: Path) -> None:
    typed = [block.text for block in pages.blocks_of(page) if block.language in ("sh", "bash")]
    typed += [s.text for s in pages.shell_scripts() if s.page == pages.name_of(page)]
    typed += INLINE.findall(page.read_text(encoding="utf-8"))

    for text in typed:
        for name in SHELL_COMMANDS.findall(text):
            assert name in command_line.list_commands(None), text  # type: ignore[arg-type]  # unused
        for module in re.findall(r"python -m ([\w.]+)", text):
            assert importlib.util.find_spec(module), text


def test_no_page_and_no_message_shows_an_installation_from_an_index() -> None:
    # it is on none, and a stranger may put something else under the name
    for page in [*pages.pages(), *(pages.ROOT / "src").rglob("*.py")]:
        assert not re.search(r"pip install [\"']?evertoken", page.read_text(encoding="utf-8")), page


# --- samples of output ---------------------------------------------------------------------------


def source_of(package: str) -> str:
    folder = pages.ROOT / "src" / "evertoken" / package
    return "".join(file.read_text(encoding="utf-8") for file in sorted(folder.rglob("*.py")))


def labels_of(sample: str) -> list[str]:
    """The first column of a table that a command prints."""
    rows = [re.split(r" {2,}", line.strip()) for line in sample.splitlines()]
    return [row[0] for row in rows if len(row) > 1]


@pytest.mark.parametrize("name", ["README.md", "src/evertoken/demo/README.md"])
def test_a_sample_of_the_demo_has_the_labels_of_today(name: str) -> None:
    (sample,) = (b.text for b in pages.blocks_of(pages.ROOT / name) if not b.language)
    source = source_of("demo")

    assert len(labels_of(sample)) >= 4
    assert [label for label in labels_of(sample) if label not in source] == []


def test_a_sample_of_the_status_has_the_labels_of_today() -> None:
    page = pages.ROOT / "src" / "evertoken" / "cli" / "README.md"
    session = next(b.text for b in pages.blocks_of(page) if b.language == "console")
    labels = labels_of(session.partition("$ evertoken status\n")[2])
    source = source_of("cli")

    assert "time left" in labels
    assert [label for label in labels if f'"{label}"' not in source] == []


# --- links --------------------------------------------------------------------------------------


@every_page
def test_a_link_leads_somewhere(page: Path) -> None:
    for link in pages.links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in pages.anchors(target), link


@every_page
def test_a_page_can_be_found(page: Path) -> None:
    start = [pages.ROOT / "README.md", pages.ROOT / "CONTRIBUTING.md"]
    seen = set(start)
    while start:
        here = start.pop()
        for link in pages.links(here):
            target = (here.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target not in seen and target.is_file():
                seen.add(target)
                start.append(target)

    assert page in seen
