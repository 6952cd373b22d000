"""Where the demo's workers share their token: a folder, or the Redis of a URL."""

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
"""Mode of a token file: its owner alone may read and write it."""


@contextlib.contextmanager
def opened(url: str | None) -> Iterator[str]:
    """The place that `url` names; None: a folder of the demo's own, removed at the end.

    Raises:
        Unready: no store can be made there.
    """
    if url is None:
        with tempfile.TemporaryDirectory(prefix="evertoken-demo-") as folder:
            os.chmod(folder, 0o700)  # a umask may have removed permissions that the owner needs
            yield folder
        return
    fault = None
    try:
        store_at(url)
    except ImportError as error:
        fault = str(error)
    except (ValueError, TypeError):
        fault = "--store is not a URL at which Redis can be reached"
    # outside of the except, whose error may quote the URL's password
    if fault is not None:
        raise Unready(fault)
    yield url


def store_at(place: str) -> FileStore | RedisStore:
    """The store there."""
    if not place.startswith(SCHEMES):
        return FileStore(place)
    from evertoken.stores.redis import RedisStore  # noqa: PLC0415  an extra

    return RedisStore(place)


def lines(store: FileStore | RedisStore, key: TokenKey) -> list[Line]:
    """What is found there of the token of `key`."""
    if not isinstance(store, FileStore):
        return redis_lines(store.entry_name(key), held=_holds_token(store, key))
    file = store.path(key)
    return file_lines(file.name, stat.S_IMODE(file.stat().st_mode) if file.exists() else 0)


def _holds_token(store: RedisStore, key: TokenKey) -> bool:
    entry = store.load(key)
    return entry is not None and entry.token is not None


def file_lines(name: str, mode: int) -> list[Line]:
    """A token file of that name and those permission bits."""
    return [
        Line("token file", name),
        Line("its mode", f"{mode:04o}", f"{PRIVATE:04o}", marked(mode == PRIVATE)),
    ]


def redis_lines(name: str, *, held: bool) -> list[Line]:
    """A key of Redis, and whether it holds a token."""
    found = "holds a token" if held else "holds none"
    return [Line("Redis key", name), Line("that key", found, "holds a token", marked(held))]
