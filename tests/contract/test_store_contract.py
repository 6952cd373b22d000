"""What every store does: the specification of `ports.TokenStore`.

Times are those of the real clocks, since stores read them. A store may move them by what an answer
of its medium takes, so they are compared to the second.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from redis import RedisCluster

from evertoken import FileStore, MemoryStore
from evertoken.core.entry import NOTHING, Entry, join, normalised
from evertoken.core.failure_kind import FailureKind
from evertoken.core.hold import Hold
from evertoken.core.login import Initial, Login
from evertoken.core.token import LONGEST_LIFETIME
from evertoken.ports import LeasedStore, TokenStore
from evertoken.runtime import clock
from evertoken.stores.redis import RedisStore
from support.core_values import DAY, HOUR, KEY, PLANTED, failure, issued, refusal
from support.entries import SALT, assert_same, token_in
from support.fleet import BOUND, in_threads
from support.logs import warned
from support.valkey import Valkey, cluster_of
from support.values import pickled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken.core.instant import Instant
    from evertoken.core.token import Token, TokenKey

    Sealing = Callable[..., TokenStore]

SECRET = Fernet.generate_key()

PATIENCE = 10.0
"""Seconds that an operation on a server may last: this suite is not about slow ones."""

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

OTHERS = [
    replace(KEY, token_url="https://other.example/oauth/token/"),
    replace(KEY, client_id="another"),
    replace(KEY, username="another"),
    replace(KEY, username=None),
    replace(KEY, scope="read"),
    replace(KEY, scope=None),
    replace(KEY, extra=(("audience", "api"),)),
]


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


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest) -> TokenStore:
    """Each kind of store in turn, empty."""
    return MAKERS[request.param](request)


@pytest.fixture
def sibling(request: pytest.FixtureRequest, store: TokenStore) -> TokenStore:
    """The same medium, as another process has it; a process's memory is its own."""
    if isinstance(store, MemoryStore):
        return store
    return MAKERS[request.node.callspec.params["store"]](request)


@pytest.fixture
def now() -> Instant:
    return clock.now()


# -- load and save ---------------------------------------------------------------------------------


def held(token: Token) -> Entry:
    return Entry.of_token(token)


def refused(now: Instant, credentials_hash: bytes = b"hash", *, pause: float = 300.0) -> Entry:
    failed = refusal(now, credentials_hash=credentials_hash, pause=pause)
    return Entry.of_failure(failed, SALT)


def test_it_is_a_store_with_a_name(store: TokenStore) -> None:
    assert isinstance(store, TokenStore)
    assert isinstance(getattr(store, "name", None), str)


def test_an_unknown_identity_has_no_entry(store: TokenStore) -> None:
    assert store.load(KEY) is None


def test_a_token_comes_back_as_it_was(store: TokenStore, now: Instant) -> None:
    for number, reading in enumerate((True, False)):
        at = now.after(number)
        token = issued(at, value=f"dated:{reading}", refresh_token="refresh", reading=reading)
        token = replace(token, scope="read write")
        store.save(KEY, held(token))
        assert_same(store.load(KEY), held(token))


@pytest.mark.parametrize("lifetime", [5.0, HOUR, 365 * DAY])
def test_short_and_long_lives_come_back(store: TokenStore, now: Instant, lifetime: float) -> None:
    token = held(issued(now, lifetime=lifetime))
    store.save(KEY, token)
    assert_same(store.load(KEY), token)


def test_a_token_of_512_kib_comes_back_as_it_was(store: TokenStore, now: Instant) -> None:  # S21
    token = held(issued(now, value="x" * (512 * 1024)))
    assert store.save(KEY, token) is not None
    assert_same(store.load(KEY), token)


def test_every_part_of_an_entry_comes_back_as_it_was(store: TokenStore, now: Instant) -> None:
    entry = Entry(
        token=issued(now),
        login=Login("a-login", 7, being_spent=True, initials=(Initial(3, "ab"), Initial(5, "cd"))),
        revoked_through=int(now.wall) - 10,
        failures=(failure(now.after(1)), refusal(now), refusal(now, credentials_hash=b"other")),
        salt=SALT,
    )
    entry = normalised(entry)
    store.save(KEY, entry)
    assert_same(store.load(KEY), entry)


def test_a_save_returns_what_is_held_afterwards(
    store: TokenStore, sibling: TokenStore, now: Instant
) -> None:
    assert_same(store.save(KEY, held(issued(now))), held(issued(now)))
    newer = issued(now.after(5), value="newer")
    sibling.save(KEY, held(newer))
    assert_same(store.save(KEY, refused(now)), join(held(newer), refused(now)))
    # also if it knew nothing new
    assert_same(store.save(KEY, held(issued(now))), join(held(newer), refused(now)))
    assert_same(store.load(KEY), join(held(newer), refused(now)))


def test_identities_never_cross(store: TokenStore, now: Instant) -> None:  # S49
    store.save(KEY, held(issued(now)))
    assert [store.load(key) for key in OTHERS] == [None] * len(OTHERS)
    for number, key in enumerate(OTHERS):
        store.save(key, held(issued(now, value=f"other-{number}")))
    store.save(OTHERS[0], Entry.of_revocation(int(now.wall)))
    assert token_in(store, OTHERS[0]) is None
    assert_same(store.load(KEY), held(issued(now)))
    for number, key in enumerate(OTHERS[1:], start=1):
        assert_same(store.load(key), held(issued(now, value=f"other-{number}")))


# -- saves are joins -------------------------------------------------------------------------------


def test_saves_from_two_stores_lead_to_the_same_entry_in_any_order(  # F15
    store: TokenStore, sibling: TokenStore, now: Instant
) -> None:
    reports = [
        held(issued(now.after(-60), value="earlier")),
        held(issued(now, value="later")),
        Entry.of_revocation(int(now.wall) - 60),
        refused(now),
    ]
    expected = Entry(
        token=issued(now, value="later"),
        revoked_through=int(now.wall) - 60,
        failures=refused(now).failures,
        salt=SALT,
    )
    for number, order in enumerate(itertools.permutations(reports)):
        key = replace(KEY, username=f"order-{number}")
        for report, place in zip(order, itertools.cycle((store, sibling)), strict=False):
            place.save(key, report)
        assert_same(store.load(key), expected)
        assert_same(sibling.load(key), expected)


def test_a_save_that_is_repeated_or_late_changes_nothing(
    store: TokenStore, sibling: TokenStore, now: Instant
) -> None:
    whole = join(held(issued(now)), refused(now))
    store.save(KEY, whole)
    for late in (whole, held(issued(now)), refused(now), NOTHING):
        sibling.save(KEY, late)
        assert_same(store.load(KEY), whole)


def test_a_later_token_replaces_an_earlier_one(store: TokenStore, now: Instant) -> None:
    store.save(KEY, held(issued(now.after(-600), value="earlier")))
    store.save(KEY, held(issued(now)))
    assert_same(store.load(KEY), held(issued(now)))


def test_a_later_token_is_never_lost_to_an_earlier_one(  # F15
    store: TokenStore, sibling: TokenStore, now: Instant
) -> None:
    store.save(KEY, held(issued(now)))
    late = held(issued(now.after(-600), value="earlier"))
    sibling.save(KEY, late)
    assert_same(store.load(KEY), held(issued(now)))


def test_the_generation_decides_which_token_is_later_and_no_clock_does(
    store: TokenStore, now: Instant
) -> None:
    # the clock of the machine that renews was set back by an hour
    successor = issued(now.after(-HOUR / 2), value="successor", generation=int(now.wall) + 1)
    store.save(KEY, held(issued(now)))
    store.save(KEY, held(successor))
    assert token_in(store) == "successor"


def test_of_many_savers_the_one_with_the_latest_token_wins(  # F15
    store: TokenStore, now: Instant
) -> None:
    turns = iter(range(6))

    def save() -> None:
        number = next(turns)
        store.save(KEY, held(issued(now.after(-number), value=f"token-{number}")))

    assert in_threads(6, save) == [None] * 6
    assert token_in(store) == "token-0"


def test_a_token_ends_the_outage_before_it(store: TokenStore, now: Instant) -> None:
    store.save(KEY, Entry.of_failure(failure(now)))
    store.save(KEY, held(issued(now.after(1))))
    assert_same(store.load(KEY), held(issued(now.after(1))))


def test_a_failure_leaves_the_live_token_in_place(store: TokenStore, now: Instant) -> None:
    store.save(KEY, held(issued(now)))
    outage = Entry.of_failure(failure(now.after(1)))
    store.save(KEY, outage)
    assert_same(store.load(KEY), join(held(issued(now)), outage))


def test_a_failure_of_other_credentials_is_kept_beside_the_first(  # S48
    store: TokenStore, sibling: TokenStore, now: Instant
) -> None:
    store.save(KEY, refused(now, b"one"))
    sibling.save(KEY, refused(now, b"another"))
    entry = store.load(KEY)
    assert entry is not None
    for credentials_hash in (b"one", b"another"):
        found = entry.refusal_of(credentials_hash)
        assert found is not None
        assert str(found.error) == "the endpoint refused"
        assert (found.error.status, found.error.error) == (400, "invalid_grant")


def test_local_failures_are_never_stored(store: TokenStore, now: Instant) -> None:
    local = failure(now.after(1), kind=FailureKind.LOCAL)
    store.save(KEY, Entry(failures=(local,)))
    assert store.load(KEY) is None
    store.save(KEY, Entry(token=issued(now), failures=(local,)))
    assert_same(store.load(KEY), held(issued(now)))


def test_an_expired_token_is_gone_or_gives_way(store: TokenStore, now: Instant) -> None:
    store.save(KEY, held(issued(now.after(-10), value="expired", lifetime=5)))
    entry = store.load(KEY)
    assert entry is None or (entry.token is not None and entry.token.expires_at < time.time())
    store.save(KEY, held(issued(now, value="live")))
    assert token_in(store) == "live"


def test_a_generation_from_the_far_future_is_demoted_and_the_token_kept(  # S57
    store: TokenStore, now: Instant
) -> None:
    far = int(now.wall + 2 * LONGEST_LIFETIME)
    store.save(KEY, held(issued(now, value="of-2099", generation=far)))
    entry = store.load(KEY)
    assert entry is not None
    assert entry.token is not None
    assert entry.token.value == "of-2099"
    assert entry.newest < now.wall
    store.save(KEY, held(issued(now, value="next")))
    assert token_in(store) == "next"


# -- revocation ------------------------------------------------------------------------------------


def test_a_revoked_token_is_not_brought_back_by_a_late_save(  # S41
    store: TokenStore, sibling: TokenStore, now: Instant
) -> None:
    token = issued(now)
    store.save(KEY, held(token))
    sibling.save(KEY, Entry.of_revocation(token.generation))
    for late in (held(token), join(held(token), refused(now)), held(issued(now.after(-9)))):
        store.save(KEY, late)
        entry = sibling.load(KEY)
        assert entry is not None
        assert (entry.token, entry.revoked_through) == (None, token.generation)


def test_a_token_is_revoked_that_the_store_never_held(store: TokenStore, now: Instant) -> None:
    store.save(KEY, Entry.of_revocation(int(now.wall)))
    store.save(KEY, held(issued(now)))
    assert_same(store.load(KEY), Entry.of_revocation(int(now.wall)))


def test_a_revocation_of_an_earlier_token_spares_the_later_one(  # S41
    store: TokenStore, now: Instant
) -> None:
    store.save(KEY, held(issued(now)))
    store.save(KEY, Entry.of_revocation(int(now.wall) - 600))
    assert token_in(store) == PLANTED


def test_a_later_token_follows_a_revoked_one(store: TokenStore, now: Instant) -> None:
    store.save(KEY, held(issued(now)))
    store.save(KEY, Entry.of_revocation(int(now.wall)))
    store.save(KEY, held(issued(now.after(1), value="later")))
    assert token_in(store) == "later"


def test_a_revocation_keeps_the_failures(store: TokenStore, now: Instant) -> None:  # S48
    store.save(KEY, join(held(issued(now)), refused(now)))
    store.save(KEY, Entry.of_revocation(int(now.wall)))
    expected = Entry(revoked_through=int(now.wall), failures=refused(now).failures, salt=SALT)
    assert_same(store.load(KEY), expected)


# -- locks -----------------------------------------------------------------------------------------


def elsewhere(store: TokenStore, key: TokenKey, timeout: float) -> Hold:
    """What another thread is told within `timeout` seconds."""

    def try_it() -> Hold:
        with store.lock(key, timeout=timeout) as hold:
            return hold

    (hold,) = in_threads(1, try_it)
    assert isinstance(hold, Hold)
    return hold


def test_a_lock_is_free_at_first_and_again_afterwards(store: TokenStore) -> None:
    for _ in range(3):
        with store.lock(KEY, timeout=0) as hold:
            assert hold is Hold.HELD
    assert elsewhere(store, KEY, 0) is Hold.HELD


@pytest.mark.parametrize("timeout", [0.0, 0.05])
def test_a_lock_is_busy_while_another_thread_holds_it(store: TokenStore, timeout: float) -> None:
    with store.lock(KEY, timeout=1) as hold:
        assert hold is Hold.HELD
        assert elsewhere(store, KEY, timeout) is Hold.BUSY
        # a failed try releases nothing
        assert elsewhere(store, KEY, timeout) is Hold.BUSY
    assert elsewhere(store, KEY, 0) is Hold.HELD


def test_only_a_busy_lock_counts_as_not_held() -> None:
    # a store of a user's own yields a bool, and code written for it keeps working
    assert [bool(hold) for hold in (Hold.HELD, Hold.BUSY, Hold.ABSENT)] == [True, False, True]


def test_a_waiter_gets_the_lock_when_it_is_released(store: TokenStore) -> None:
    results: list[Hold] = []
    waiter = threading.Thread(
        target=lambda: results.append(elsewhere(store, KEY, BOUND)), daemon=True
    )
    with store.lock(KEY, timeout=1):
        waiter.start()
        assert elsewhere(store, KEY, 0) is Hold.BUSY
        assert results == []
    waiter.join(BOUND)
    assert results == [Hold.HELD]


def test_one_thread_at_a_time_is_inside(store: TokenStore) -> None:
    def enter() -> tuple[Hold, Hold]:
        with store.lock(KEY, timeout=BOUND) as hold:
            return hold, elsewhere(store, KEY, 0)

    assert in_threads(6, enter) == [(Hold.HELD, Hold.BUSY)] * 6


def test_the_lock_of_one_identity_does_not_block_another(store: TokenStore) -> None:  # S49
    with store.lock(KEY, timeout=1):
        assert {elsewhere(store, key, 0) for key in OTHERS} == {Hold.HELD}


def test_a_lock_is_free_after_an_error_inside(store: TokenStore) -> None:
    with pytest.raises(LookupError), store.lock(KEY, timeout=1):
        raise LookupError
    assert elsewhere(store, KEY, 0) is Hold.HELD


def test_a_lock_that_can_be_lost_is_still_held_while_it_is_held(
    store: TokenStore, sibling: TokenStore
) -> None:
    if not isinstance(store, LeasedStore):
        assert isinstance(store, MemoryStore)
        return
    assert isinstance(sibling, LeasedStore)
    assert not store.still_held(KEY)
    with store.lock(KEY, timeout=1):
        assert store.still_held(KEY)
        assert not store.still_held(OTHERS[0])
        with sibling.lock(KEY, timeout=0):
            assert not sibling.still_held(KEY)
        assert store.still_held(KEY)
    assert not store.still_held(KEY)


def test_everything_works_under_the_lock(store: TokenStore, now: Instant) -> None:
    with store.lock(KEY, timeout=1) as hold:
        assert hold is Hold.HELD
        store.save(KEY, held(issued(now)))
        assert_same(store.load(KEY), held(issued(now)))
        store.save(KEY, Entry.of_revocation(int(now.wall)))
        assert token_in(store) is None


def test_everything_works_without_the_lock(store: TokenStore, now: Instant) -> None:  # F14
    with store.lock(KEY, timeout=1):

        def save() -> str | None:
            store.save(KEY, held(issued(now)))
            return token_in(store)

        assert in_threads(1, save) == [PLANTED]


# -- what others left ------------------------------------------------------------------------------


Medium = tuple[TokenStore, "Callable[[bytes], object]", "Callable[[], bytes]"]


@pytest.fixture(params=["file", "redis"])
def medium(request: pytest.FixtureRequest) -> Medium:
    """A store, and how its medium is written and read past it."""
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
    """`body` with a right checksum, which needs no key."""
    rest = {name: value for name, value in body.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return json.dumps({**rest, "checksum": hashlib.sha256(text.encode()).hexdigest()}).encode()


def test_a_newer_schema_is_said_once_and_never_overwritten(  # F11
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
    """`value` with the members that `changes` names replaced, at any depth."""
    if isinstance(value, list):
        return [crafted(each, changes) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: changes.get(name, crafted(each, changes)) for name, each in value.items()}


@pytest.mark.parametrize("changes", CRAFTS.values(), ids=CRAFTS.keys())
def test_a_crafted_entry_is_a_miss_said_once_and_replaced(  # S57, F10
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
    # a function of a user's own may return any text as a token
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
    """Opens one medium with the keys that it is given."""
    if request.param == "file":
        return partial(FileStore, request.getfixturevalue("tmp_path"))
    return partial(RedisStore, request.getfixturevalue("valkey").url)


def test_an_entry_that_no_key_opens_is_a_miss_said_once_and_replaced(
    sealing: Sealing, now: Instant, caplog: pytest.LogCaptureFixture
) -> None:
    for key in (None, Fernet.generate_key()):
        sealing(encryption_key=key).save(KEY, held(issued(now, value="planted-by-another")))
        store = sealing(encryption_key=SECRET)
        caplog.clear()
        assert [store.load(KEY), store.load(KEY)] == [None, None]
        [warning] = caplog.messages
        assert warning.endswith("is not used: no key given opens it")
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


def test_a_sealed_file_shows_nothing(tmp_path: Path, now: Instant) -> None:
    store = FileStore(tmp_path, encryption_key=SECRET)
    entry = held(issued(now, refresh_token="planted-refresh-token"))
    store.save(KEY, entry)
    assert_same(store.load(KEY), entry)
    assert b"planted" not in store.path(KEY).read_bytes()


# -- travelling and showing ------------------------------------------------------------------------


@pytest.mark.parametrize("store", OPEN, indirect=True)
def test_it_travels_as_its_configuration(store: TokenStore, now: Instant) -> None:  # F7
    store.save(KEY, held(issued(now, refresh_token="planted-refresh-token")))
    with store.lock(KEY, timeout=1):
        travelled = pickled(store)
    assert type(travelled) is type(store)
    assert PLANTED not in repr(vars(travelled))
    travelled.save(KEY, held(issued(now.after(1), value="later")))
    assert token_in(travelled) == "later"
    with travelled.lock(KEY, timeout=1) as hold:
        assert hold is Hold.HELD


@pytest.mark.parametrize("store", SEALED, indirect=True)
def test_its_key_never_travels_and_is_not_shown(store: TokenStore) -> None:  # S46, F7
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(store)
    assert SECRET.decode() not in repr(store)
    assert SECRET.decode() not in repr(vars(store))


def test_it_shows_no_token(store: TokenStore, now: Instant) -> None:  # S46
    store.save(KEY, held(issued(now, refresh_token="planted-refresh-token")))
    store.load(KEY)
    assert "planted" not in repr(store)
    assert "planted" not in str(store)
