"""The store that the demo's workers share: a folder, or a Redis URL."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from typing import TYPE_CHECKING

from evertoken import FileStore
from evertoken.demo.plan import SCHEMES, Unready
from evertoken.demo.verdict import Line, marked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken import TokenKey
    from evertoken.stores.redis import RedisStore

PRIVATE = 0o600
"""The mode of a token file: only its owner may read and write it."""


@contextlib.contextmanager
def opened(url: str | None) -> Iterator[str]:
    """`url`, or for None a temporary folder, which is removed at the end.

    Raises:
        Unready: no store can be made for `url`.
    """
    if url is None:
        with tempfile.TemporaryDirectory(prefix="evertoken-demo-") as folder:
            os.chmod(folder, 0o700)  # a umask may have removed the owner's permissions
            yield folder
        return
    fault = None
    try:
        store_at(url)
    except ImportError as error:
        fault = str(error)
    except (ValueError, TypeError):
        fault = "--store is not a URL at which Redis can be reached"
    # outside the except block, whose error may quote the URL's password
    if fault is not None:
        raise Unready(fault)
    yield url


def store_at(location: str) -> FileStore | RedisStore:
    """The store at a folder or a Redis URL."""
    if not location.startswith(SCHEMES):
        return FileStore(location)
    from evertoken.stores.redis import RedisStore  # noqa: PLC0415  an extra

    return RedisStore(location)


def lines(store: FileStore | RedisStore, key: TokenKey) -> list[Line]:
    """The lines of the report about the stored token of `key`."""
    if not isinstance(store, FileStore):
        return redis_lines(store.entry_name(key), held=_holds_token(store, key))
    file = store.path(key)
    return file_lines(file.name, stat.S_IMODE(file.stat().st_mode) if file.exists() else 0)


def _holds_token(store: RedisStore, key: TokenKey) -> bool:
    entry = store.load(key)
    return entry is not None and entry.token is not None


def file_lines(name: str, mode: int) -> list[Line]:
    """The lines about a token file with this name and these permission bits."""
    return [
        Line("token file", name),
        Line("its mode", f"{mode:04o}", f"{PRIVATE:04o}", marked(mode == PRIVATE)),
    ]


def redis_lines(name: str, *, held: bool) -> list[Line]:
    """The lines about a Redis key, and whether it holds a token."""
    found = "holds a token" if held else "holds none"
    return [Line("Redis key", name), Line("that key", found, "holds a token", marked(held))]
