"""A type checker accepts correct uses of the library, and finds wrong ones."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent, indent

import pytest

pytestmark = pytest.mark.slow

RIGHT = Path(__file__).with_name("typed_use.py")

# a type checker must report each line marked as wrong, and no other
WRONG = """
from evertoken import BearerAuth, PasswordGrant, RefreshPolicy, TokenManager, squadrun
from evertoken import TokenManger  # wrong

grant = PasswordGrant("https://a.example/", client_id="c", username="u", password="p")
PasswordGrant("https://a.example/", "c", username="u", password="p")  # wrong
PasswordGrant("https://a.example/", username="u", password="p")
PasswordGrant("https://a.example/", client_id=7, username="u", password="p")  # wrong
PasswordGrant("https://a.example/", username="u", password="p", client_auth="header")  # wrong
PasswordGrant("https://a.example/", username="u", password="p", extra={"audience": 7})  # wrong
PasswordGrant("https://a.example/", client_id="c", username="u", password=b"p")  # wrong

manager = TokenManager(grant)
TokenManager(grant, None)  # wrong
TokenManager(grant, store="tokens")  # wrong
TokenManager(manager)  # wrong
manager.token(5)  # wrong
manager.invalidate("token")  # wrong
manager.token().value = "other"  # wrong

BearerAuth(manager, retry_statuses=(401, 403))
BearerAuth(manager, retry_statuses=401)  # wrong
BearerAuth(grant)  # wrong

squadrun.auth(policy=RefreshPolicy(recheck=5))
squadrun.auth(policy=5)  # wrong
squadrun.auth(time_out=5)  # wrong
squadrun.auth(deadline=5.0, extra={"audience": "a"}, verify="ca.pem")
squadrun.auth(deadline="5")  # wrong
squadrun.manager("c")  # wrong
"""


ROOT = Path(__file__).parents[2]

EXAMPLE = re.compile(r"^( *)```python\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def examples() -> dict[str, str]:
    """Every Python example of the pages and of the docstrings, by where it begins."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*/**/*.md"), *ROOT.glob("src/**/*.py")]
    return {
        f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start())}": dedent(found[2])
        for page in pages
        if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
        for text in [page.read_text(encoding="utf-8")]
        for found in EXAMPLE.finditer(text)
    }


def in_a_function(text: str) -> str:
    """`text`, which may await, as it stands in a coroutine function."""
    if not re.search(r"^(async (with|for) |.*\bawait )", text, re.MULTILINE):
        return text
    return f"async def example() -> None:\n{indent(text, '    ')}"


def test_every_example_is_accepted(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="needs mypy: pip install -e '.[lint]'")
    names = {}
    for number, (place, text) in enumerate(examples().items()):
        if "niquests" in text and find_spec("niquests") is None:
            continue  # not beside the suite, since it brings another urllib3
        file = tmp_path / f"example_{number}.py"
        file.write_text(in_a_function(text), encoding="utf-8")
        names[file.name] = place
    # an example leaves out the names that the text around it introduces
    options = ["--check-untyped-defs", "--disable-error-code=name-defined", "--config-file="]
    done = mypy(*options, *names, at=tmp_path)

    said = [
        line.replace(file, place)
        for line in done.stdout.splitlines()
        for file, place in names.items()
        if line.startswith(f"{file}:")
    ]
    assert said == []
    assert done.returncode == 0, done.stdout + done.stderr


def mypy(*arguments: object, at: Path) -> subprocess.CompletedProcess[str]:
    """What mypy says of code that uses the package as it is installed."""
    return subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-m", "mypy", f"--cache-dir={at / 'cache'}", *map(str, arguments)],
        cwd=at,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[int]]:
    """The lines that mypy reports in the right and in the wrong use."""
    pytest.importorskip("mypy", reason="needs mypy: pip install -e '.[lint]'")
    folder = tmp_path_factory.mktemp("typing")
    wrong = folder / "wrong.py"
    wrong.write_text(WRONG)
    # like a user: with the installed package, and without this project's settings
    done = mypy("--strict", "--config-file=", RIGHT, wrong, at=folder)
    assert done.stderr == ""
    lines: dict[str, set[int]] = {}
    for path, line in re.findall(r"^(.+?):(\d+): error: ", done.stdout, re.MULTILINE):
        lines.setdefault(Path(path).name, set()).add(int(line))
    return lines


def test_a_typed_use_of_all_public_names_is_accepted(found: dict[str, set[int]]) -> None:
    assert found.keys() <= {"wrong.py"}


def test_every_misuse_is_found(found: dict[str, set[int]]) -> None:
    marked = {
        number
        for number, line in enumerate(WRONG.splitlines(), start=1)
        if line.endswith("# wrong")
    }

    assert found["wrong.py"] == marked
