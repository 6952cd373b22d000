"""The pages of the tree: what a reader copies from them, and where they lead."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

FENCED = re.compile(
    r"(?:^<!-- fails here: (?P<reason>.*?) -->\n\n?)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)

LINK = re.compile(r"\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        page: its path, from the root of the tree.
        line: where it begins.
        language: what the fence says; empty: nothing.
        text: what is between the fences.
        reason: why it cannot run here, by the comment `<!-- fails here: REASON -->` before it.
    """

    page: str
    line: int
    language: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@functools.cache
def pages() -> list[Path]:
    """Every page, wherever it is; what environments and caches bring along is none."""
    found = []
    for folder, names, files in os.walk(ROOT):
        names[:] = [name for name in names if not name.startswith(".") and name != "venv"]
        found += [Path(folder, file) for file in files if file.endswith(".md")]
    return sorted(found)


def name_of(page: Path) -> str:
    """What a test calls `page`."""
    return page.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> list[Block]:
    """The fenced blocks of all pages, of these languages."""
    return [block for page in pages() for block in blocks_of(page) if block.language in languages]


@functools.cache
def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of one page."""
    text = page.read_text(encoding="utf-8")
    blocks_here = []
    for found in FENCED.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        reason = found["reason"] or ""
        blocks_here.append(Block(name_of(page), line, found["language"], found["text"], reason))
    return blocks_here


def shell_scripts() -> list[Block]:
    """What a reader pastes into a shell: a script as a whole, a session command by command."""
    scripts = blocks("sh", "bash")
    for block in blocks("console"):
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            if line.startswith("$ "):
                scripts.append(block._replace(line=number, text=line.removeprefix("$ ")))
    return scripts


@functools.cache
def prose_of(page: Path) -> str:
    """A page without its blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Where `page` leads inside of the tree."""
    found = LINK.findall(prose_of(page))
    return [target for target in found if not target.startswith(("http://", "https://"))]


def anchors(page: Path) -> set[str]:
    """What a link to a part of `page` may name: its headings, as hosts of repositories do."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}
