"""A process remembers a bounded number of identities and origins."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import BearerAuth, FileStore, MemoryStore
from evertoken.core.entry import Entry
from evertoken.runtime import clock
from evertoken.stores import file
from support.core_values import KEY, issued
from support.fleet import CountingGrant, sibling
from support.sizes import entries_in

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from evertoken import TokenKey

MANY = 1_100
"""More than any of these caches holds."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    # pytest keeps every record that it captures
    for name in ("evertoken", "filelock"):
        caplog.set_level(logging.CRITICAL, logger=name)


def identities(first: int, count: int = MANY) -> Iterable[TokenKey]:
    return (replace(KEY, username=f"user-{first + number}") for number in range(count))


@pytest.mark.parametrize(
    ("content", "mode"),
    [(b'{"schema": 3}', 0o600), (b'{"schema": 3}', 0o644)],
    ids=["newer", "loose"],
)
def test_a_file_store_remembers_a_bounded_number_of_files(  # F40
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, mode: int
) -> None:
    monkeypatch.setattr(file, "MAX_REMEMBERED", 200)
    store = FileStore(tmp_path)

    def meet(keys: Iterable[TokenKey]) -> int:
        for key in keys:
            path = store.path(key)
            path.write_bytes(content)
            path.chmod(mode)
            assert store.load(key) is None
            assert store.trouble(key) is not None
        return entries_in(store)

    assert meet(identities(0)) == meet(identities(MANY))


def test_a_file_store_that_cannot_write_remembers_a_bounded_number_of_troubles(  # F40
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(file, "MAX_REMEMBERED", 200)
    store = FileStore(tmp_path / "file" / "folder")

    def meet(keys: Iterable[TokenKey]) -> int:
        for key in keys:
            assert store.save(key, Entry.of_token(issued(clock.now()))) is None
            assert store.trouble(key) is not None
        return entries_in(store)

    assert meet(identities(0)) == meet(identities(MANY))


def test_a_file_in_use_is_not_read_again_while_others_come_and_go(  # F40
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "MAX_REMEMBERED", 20)
    store = FileStore(tmp_path)
    for key in (KEY, *identities(0, 100)):
        store.save(key, Entry.of_token(issued(clock.now())))
    opened: list[object] = []
    really_open = os.open

    def noting(path: str, flags: int) -> int:
        opened.append(path)
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", noting)
    for key in identities(0, 100):
        assert store.load(key) is not None
        assert store.load(KEY) is not None
    assert opened.count(str(store.path(KEY))) == 1
    assert len(opened) == 101


def test_a_memory_store_holds_a_bounded_number_of_identities() -> None:  # F40
    store = MemoryStore(maxsize=100)
    for key in identities(0, 10_000):
        store.save(key, Entry.of_token(issued(clock.now())))
        # one whose token is dropped with its owner, and one without an owner
        store.save(replace(key, scope="read"), Entry.of_token(issued(clock.now())))
        store.claim(key, seconds=60.0)
        assert store.admit(key, (key.username,))
        store.obtained(key, (key.username, ""), b"fingerprint")
        with store.lock(key, timeout=0.0):
            pass
    # up to ten entries each; an unbounded cache would hold more than 10,000
    assert entries_in(store) < 3_000


def test_an_auth_remembers_a_bounded_number_of_foreign_origins() -> None:  # F40
    auth = BearerAuth(sibling(CountingGrant()), origins=["https://api.example.com"])
    request = requests.Request("GET", "https://api.example.com/").prepare()

    def meet(first: int) -> int:
        for number in range(first, first + MANY):
            request.url = f"https://host-{number}.example/"
            assert "Authorization" not in auth(request).headers
        return entries_in(auth)

    assert meet(0) == meet(MANY)
