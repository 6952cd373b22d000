"""What every store does: the specification of `ports.TokenStore`.

Times are those of the real clocks, since stores read them.
"""

from __future__ import annotations

import pickle
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from redis import RedisCluster

from evertoken import FileStore, MemoryStore, RefreshPolicy, Token, TokenKey, clock
from evertoken.ports import TokenStore
from evertoken.stores.redis import RedisStore
from evertoken.token import Mark, Refusal, token_of
from support.fleet import BOUND, in_threads
from support.valkey import Valkey, cluster_of
from support.values import DAY, HOUR, KEY, PLANTED, content, issued, outage, pickled, refusal, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken.core.instant import Instant
    from evertoken.token import Entry

    Sealing = Callable[..., TokenStore]

SECRET = Fernet.generate_key()

MAKERS: dict[str, Callable[[pytest.FixtureRequest], TokenStore]] = {
    "memory": lambda _: MemoryStore(),
    "file": lambda request: FileStore(request.getfixturevalue("tmp_path")),
    "redis": lambda request: RedisStore(request.getfixturevalue("valkey").url),
    "cluster": lambda request: RedisStore(request.getfixturevalue("cluster")),
    "sealed file": lambda request: FileStore(
        request.getfixturevalue("tmp_path"), encryption_key=SECRET
    ),
    "sealed redis": lambda request: RedisStore(
        request.getfixturevalue("valkey").url, encryption_key=SECRET
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
def now() -> Instant:
    return clock.now()


# -- load and save ---------------------------------------------------------------------------------


def test_it_is_a_store_with_a_name(store: TokenStore) -> None:
    assert isinstance(store, TokenStore)
    assert isinstance(getattr(store, "name", None), str)


def test_what_is_unknown_is_none(store: TokenStore) -> None:
    assert store.load(KEY) is None


def test_a_token_comes_back_as_it_was(store: TokenStore, now: Instant) -> None:
    for reading in (True, False):
        token = issued(now, value=f"dated: {reading}", refresh_token="refresh", reading=reading)
        token = replace(token, scope="read write")
        store.save(KEY, token)
        assert content(store.load(KEY)) == content(token)


@pytest.mark.parametrize("lifetime", [5.0, HOUR, 365 * DAY])
def test_short_and_long_lives_come_back(store: TokenStore, now: Instant, lifetime: float) -> None:
    token = issued(now, lifetime=lifetime)
    store.save(KEY, token)
    assert store.load(KEY) == token


def test_a_token_of_512_kib_comes_back_as_it_was(store: TokenStore, now: Instant) -> None:  # S21
    token = issued(now, value="x" * (512 * 1024))
    store.save(KEY, token)
    assert store.load(KEY) == token


def test_a_refusal_comes_back_as_it_was(store: TokenStore, now: Instant) -> None:  # S48
    entry = refusal(now)
    store.save(KEY, entry)
    assert content(store.load(KEY)) == content(entry)


def test_a_refusal_carries_the_live_token_along(store: TokenStore, now: Instant) -> None:
    token = issued(now, refresh_token="refresh")
    store.save(KEY, token)
    entry = outage(now, token=token)
    store.save(KEY, entry)
    assert content(store.load(KEY)) == content(entry)


def test_identities_never_cross(store: TokenStore, now: Instant) -> None:  # S49
    store.save(KEY, issued(now))
    assert [store.load(key) for key in OTHERS] == [None] * len(OTHERS)
    for number, key in enumerate(OTHERS):
        store.save(key, issued(now, value=f"other-{number}"))
    store.forget(OTHERS[0], issued(now, value="other-0"))
    assert token_of(store.load(OTHERS[0])) is None
    assert store.load(KEY) == issued(now)
    for number, key in enumerate(OTHERS[1:], start=1):
        assert store.load(key) == issued(now, value=f"other-{number}")


# -- which entry stays -----------------------------------------------------------------------------


def earlier(now: Instant, value: str = "earlier") -> Token:
    return issued(now.after(-600), value=value)


def test_a_later_token_replaces_an_earlier_one(store: TokenStore, now: Instant) -> None:
    store.save(KEY, earlier(now))
    store.save(KEY, issued(now))
    assert store.load(KEY) == issued(now)


@pytest.mark.parametrize("carrying", [True, False], ids=["a refusal with it", "the token"])
def test_a_later_token_is_never_lost_to_an_earlier_one(  # F15
    store: TokenStore, now: Instant, *, carrying: bool
) -> None:
    store.save(KEY, issued(now))
    late = earlier(now)
    store.save(KEY, outage(now, token=late) if carrying else late)
    assert store.load(KEY) == issued(now)


def test_of_many_savers_the_one_with_the_latest_token_wins(  # F15
    store: TokenStore, now: Instant
) -> None:
    turns = iter(range(8))

    def save() -> None:
        number = next(turns)
        store.save(KEY, issued(now.after(-number), value=f"token-{number}"))

    assert in_threads(8, save) == [None] * 8
    assert store.load(KEY) == issued(now, value="token-0")


def test_a_live_token_is_not_lost_to_a_refusal_without_one(store: TokenStore, now: Instant) -> None:
    store.save(KEY, issued(now))
    store.save(KEY, refusal(now))
    assert store.load(KEY) == issued(now)


def test_a_token_ends_the_refusal_before_it(store: TokenStore, now: Instant) -> None:
    store.save(KEY, refusal(now))
    store.save(KEY, issued(now))
    assert store.load(KEY) == issued(now)


def usable(entry: Entry | None, now: Instant) -> bool:
    token = token_of(entry)
    return token is not None and RefreshPolicy().usable(token, now)


def test_an_expired_token_is_gone_or_gives_way(store: TokenStore, now: Instant) -> None:
    store.save(KEY, issued(now.after(-10), value="expired", lifetime=5))
    assert not usable(store.load(KEY), now)
    store.save(KEY, earlier(now, "live"))
    assert store.load(KEY) == earlier(now, "live")


def test_an_expired_token_gives_way_to_a_refusal(store: TokenStore, now: Instant) -> None:
    store.save(KEY, issued(now.after(-10), value="expired", lifetime=5))
    store.save(KEY, refusal(now))
    assert content(store.load(KEY)) == content(refusal(now))


def test_a_token_from_the_future_is_not_trusted_and_gives_way(  # F16
    store: TokenStore, now: Instant
) -> None:
    store.save(KEY, issued(now.after(DAY), value="future"))
    assert not usable(store.load(KEY), now)
    store.save(KEY, issued(now))
    assert store.load(KEY) == issued(now)


def test_a_token_of_more_than_a_year_gives_way(store: TokenStore, now: Instant) -> None:  # F16
    store.save(KEY, issued(now, value="century", lifetime=36500 * DAY))
    assert not usable(store.load(KEY), now)
    store.save(KEY, earlier(now))
    assert store.load(KEY) == earlier(now)


# -- forgetting ------------------------------------------------------------------------------------


def test_a_forgotten_token_leaves_a_mark_and_never_comes_back(  # S41
    store: TokenStore, now: Instant
) -> None:
    token = issued(now)
    store.save(KEY, token)
    store.forget(KEY, token)
    mark = store.load(KEY)
    assert isinstance(mark, Refusal)
    assert (mark.token, mark.error, mark.forgets) == (None, None, Mark.of(token))
    store.save(KEY, token)
    store.save(KEY, outage(now, token=token))
    assert store.load(KEY) == mark


def test_a_token_is_forgotten_that_the_store_never_had(store: TokenStore, now: Instant) -> None:
    store.forget(KEY, issued(now))
    mark = store.load(KEY)
    assert isinstance(mark, Refusal)
    assert mark.forgets == Mark.of(issued(now))


@pytest.mark.parametrize("carrying", [True, False], ids=["in a refusal", "alone"])
def test_forgetting_compares(  # S41
    store: TokenStore, now: Instant, *, carrying: bool
) -> None:
    held = outage(now, token=issued(now)) if carrying else issued(now)
    store.save(KEY, held)
    store.forget(KEY, earlier(now))
    assert content(store.load(KEY)) == content(held)


def test_a_later_token_follows_a_forgotten_one(store: TokenStore, now: Instant) -> None:
    store.save(KEY, earlier(now))
    store.forget(KEY, earlier(now))
    store.save(KEY, issued(now))
    assert store.load(KEY) == issued(now)


def test_forgetting_keeps_the_refusal_that_carried_the_token(  # S48
    store: TokenStore, now: Instant
) -> None:
    entry = refusal(now, token=issued(now))
    store.save(KEY, entry)
    store.forget(KEY, issued(now))
    kept = store.load(KEY)
    assert isinstance(kept, Refusal)
    assert content(kept) == content(replace(entry, token=None, forgets=Mark.of(issued(now))))
    assert told(kept.error) == told(entry.error)


# -- locks -----------------------------------------------------------------------------------------


def elsewhere(store: TokenStore, key: TokenKey, timeout: float) -> bool:
    """Whether another thread has the lock within `timeout` seconds."""

    def try_it() -> bool:
        with store.lock(key, timeout=timeout) as held:
            return held

    (held,) = in_threads(1, try_it)
    assert isinstance(held, bool)
    return held


def test_a_lock_is_free_at_first_and_again_afterwards(store: TokenStore) -> None:
    for _ in range(3):
        with store.lock(KEY, timeout=0) as held:
            assert held
    assert elsewhere(store, KEY, 0)


@pytest.mark.parametrize("timeout", [0.0, 0.05])
def test_a_lock_is_not_had_while_another_thread_holds_it(store: TokenStore, timeout: float) -> None:
    with store.lock(KEY, timeout=1) as held:
        assert held
        assert not elsewhere(store, KEY, timeout)
        # who did not have it took nothing away
        assert not elsewhere(store, KEY, timeout)
    assert elsewhere(store, KEY, 0)


def test_who_waits_has_the_lock_when_it_is_released(store: TokenStore) -> None:
    results: list[bool] = []
    waiter = threading.Thread(
        target=lambda: results.append(elsewhere(store, KEY, BOUND)), daemon=True
    )
    with store.lock(KEY, timeout=1):
        waiter.start()
        assert not elsewhere(store, KEY, 0)
        assert results == []
    waiter.join(BOUND)
    assert results == [True]


def test_one_thread_at_a_time_is_inside(store: TokenStore) -> None:
    def enter() -> tuple[bool, bool]:
        with store.lock(KEY, timeout=BOUND) as held:
            return held, elsewhere(store, KEY, 0)

    assert in_threads(6, enter) == [(True, False)] * 6


def test_the_lock_of_one_identity_is_nothing_to_another(store: TokenStore) -> None:  # S49
    with store.lock(KEY, timeout=1):
        assert [elsewhere(store, key, 0) for key in OTHERS] == [True] * len(OTHERS)


def test_a_lock_is_free_after_an_error_inside(store: TokenStore) -> None:
    with pytest.raises(LookupError), store.lock(KEY, timeout=1):
        raise LookupError
    assert elsewhere(store, KEY, 0)


def test_under_the_lock_everything_works(store: TokenStore, now: Instant) -> None:
    with store.lock(KEY, timeout=1) as held:
        assert held
        store.save(KEY, issued(now))
        assert store.load(KEY) == issued(now)
        store.forget(KEY, issued(now))
        assert token_of(store.load(KEY)) is None


def test_without_the_lock_everything_works_too(store: TokenStore, now: Instant) -> None:  # F14
    with store.lock(KEY, timeout=1):

        def save() -> Entry | None:
            store.save(KEY, issued(now))
            return store.load(KEY)

        assert in_threads(1, save) == [issued(now)]


# -- sealing ---------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "redis"])
def sealing(request: pytest.FixtureRequest) -> Sealing:
    """Opens one medium with the keys that it is given."""
    if request.param == "file":
        return partial(FileStore, request.getfixturevalue("tmp_path"))
    return partial(RedisStore, request.getfixturevalue("valkey").url)


def test_what_no_key_opens_is_a_miss_said_once_and_replaced(
    sealing: Sealing, now: Instant, caplog: pytest.LogCaptureFixture
) -> None:
    for key in (None, Fernet.generate_key()):
        sealing(encryption_key=key).save(KEY, issued(now, value="planted by another"))
        store = sealing(encryption_key=SECRET)
        caplog.clear()
        assert [store.load(KEY), store.load(KEY)] == [None, None]
        [warning] = caplog.messages
        assert warning.endswith("is not used: no key given opens it")
        store.save(KEY, earlier(now))
        assert sealing(encryption_key=SECRET).load(KEY) == earlier(now)


def test_keys_rotate_without_a_miss(sealing: Sealing, now: Instant) -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key().decode()
    sealing(encryption_key=old).save(KEY, earlier(now))
    rotating = sealing(encryption_key=[new, old])
    assert rotating.load(KEY) == earlier(now)
    rotating.save(KEY, issued(now))
    assert sealing(encryption_key=new).load(KEY) == issued(now)
    assert sealing(encryption_key=old).load(KEY) is None


def test_a_sealed_file_shows_nothing(tmp_path: Path, now: Instant) -> None:
    store = FileStore(tmp_path, encryption_key=SECRET)
    store.save(KEY, issued(now, refresh_token="planted-refresh-token"))
    assert store.load(KEY) == issued(now, refresh_token="planted-refresh-token")
    assert b"planted" not in store.path(KEY).read_bytes()


# -- travelling and showing ------------------------------------------------------------------------


@pytest.mark.parametrize("store", OPEN, indirect=True)
def test_it_travels_as_its_configuration(store: TokenStore, now: Instant) -> None:  # F7
    store.save(KEY, issued(now, refresh_token="planted-refresh-token"))
    with store.lock(KEY, timeout=1):
        travelled = pickled(store)
    assert type(travelled) is type(store)
    assert PLANTED not in repr(vars(travelled))
    later = issued(now.after(1), value="later")
    travelled.save(KEY, later)
    assert travelled.load(KEY) == later
    with travelled.lock(KEY, timeout=1) as held:
        assert held


@pytest.mark.parametrize("store", SEALED, indirect=True)
def test_its_key_never_travels_and_is_not_shown(store: TokenStore) -> None:  # S46, F7
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(store)
    assert SECRET.decode() not in repr(store)
    assert SECRET.decode() not in repr(vars(store))


def test_it_shows_no_token(store: TokenStore, now: Instant) -> None:  # S46
    store.save(KEY, issued(now, refresh_token="planted-refresh-token"))
    store.load(KEY)
    assert "planted" not in repr(store)
    assert "planted" not in str(store)
