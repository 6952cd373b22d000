"""Explains how to install an extra, in the same words for every missing package."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def how_to_install(extra: str) -> str:
    """The command that installs `extra` from a clone, since evertoken is on no package index."""
    return f'in the clone of evertoken, run pip install -e ".[{extra}]"'


@contextlib.contextmanager
def needed(user: str, extra: str) -> Iterator[None]:
    """Around imports of the packages of `extra`: if one is missing, the error names the extra.

    ```python
    with extras.needed("evertoken.contrib.prometheus", "prometheus"):
        import prometheus_client
    ```

    Raises:
        ImportError: one of them is not installed, or cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or extra).partition(".")[0]
        text = f"{user} needs the package {package}: {how_to_install(extra)} ({error})"
        raise ImportError(text, name=error.name, path=error.path) from None
