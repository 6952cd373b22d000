"""How to install an extra: one wording, for every error that names a missing package."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """The command that installs `extra`. It runs in a clone: evertoken is on no package index."""
    return f'in the clone of evertoken, run pip install -e ".[{extra}]"'
