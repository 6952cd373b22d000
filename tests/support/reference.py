"""`python -m tests.support.reference`: write the pages that are made of docstrings.

REFERENCE.md has every public name, for users; MODULES.md has every module, for contributors.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import griffe

from . import surface

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "evertoken"
PAGE = PACKAGE / "REFERENCE.md"
MAP = PACKAGE / "MODULES.md"

COMMAND = "python -m tests.support.reference"

HEAD = f"""# Reference

Every public name, from its docstring. Do not edit this page: `{COMMAND}` writes it.
Times are in seconds unless a name says otherwise.
"""

MAP_HEAD = f"""# Modules

Every module, by the first line of its docstring. Do not edit this page: `{COMMAND}` writes it.
[CONTRIBUTING.md](../../CONTRIBUTING.md#the-layout) says which package may import which.
"""

PUBLIC: dict[str, tuple[str, ...]] = {
    **{module: names or () for module, names in surface.MODULES.items()},
    # not installed beside requests, so `surface` cannot import it
    "evertoken.clients.niquests": ("BearerAuth", "AsyncBearerAuth"),
    "evertoken.sandbox": (),
}
"""The modules that users import from, and their public names; none: those of its `__all__`."""

SILENT = ("__init__", "__post_init__", "__reduce__", "renew_in_child")
"""Methods that the signature of the class stands for, or that no user calls."""

WIDTH = 88
"""Characters that a signature may have on one line."""


def names_of(package: griffe.Module, path: str) -> tuple[str, ...]:
    """The public names of the module at `path`."""
    listed = PUBLIC[path]
    module = _at(package, path)
    return listed or tuple(str(name) for name in module.exports or ())


def page() -> str:
    """All of it."""
    package = griffe.load(
        "evertoken",
        search_paths=[ROOT / "src"],
        docstring_parser="google",
        # several arguments may share a line
        docstring_options={"warnings": False},
    )
    assert isinstance(package, griffe.Module)
    sections = [HEAD, _contents(package)]
    for path in PUBLIC:
        sections.append(f"## `{path}`\n")
        module = _at(package, path)
        entries = "\n".join(
            _entry(module[name], name, _heading(path, name)) for name in names_of(package, path)
        )
        missing = re.findall(r"^import (niquests)$", entries, re.MULTILINE)[:1]
        sections.append(_failing(entries, missing[0]) if missing else entries)
    return "\n".join(sections)


def _failing(entries: str, package: str) -> str:
    """`entries`, whose examples are marked as failing for want of `package`."""
    error = f"ModuleNotFoundError: No module named '{package}'"
    return entries.replace("```python", f"<!-- fails here: {error} -->\n```python")


def _heading(path: str, name: str) -> str:
    """The name alone, but for those that a client has in common with `evertoken`."""
    return f"{path}.{name}" if path.startswith("evertoken.clients.") else name


def _anchor(heading: str) -> str:
    return heading.replace(".", "").lower()


def _at(package: griffe.Module, path: str) -> griffe.Module:
    found = package if path == "evertoken" else package[path.removeprefix("evertoken.")]
    assert isinstance(found, griffe.Module)
    return found


def _contents(package: griffe.Module) -> str:
    lines = []
    for path in PUBLIC:
        names = ", ".join(
            f"[`{name}`](#{_anchor(_heading(path, name))})" for name in names_of(package, path)
        )
        lines.append(f"- [`{path}`](#{_anchor(path)}): {names}\n")
    return "".join(lines)


def _entry(found: griffe.Object | griffe.Alias, name: str, heading: str) -> str:
    """One name with all that is public in it."""
    value = found.final_target if isinstance(found, griffe.Alias) else found
    if isinstance(value, griffe.Module):
        link = f"[`{value.path}`](#{_anchor(value.path)})"
        return f"### `{heading}`\n\n{_docstring(value)} See {link}.\n"
    parts = [f"### `{heading}`\n", _told(value, _signature(value, name))]
    if isinstance(value, griffe.Class):
        for member in _public(value):
            label = f"{name}.{member.name}"
            parts.append(f"#### `{label}`\n\n{_told(member, _signature(member, member.name))}")
    return "\n".join(parts)


def _public(value: griffe.Class) -> Iterator[griffe.Object]:
    """Methods and properties; fields are in the docstring of their class."""
    for member in value.members.values():
        described = isinstance(member, griffe.Function) or "property" in member.labels
        # the tests of a contract have no docstring, and are not called by name either
        called = member.docstring is not None and member.name not in SILENT
        if member.is_public and described and called and isinstance(member, griffe.Object):
            yield member


def _told(value: griffe.Object, signature: str) -> str:
    code = f"```text\n{signature}\n```\n\n" if signature else ""
    return f"{code}{_docstring(value)}\n"


# --- signatures ----------------------------------------------------------------------------------


def _signature(value: griffe.Object, name: str) -> str:
    if isinstance(value, griffe.Class):
        return _of_class(value, name)
    if isinstance(value, griffe.Function):
        returned = "" if value.returns is None else f" -> {value.returns}"
        kind = "async " if "async" in value.labels else ""
        return kind + _call(name, value.parameters, returned)
    if isinstance(value, griffe.Attribute):
        assigned = "" if value.value is None or "property" in value.labels else f" = {value.value}"
        annotation = "" if value.annotation is None else f": {value.annotation}"
        return f"{name}{annotation}{assigned}"
    return ""


def _of_class(value: griffe.Class, name: str) -> str:
    bases = [str(base) for base in value.bases if str(base) != "Protocol"]
    kind = f"class {name}({', '.join(bases)})" if bases else f"class {name}"
    if "__init__" in value.members or "dataclass" in value.labels:
        return f"{kind}\n\n{_call(name, value.parameters, '')}"
    return kind


def _call(name: str, parameters: griffe.Parameters, returned: str) -> str:
    shown = list(_shown(parameters))
    line = f"{name}({', '.join(shown)}){returned}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {each}," for each in shown), f"){returned}"])


def _shown(parameters: griffe.Parameters) -> Iterator[str]:
    """The parameters as a signature has them, `self` left out."""
    bare = False
    for each in parameters:
        if each.name in ("self", "cls"):
            continue
        if each.kind is griffe.ParameterKind.keyword_only and not bare:
            bare = True
            yield "*"
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(str(each.kind.value), "")
        bare = bare or stars == "*"
        annotation = "" if each.annotation is None else f": {each.annotation}"
        default = "" if each.default is None or stars else f" = {_default(str(each.default))}"
        yield f"{stars}{each.name}{annotation}{default}"


def _default(text: str) -> str:
    """A default that is text in the double quotes of the source."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return f'"{value}"' if isinstance(value, str) and '"' not in value else text


# --- docstrings ----------------------------------------------------------------------------------


def _docstring(value: griffe.Object) -> str:
    if value.docstring is None:
        return ""
    return "\n\n".join(_sections(value.docstring.parsed))


def _sections(sections: Iterable[griffe.DocstringSection]) -> Iterator[str]:
    for section in sections:
        match section:
            case griffe.DocstringSectionText():
                yield section.value
            case griffe.DocstringSectionParameters():
                yield _items("Arguments", ((each.name, each.description) for each in section.value))
            case griffe.DocstringSectionAttributes():
                yield _items("Fields", ((each.name, each.description) for each in section.value))
            case griffe.DocstringSectionRaises():
                yield _items(
                    "Raises", ((str(each.annotation), each.description) for each in section.value)
                )
            case griffe.DocstringSectionReturns() | griffe.DocstringSectionYields():
                title = type(section).__name__.removeprefix("DocstringSection")
                yield f"{title}: {' '.join(_flat(each.description) for each in section.value)}"
            case griffe.DocstringSectionAdmonition():
                yield f"{section.title}: {_flat(section.value.description)}"
            case _:
                raise TypeError(f"a docstring has a section of kind {section.kind}")


def _items(title: str, items: Iterable[tuple[str, str]]) -> str:
    lines = [f"- {_code(name)}: {_flat(text)}" for name, text in items]
    return "\n".join([f"{title}:\n", *lines])


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


# --- modules -------------------------------------------------------------------------------------


def modules() -> str:
    """The map of all modules, package by package."""
    packages = sorted({file.parent for file in PACKAGE.rglob("*.py")})
    return "\n".join([MAP_HEAD, *map(_package, packages)])


def _package(folder: Path) -> str:
    path = folder.relative_to(PACKAGE.parent)
    rows = [
        f"| [`{file.name}`]({file.relative_to(PACKAGE).as_posix()}) | {_first_line(file)} |"
        for file in sorted(folder.glob("*.py"))
        if file.name != "__init__.py" and _first_line(file)
    ]
    about = _first_line(folder / "__init__.py")
    table = "\n".join(["| | |", "|---|---|", *rows]) if rows else ""
    return f"## `{path.as_posix()}/`\n\n{about}\n\n{table}\n"


def _first_line(file: Path) -> str:
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return told.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def main() -> None:
    """Write the pages."""
    PAGE.write_text(page(), encoding="utf-8")
    MAP.write_text(modules(), encoding="utf-8")


if __name__ == "__main__":
    main()
