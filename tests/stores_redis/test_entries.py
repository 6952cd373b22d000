"""Entries in a Valkey server: replaced atomically, expiring, sealed, never trusted."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from redis.crc import key_slot

from evertoken.core.entry import Entry, join
from evertoken.core.login import Login
from evertoken.core.token import Token, TokenKey
from evertoken.runtime import clock
from evertoken.stores.record import encode
from evertoken.stores.redis import LOGIN_KEPT, REVOCATION_KEPT, TRIES, RedisStore
from support.core_values import failure, refusal
from support.entries import SALT, assert_same, token_in
from support.logs import warned

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.valkey import Valkey

    Issued = Callable[..., Entry]


def name_of(key: TokenKey) -> str:
    return f"evertoken:{{{key.digest()}}}:token"


def generation_of(entry: Entry) -> int:
    assert entry.token is not None
    return entry.token.generation


def kept(valkey: Valkey, key: TokenKey) -> float:
    """Seconds until the server drops the entry."""
    return float(valkey.client.pttl(name_of(key))) / 1000


def test_there_is_no_entry_at_first(valkey: Valkey, key: TokenKey) -> None:
    assert RedisStore(valkey.url).load(key) is None


def test_an_entry_saved_by_one_store_is_loaded_by_another(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:
    RedisStore(valkey.url).save(key, issued("shared"))
    assert_same(RedisStore(valkey.url).load(key), issued("shared"))


def test_an_older_token_never_replaces_a_newer_one(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:  # F27
    store, late = RedisStore(valkey.url), RedisStore(valkey.url)
    assert late.load(key) is None
    store.save(key, issued("newer"))
    late.save(key, issued("older", ago=5))
    assert token_in(late, key) == "newer"


def test_a_save_that_came_in_between_is_joined_too(
    valkey: Valkey, key: TokenKey, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rival = RedisStore(valkey.url), RedisStore(valkey.url)
    refused = Entry.of_failure(refusal(clock.now()), SALT)
    read, rivals = store._read, [refused]

    def read_late(key: TokenKey) -> object:
        stored = read(key)
        if rivals:
            rival.save(key, rivals.pop())
        return stored

    monkeypatch.setattr(store, "_read", read_late)
    store.save(key, issued("own"))
    assert_same(rival.load(key), join(issued("own"), refused))


def test_a_save_that_always_loses_the_race_ends(
    valkey: Valkey, key: TokenKey, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RedisStore(valkey.url)
    rival = RedisStore(valkey.url)
    compared = []

    def unsealed(stored: bytes) -> bytes:
        compared.append(stored)
        rival.save(key, issued(f"rival-{len(compared)}", ago=100 - len(compared)))
        return stored

    store.save(key, issued("first", ago=200))
    monkeypatch.setattr(store._codec, "unseal", unsealed)
    assert store.save(key, issued("own")) is None
    assert len(compared) == TRIES
    assert token_in(rival, key) == f"rival-{TRIES}"


def test_an_entry_expires_with_its_token(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    RedisStore(valkey.url).save(key, issued("short", ago=50, lifetime=100))
    assert 45 < kept(valkey, key) <= 50


def test_an_expired_token_is_kept_for_a_moment(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:
    RedisStore(valkey.url).save(key, issued("over", lifetime=0))
    assert 0 < kept(valkey, key) <= 1


@pytest.mark.parametrize(("lifetime", "expected"), [(None, 200), (1000.0, 1000)])
def test_a_failure_is_kept_until_a_failure_after_it_could_double_it(
    valkey: Valkey, key: TokenKey, issued: Issued, lifetime: float | None, expected: float
) -> None:
    token = Entry() if lifetime is None else issued("lives", ago=1, lifetime=lifetime + 1)
    outage = Entry.of_failure(failure(clock.now(), pause=100.0))
    RedisStore(valkey.url).save(key, join(token, outage))
    assert expected - 5 < kept(valkey, key) <= expected


def test_a_revocation_is_kept_while_siblings_may_hold_the_dead_token(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:  # S41
    store = RedisStore(valkey.url)
    token = issued("dead", lifetime=10 * REVOCATION_KEPT)
    store.save(key, token)
    store.save(key, Entry.of_revocation(generation_of(token)))
    assert kept(valkey, key) > 9 * REVOCATION_KEPT
    # neither a failure nor a short token shortens it
    store.save(key, Entry.of_failure(failure(clock.now(), pause=1.0)))
    later = Token("next", time.time(), time.time() + 60, generation=generation_of(token) + 1)
    store.save(key, Entry(token=later))
    assert kept(valkey, key) > 9 * REVOCATION_KEPT


def test_a_revocation_of_an_unknown_token_is_kept_for_a_day(
    valkey: Valkey, key: TokenKey
) -> None:  # S41
    RedisStore(valkey.url).save(key, Entry.of_revocation(7))
    assert REVOCATION_KEPT - 5 < kept(valkey, key) <= REVOCATION_KEPT


def test_a_login_outlives_its_access_token(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    login = Entry(login=Login("refresh", 7))
    RedisStore(valkey.url).save(key, join(issued("short", lifetime=60), login))
    assert LOGIN_KEPT - 5 < kept(valkey, key) <= LOGIN_KEPT


def test_keys_show_no_user_and_share_a_slot(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    store = RedisStore(valkey.url, prefix="app:")
    with store.lock(key, timeout=0):
        store.save(key, issued("secret-token"))
        names = [bytes(name) for name in valkey.client.scan_iter() if isinstance(name, bytes)]
    assert len(names) == 2
    assert len({key_slot(name) for name in names}) == 1
    assert all(name.startswith(b"app:{") and b"someone" not in name for name in names)


def test_identities_do_not_mix(  # S49
    valkey: Valkey, key: TokenKey, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(valkey.url)
    other = TokenKey(key.token_url, key.client_id, "another@example.com")
    store.save(key, issued("of-someone"))
    assert store.load(other) is None
    valkey.client.copy(name_of(key), name_of(other))
    assert store.load(other) is None
    assert "another identity" in caplog.text


@pytest.mark.parametrize("value", [b"garbage", b"\xff" * 100, b"{}", b"x" * (3 << 20)])
def test_a_foreign_value_is_a_miss_logged_once_and_replaced(  # F27
    valkey: Valkey,
    key: TokenKey,
    issued: Issued,
    caplog: pytest.LogCaptureFixture,
    value: bytes,
) -> None:
    valkey.client.set(name_of(key), value)
    store = RedisStore(valkey.url)
    assert store.load(key) is None
    assert store.load(key) is None
    assert len(warned(caplog)) == 1
    store.save(key, issued("good"))
    assert token_in(store, key) == "good"


def test_a_newer_schema_is_never_overwritten(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    newer = json.dumps({"schema": 999}).encode()
    valkey.client.set(name_of(key), newer)
    store = RedisStore(valkey.url)
    store.save(key, issued("ours"))
    assert store.load(key) is None
    assert valkey.client.get(name_of(key)) == newer


def test_a_key_of_another_type_is_not_changed(  # F27
    valkey: Valkey, key: TokenKey, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    valkey.client.rpush(name_of(key), "someone's list")
    store = RedisStore(valkey.url)
    for _ in range(3):
        assert store.load(key) is None
        store.save(key, issued("ours"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert valkey.client.lrange(name_of(key), 0, -1) == [b"someone's list"]
    valkey.client.delete(name_of(key))
    store.save(key, issued("ours"))
    assert token_in(store, key) == "ours"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_sealed_entry_shows_no_secret(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    secret = Fernet.generate_key()
    store = RedisStore(valkey.url, encryption_key=secret)
    store.save(key, issued("planted-token"))
    stored = valkey.client.get(name_of(key))
    assert isinstance(stored, bytes)
    assert b"planted-token" not in stored
    assert token_in(RedisStore(valkey.url, encryption_key=secret.decode()), key) == "planted-token"


def test_an_entry_of_another_boot_is_held_to_the_wall_clock(valkey: Valkey, key: TokenKey) -> None:
    token = Token("afar", time.time(), time.time() + 100, issued_boot=1e9)
    data = encode(Entry(token=token), key, boot="of another machine")
    assert data is not None
    valkey.client.set(name_of(key), data)
    before = clock.since_boot()
    found = RedisStore(valkey.url).load(key)
    assert found is not None
    assert found.token is not None
    assert found.token.issued_boot is not None
    assert before - 5 < found.token.issued_boot <= clock.since_boot()
