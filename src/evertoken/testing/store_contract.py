"""The contract of every store, as pytest tests for a custom store.

```python
import pytest
from evertoken.testing import StoreContract

class TestMyStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: MyStore(tmp_path)
```

The tests use the real clocks, which stores read. A store may shift times by as much as an answer of
its medium takes, so they are compared to within five seconds.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import time
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from evertoken.core.hold import Hold
from evertoken.runtime import clock
from evertoken.stores.memory import MemoryStore
from evertoken.testing.entries import (
    KEY,
    held,
    issued,
    token_in,
)
from evertoken.testing.store_entries import EntryRules
from evertoken.testing.store_joins import JoinRules
from evertoken.testing.store_locks import LockRules
from evertoken.testing.threads import BOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken.core.instant import Instant
    from evertoken.ports import TokenStore

_OF_FILES = ("open", "mkdir", "write", "pwrite", "replace", "rename", "link", "fsync", "unlink")
_OF_SOCKETS = ("connect", "send", "sendall", "recv", "recv_into")


def _all_but_modules(failing: mock.Mock) -> Callable[..., object]:
    """`open` that fails, but for modules: pytest reads those that a store loads late with it."""
    real = open

    def opened(file: object, *args: object, **options: object) -> object:
        call: Callable[..., object] = real if str(file).endswith((".py", ".pyc")) else failing
        return call(file, *args, **options)

    return opened


class StoreContract(EntryRules, JoinRules, LockRules):
    """Tests of one kind of store; subclass it under a name that begins with `Test`.

    The subclass has a fixture `make_store`: a callable without arguments that returns a store on
    one medium, which is empty at first. A second call returns another store on that medium, as
    another process would. All its files are in `tmp_path`.
    """

    @pytest.fixture
    def make_store(self) -> Callable[[], TokenStore]:
        """A function that makes a store; a subclass must define it."""
        raise NotImplementedError("a contract needs a fixture make_store")

    @contextlib.contextmanager
    def broken(self, number: int) -> Iterator[None]:
        """Make every call to the medium raise an `OSError` with this number.

        Python's file and socket calls fail. A store that reaches its medium in another way (a C
        library, a subprocess) overrides this.
        """
        failing = mock.Mock(side_effect=OSError(number, os.strerror(number)))
        with contextlib.ExitStack() as stack:
            for name in filter(lambda it: hasattr(os, it), _OF_FILES):
                stack.enter_context(mock.patch.object(os, name, failing))
            for name in _OF_SOCKETS:
                stack.enter_context(mock.patch.object(socket.socket, name, failing))
            opened = _all_but_modules(failing)
            stack.enter_context(mock.patch.object(io, "open", opened))
            stack.enter_context(mock.patch("builtins.open", opened))
            yield

    @pytest.fixture
    def store(self, make_store: Callable[[], TokenStore]) -> TokenStore:
        """An empty store."""
        return make_store()

    @pytest.fixture
    def sibling(self, store: TokenStore, make_store: Callable[[], TokenStore]) -> TokenStore:
        """A second store on the same medium, as in another process."""
        del store
        return make_store()

    @pytest.fixture
    def now(self) -> Instant:
        """The current time."""
        return clock.now()

    @pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.ETIMEDOUT])
    def test_whatever_its_medium_does_it_raises_nothing(
        self, store: TokenStore, now: Instant, number: int
    ) -> None:  # F8
        store.save(KEY, held(issued(now)))
        later = held(issued(now.after(1), value="later"))
        with self.broken(number):
            store.load(KEY)
            kept = store.save(KEY, later)
            for timeout in (0.0, 0.05):
                with store.lock(KEY, timeout=timeout) as hold:
                    assert isinstance(hold, Hold)
        # the memory of the process does not fail
        assert kept is None or isinstance(store, MemoryStore), (
            "broken() broke nothing: override it so that the medium of this store fails"
        )
        end = time.monotonic() + BOUND
        while store.save(KEY, later) is None:
            assert time.monotonic() < end, "it does not serve again once its medium does"
            time.sleep(0.05)
        assert token_in(store) == "later"

    @pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
    def test_nobody_else_can_read_its_files(
        self, make_store: Callable[[], TokenStore], now: Instant, tmp_path: Path
    ) -> None:  # S44
        before = os.umask(0)
        try:
            store = make_store()
            with store.lock(KEY, timeout=1):
                store.save(KEY, held(issued(now)))
                found = {path: path.lstat().st_mode for path in tmp_path.rglob("*")}
        finally:
            os.umask(before)
        loose = [f"{path.name} ({mode:04o})" for path, mode in found.items() if mode & 0o077]
        assert loose == []

    def test_it_shows_no_token(self, store: TokenStore, now: Instant) -> None:  # S46
        store.save(KEY, held(issued(now, refresh_token="planted-refresh-token")))
        store.load(KEY)
        assert "planted" not in repr(store)
        assert "planted" not in str(store)
