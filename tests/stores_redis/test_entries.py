"""Entries in a real Valkey: compared and replaced in one step, expiring, sealed, never trusted."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from redis.crc import key_slot

from evertoken import GrantRefused, GrantUnavailable, Token, TokenKey
from evertoken.stores.record import Record, encode
from evertoken.stores.redis import TRIES, RedisStore
from evertoken.token import Mark, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.valkey import Valkey

    Issued = Callable[..., Token]


def name_of(key: TokenKey) -> str:
    return f"evertoken:{{{key.digest()}}}:token"


def value_of(store: RedisStore, key: TokenKey) -> str | None:
    entry = store.load(key)
    return entry.value if isinstance(entry, Token) else None


def test_nothing_is_there_at_first(valkey: Valkey, key: TokenKey) -> None:
    assert RedisStore(valkey.url).load(key) is None


def test_what_one_saves_another_loads(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    token = issued("shared")
    RedisStore(valkey.url).save(key, token)
    assert RedisStore(valkey.url).load(key) == token


def test_a_refusal_is_shared(valkey: Valkey, key: TokenKey) -> None:
    now = time.time()
    refusal = Refusal(now, now + 300, GrantRefused("no", status=400), 1, b"salt", b"tag")
    RedisStore(valkey.url).save(key, refusal)
    found = RedisStore(valkey.url).load(key)
    assert isinstance(found, Refusal)
    assert (found.failures, found.salt, found.tag) == (1, b"salt", b"tag")
    assert str(found.error) == "no"


def test_an_older_token_never_replaces_a_newer_one(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:  # F27
    store, late = RedisStore(valkey.url), RedisStore(valkey.url)
    assert late.load(key) is None
    store.save(key, issued("newer"))
    late.save(key, issued("older", ago=5))
    assert value_of(late, key) == "newer"


def test_what_comes_in_between_is_compared_again(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:
    store, rival = RedisStore(valkey.url), RedisStore(valkey.url)
    store.save(key, issued("first", ago=20))
    rival.save(key, issued("second", ago=10))
    # it still believes in the first, and has to learn of the second
    store.save(key, issued("older than the second", ago=15))
    assert value_of(store, key) == "second"
    store.save(key, issued("third"))
    assert value_of(rival, key) == "third"


def test_a_save_that_others_always_forestall_ends(
    valkey: Valkey, key: TokenKey, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RedisStore(valkey.url)
    rival = RedisStore(valkey.url)
    compared = []

    def unsealed(stored: bytes) -> bytes:
        compared.append(stored)
        rival.save(key, issued(f"rival {len(compared)}", ago=100 - len(compared)))
        return stored

    store.save(key, issued("first", ago=200))
    monkeypatch.setattr(store._codec, "unseal", unsealed)
    store.save(key, issued("own"))
    assert len(compared) == TRIES
    assert value_of(rival, key) == f"rival {TRIES}"


def test_a_dead_token_leaves_a_mark(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    store, sibling = RedisStore(valkey.url), RedisStore(valkey.url)
    token = issued("dead")
    store.save(key, token)
    sibling.forget(key, token)
    mark = store.load(key)
    assert isinstance(mark, Refusal)
    assert mark.forgets == Mark.of(token)
    store.save(key, token)
    assert value_of(store, key) is None


def test_a_later_token_outlives_what_is_forgotten(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:
    store, sibling = RedisStore(valkey.url), RedisStore(valkey.url)
    old = issued("old", ago=10)
    store.save(key, old)
    sibling.save(key, issued("new"))
    store.forget(key, old)
    assert value_of(store, key) == "new"


def test_what_was_seen_long_ago_does_not_hide_what_is_to_be_forgotten(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:
    store, sibling = RedisStore(valkey.url), RedisStore(valkey.url)
    store.save(key, issued("old", ago=10))
    new = issued("new")
    sibling.save(key, new)
    store.forget(key, new)
    assert value_of(sibling, key) is None


def test_an_entry_expires_with_its_token(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    RedisStore(valkey.url).save(key, issued("short", ago=50, lifetime=100))
    assert 45_000 < valkey.client.pttl(name_of(key)) <= 50_000


def test_a_token_that_is_used_up_is_kept_for_a_moment(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:
    RedisStore(valkey.url).save(key, issued("over", lifetime=0))
    assert 0 < valkey.client.pttl(name_of(key)) <= 1000


@pytest.mark.parametrize(("lifetime", "kept"), [(None, 200), (1000.0, 1000)])
def test_a_refusal_is_kept_until_a_failure_after_it_could_double_it(
    valkey: Valkey, key: TokenKey, issued: Issued, lifetime: float | None, kept: float
) -> None:
    now = time.time()
    token = None if lifetime is None else issued("lives", lifetime=lifetime)
    RedisStore(valkey.url).save(key, Refusal(now, now + 100, token=token))
    assert (kept - 5) * 1000 < valkey.client.pttl(name_of(key)) <= kept * 1000


def test_a_mark_is_kept_while_siblings_may_hold_its_token_whatever_refusal_bears_it(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:  # S41
    store, now = RedisStore(valkey.url), time.time()
    token = issued("dead", lifetime=1000.0)
    store.save(key, token)
    store.forget(key, token)
    hiccup = Refusal(now, now + 1, GrantUnavailable("503"), forgets=Mark.of(token))
    store.save(key, hiccup)
    assert valkey.client.pttl(name_of(key)) > 990_000


def test_so_is_the_mark_of_a_token_that_a_refusal_carried(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:  # S41
    store, now = RedisStore(valkey.url), time.time()
    token = issued("dead", lifetime=1000.0)
    store.save(key, Refusal(now, now + 1, GrantUnavailable("503"), token=token))
    store.forget(key, token)
    assert isinstance(store.load(key), Refusal)
    assert valkey.client.pttl(name_of(key)) > 990_000


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
    store.save(key, issued("of someone"))
    assert store.load(other) is None
    valkey.client.copy(name_of(key), name_of(other))
    assert store.load(other) is None
    assert "another identity" in caplog.text


@pytest.mark.parametrize("value", [b"garbage", b"\xff" * 100, b"{}", b"x" * (3 << 20)])
def test_a_foreign_value_is_a_miss_said_once_and_replaced(  # F27
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
    assert len(caplog.records) == 1
    store.save(key, issued("good"))
    assert value_of(store, key) == "good"


def test_a_newer_schema_is_never_overwritten(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    newer = json.dumps({"schema": 999}).encode()
    valkey.client.set(name_of(key), newer)
    store = RedisStore(valkey.url)
    store.save(key, issued("ours"))
    assert store.load(key) is None
    assert valkey.client.get(name_of(key)) == newer


def test_a_key_of_another_type_is_left_alone(  # F27
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
    assert value_of(store, key) == "ours"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_sealed_entry_shows_nothing(valkey: Valkey, key: TokenKey, issued: Issued) -> None:
    secret = Fernet.generate_key()
    store = RedisStore(valkey.url, encryption_key=secret)
    store.save(key, issued("planted-token"))
    stored = valkey.client.get(name_of(key))
    assert isinstance(stored, bytes)
    assert b"planted-token" not in stored
    assert value_of(RedisStore(valkey.url, encryption_key=secret.decode()), key) == "planted-token"


def test_a_save_costs_one_command_where_nothing_came_in_between(
    valkey: Valkey, key: TokenKey, issued: Issued
) -> None:
    store = RedisStore(valkey.url)
    assert store.load(key) is None
    before = valkey.commands().get("eval", 0), valkey.commands()["getrange"]
    store.save(key, issued("one"))
    after = valkey.commands()["eval"], valkey.commands()["getrange"]
    # the second one is what the script itself reads
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


def test_an_entry_of_another_boot_is_held_to_the_wall_clock(valkey: Valkey, key: TokenKey) -> None:
    token = Token("afar", time.time(), time.time() + 100, issued_boot=1e9)
    data = encode(Record(token, 1), key, boot="of another machine")
    valkey.client.set(name_of(key), data)
    found = RedisStore(valkey.url).load(key)
    assert isinstance(found, Token)
    assert found.issued_boot is None
