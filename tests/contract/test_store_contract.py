"""What every store does: the specification of `ports.TokenStore`.

Times are those of the real clocks, since stores read them. A store may move them by what an answer
of its medium takes, so they may differ by five seconds.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from redis import RedisCluster

from evertoken import FileStore, MemoryStore
from evertoken.core.entry import Entry, join
from evertoken.core.hold import Hold
from evertoken.core.token import LONGEST_LIFETIME
from evertoken.ports import TokenStore
from evertoken.runtime import clock
from evertoken.stores.redis import RedisStore
from evertoken.testing import StoreContract
from evertoken.testing.entries import held, refused
from support.contracts import outcomes_of
from support.core_values import HOUR, KEY, PLANTED, issued
from support.entries import assert_same, token_in
from support.logs import warned
from support.valkey import Valkey, cluster_of
from support.values import pickled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken.core.instant import Instant

    Sealing = Callable[..., TokenStore]
    Maker = Callable[[], TokenStore]

SECRET = Fernet.generate_key()

PATIENCE = 10.0
"""Seconds that an operation on a server may take: this suite does not test slow servers."""

MAKERS: dict[str, Callable[[pytest.FixtureRequest], TokenStore]] = {
    "memory": lambda _: MemoryStore(),
    "file": lambda request: FileStore(request.getfixturevalue("tmp_path")),
    "redis": lambda request: RedisStore(request.getfixturevalue("valkey").url, timeout=PATIENCE),
    "cluster": lambda request: RedisStore(request.getfixturevalue("cluster"), timeout=PATIENCE),
    "sealed file": lambda request: FileStore(
        request.getfixturevalue("tmp_path"), encryption_key=SECRET
    ),
    "sealed redis": lambda request: RedisStore(
        request.getfixturevalue("valkey").url, encryption_key=SECRET, timeout=PATIENCE
    ),
}
OPEN = ["memory", "file", "redis"]
SEALED = ["sealed file", "sealed redis"]


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with Valkey(password=None) as server:
        yield server


@pytest.fixture
def valkey(server: Valkey) -> Valkey:
    server.client.flushall()
    return server


@pytest.fixture(scope="module")
def whole_cluster() -> Iterator[RedisCluster]:
    with cluster_of(3) as nodes:
        client = RedisCluster.from_url(nodes[0].url)
        yield client
        client.close()


@pytest.fixture
def cluster(whole_cluster: RedisCluster) -> RedisCluster:
    whole_cluster.flushall(target_nodes=RedisCluster.PRIMARIES)
    return whole_cluster


@pytest.fixture
def now() -> Instant:
    return clock.now()


# -- each kind keeps the contract ------------------------------------------------------------------


class TestMemory(StoreContract):
    @pytest.fixture
    def make_store(self) -> Maker:
        # a process's memory is its own
        one = MemoryStore()
        return lambda: one


class TestFile(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Maker:
        return lambda: FileStore(tmp_path)


class TestSealedFile(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Maker:
        return lambda: FileStore(tmp_path, encryption_key=SECRET)


class TestRedis(StoreContract):
    @pytest.fixture
    def make_store(self, valkey: Valkey) -> Maker:
        return lambda: RedisStore(valkey.url, timeout=PATIENCE)


class TestCluster(StoreContract):
    @pytest.fixture
    def make_store(self, cluster: RedisCluster) -> Maker:
        return lambda: RedisStore(cluster, timeout=PATIENCE)


class TestSealedRedis(StoreContract):
    @pytest.fixture
    def make_store(self, valkey: Valkey) -> Maker:
        return lambda: RedisStore(valkey.url, encryption_key=SECRET, timeout=PATIENCE)


# -- what others left ------------------------------------------------------------------------------


Medium = tuple[TokenStore, "Callable[[bytes], object]", "Callable[[], bytes]"]


@pytest.fixture(params=["file", "redis"])
def medium(request: pytest.FixtureRequest) -> Medium:
    """A store, and direct access to its medium."""
    if request.param == "file":
        store = FileStore(request.getfixturevalue("tmp_path"))
        path = store.path(KEY)

        def write(data: bytes) -> None:
            path.touch(mode=0o600)
            path.write_bytes(data)

        return store, write, path.read_bytes
    valkey = request.getfixturevalue("valkey")
    remote = RedisStore(valkey.url)
    name = remote.entry_name(KEY)
    return remote, lambda data: valkey.client.set(name, data), lambda: valkey.client.get(name)


def signed(body: dict[str, object]) -> bytes:
    """`body` with a correct checksum, which needs no key."""
    rest = {name: value for name, value in body.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return json.dumps({**rest, "checksum": hashlib.sha256(text.encode()).hexdigest()}).encode()


def test_a_newer_schema_is_logged_once_and_never_overwritten(  # F11
    medium: Medium, now: Instant, caplog: pytest.LogCaptureFixture
) -> None:
    store, write, read = medium
    newer = json.dumps({"schema": 3, "whatever": "it holds"}).encode()
    write(newer)
    for entry in (held(issued(now)), refused(now), Entry.of_revocation(7)):
        assert store.save(KEY, entry) is None
        assert store.load(KEY) is None
    assert read() == newer
    assert len(warned(caplog)) == 1
    assert "newer version" in caplog.text


def test_an_entry_of_schema_1_is_read_and_replaced(medium: Medium, now: Instant) -> None:
    store, write, read = medium
    old = {
        "value": "old",
        "issued_at": now.wall - 60,
        "expires_at": now.wall + HOUR,
        **dict.fromkeys(["scope", "refresh_token", "issued_boot"]),
    }
    body = {"schema": 1, "key": KEY.digest(), "generation": 3, "boot": None, "refusal": None}
    write(signed({**body, "token": old}))
    entry = store.load(KEY)
    assert entry is not None
    assert entry.token is not None
    assert (entry.token.value, entry.token.generation) == ("old", int(now.wall - 60))
    store.save(KEY, refused(now))
    assert json.loads(read())["schema"] == 2
    assert token_in(store) == "old"
    store.save(KEY, held(issued(now)))
    assert token_in(store) == PLANTED


CRAFTS: dict[str, dict[str, object]] = {
    "a generation of 4,300 digits": {"revoked_through": int("9" * 4300)},
    "a token that breaks a header": {"value": "abc\r\nX-Evil: 1"},
    "an expiry in a century": {"expires_at": 5e9},
    "an expiry beyond every calendar": {"expires_at": 1e300},
    "a failure until the year 9999": {"until": 253_402_300_799.0},
    "a failure until the year 1e292": {"until": 1e300},
    "100 kB of error text": {"description": "x" * 100_000},
    "a salt of a megabyte": {"salt": "00" * 300_000},
}


def crafted(value: object, changes: dict[str, object]) -> object:
    """`value` with the members in `changes` replaced, at any depth."""
    if isinstance(value, list):
        return [crafted(each, changes) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: changes.get(name, crafted(each, changes)) for name, each in value.items()}


@pytest.mark.parametrize("changes", CRAFTS.values(), ids=CRAFTS.keys())
def test_a_crafted_entry_is_a_miss_logged_once_and_replaced(  # S57, F10
    medium: Medium, now: Instant, caplog: pytest.LogCaptureFixture, changes: dict[str, object]
) -> None:
    store, write, read = medium
    store.save(KEY, join(held(issued(now)), refused(now)))
    body = crafted(json.loads(read()), changes)
    assert isinstance(body, dict)
    write(signed(body))
    assert [store.load(KEY), store.load(KEY)] == [None, None]
    [warning] = warned(caplog)
    assert warning.getMessage().isprintable()
    assert_same(store.save(KEY, held(issued(now))), held(issued(now)))
    assert_same(store.load(KEY), held(issued(now)))


def test_a_stored_generation_from_the_far_future_is_demoted_and_replaced(  # S57
    medium: Medium, now: Instant
) -> None:
    store, write, read = medium
    store.save(KEY, held(issued(now, value="of-2099")))
    body = crafted(json.loads(read()), {"generation": int(now.wall + 2 * LONGEST_LIFETIME)})
    assert isinstance(body, dict)
    write(signed(body))
    entry = store.load(KEY)
    assert entry is not None
    assert entry.token is not None
    assert entry.token.value == "of-2099"
    assert entry.newest < now.wall
    store.save(KEY, held(issued(now, value="next")))
    assert token_in(store) == "next"
    assert json.loads(read())["token"]["generation"] == int(now.wall)


def test_control_characters_in_an_error_are_escaped(  # S57
    medium: Medium, now: Instant
) -> None:
    store, write, read = medium
    store.save(KEY, refused(now))
    body = crafted(json.loads(read()), {"message": "\x1b[2J", "description": "a\nb"})
    assert isinstance(body, dict)
    write(signed(body))
    entry = store.load(KEY)
    assert entry is not None
    error = entry.failures[0].error
    assert (str(error), error.description) == ("\\x1b[2J", "a\\nb")


def test_an_entry_that_cannot_be_read_back_is_not_written(  # S57
    medium: Medium, now: Instant, caplog: pytest.LogCaptureFixture
) -> None:
    # a custom grant may return any text as a token
    store, _, _ = medium
    store.save(KEY, Entry.of_revocation(int(now.wall) - 60))
    for _ in range(2):
        assert store.save(KEY, held(issued(now, value="two words"))) is None
    assert_same(store.load(KEY), Entry.of_revocation(int(now.wall) - 60))
    assert len(warned(caplog)) == 1
    assert "two words" not in caplog.text


# -- sealing ---------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "redis"])
def sealing(request: pytest.FixtureRequest) -> Sealing:
    """Opens one medium with given keys."""
    if request.param == "file":
        return partial(FileStore, request.getfixturevalue("tmp_path"))
    return partial(RedisStore, request.getfixturevalue("valkey").url)


def test_an_entry_that_no_key_decrypts_is_a_miss_logged_once_and_replaced(
    sealing: Sealing, now: Instant, caplog: pytest.LogCaptureFixture
) -> None:
    for key in (None, Fernet.generate_key()):
        sealing(encryption_key=key).save(KEY, held(issued(now, value="planted-by-another")))
        store = sealing(encryption_key=SECRET)
        caplog.clear()
        assert [store.load(KEY), store.load(KEY)] == [None, None]
        [warning] = caplog.messages
        assert warning.endswith("is not used: none of the encryption keys decrypts it")
        store.save(KEY, held(issued(now)))
        assert token_in(sealing(encryption_key=SECRET)) == PLANTED


def test_keys_rotate_without_a_miss(sealing: Sealing, now: Instant) -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key().decode()
    sealing(encryption_key=old).save(KEY, held(issued(now.after(-9), value="earlier")))
    rotating = sealing(encryption_key=[new, old])
    assert token_in(rotating) == "earlier"
    rotating.save(KEY, held(issued(now)))
    assert token_in(sealing(encryption_key=new)) == PLANTED
    assert sealing(encryption_key=old).load(KEY) is None


def test_a_sealed_file_shows_no_secret(tmp_path: Path, now: Instant) -> None:
    store = FileStore(tmp_path, encryption_key=SECRET)
    entry = held(issued(now, refresh_token="planted-refresh-token"))
    store.save(KEY, entry)
    assert_same(store.load(KEY), entry)
    assert b"planted" not in store.path(KEY).read_bytes()


# -- travelling and showing ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPEN)
def test_it_pickles_as_its_configuration(  # F7
    kind: str, request: pytest.FixtureRequest, now: Instant
) -> None:
    store = MAKERS[kind](request)
    store.save(KEY, held(issued(now, refresh_token="planted-refresh-token")))
    with store.lock(KEY, timeout=1):
        travelled = pickled(store)
    assert type(travelled) is type(store)
    assert PLANTED not in repr(vars(travelled))
    travelled.save(KEY, held(issued(now.after(1), value="later")))
    assert token_in(travelled) == "later"
    with travelled.lock(KEY, timeout=1) as hold:
        assert hold is Hold.HELD


@pytest.mark.parametrize("kind", SEALED)
def test_its_encryption_key_is_neither_pickled_nor_shown(  # S46, F7
    kind: str, request: pytest.FixtureRequest
) -> None:
    store = MAKERS[kind](request)
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(store)
    assert SECRET.decode() not in repr(store)
    assert SECRET.decode() not in repr(vars(store))


# -- what the contract is worth --------------------------------------------------------------------


def test_a_store_that_breaks_its_rules_fails_their_tests() -> None:
    outcomes = outcomes_of("careless_store.py")
    failed = {name for name, outcome in outcomes.items() if outcome != "PASSED"}
    assert {
        "test_whatever_its_medium_does_it_raises_nothing",
        "test_nobody_else_can_read_its_files",
        "test_a_later_token_is_never_lost_to_an_earlier_one",
        "test_a_revoked_token_is_not_brought_back_by_a_late_save",
        "test_a_lock_is_busy_while_another_thread_holds_it",
        "test_it_shows_no_token",
    } <= failed


def test_a_suite_whose_broken_medium_is_not_broken_fails() -> None:
    outcomes = outcomes_of("unbroken_store.py")
    failed = {name for name, outcome in outcomes.items() if outcome != "PASSED"}
    assert failed == {"test_whatever_its_medium_does_it_raises_nothing"}
