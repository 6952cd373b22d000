"""TokenManagers: one manager and one grant per account, however many threads ask."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from evertoken import BearerAuth, MemoryStore, Token, TokenKey, TokenManager
from evertoken.managers import TokenManagers
from support.forks import in_child

IDENTITIES = 1000
THREADS = 32


@dataclass
class CountedGrant:
    """A grant that answers at once with a token that names its account, and counts requests."""

    account: str
    asked: Counter[str] = field(default_factory=Counter)
    token_url: str = "https://id.example.com/oauth/token/"

    @property
    def key(self) -> TokenKey:
        return TokenKey(self.token_url, "client", self.account)

    def request(self) -> Token:
        self.asked[self.account] += 1
        now = time.time()
        return Token(f"token-of-{self.account}", now, now + 3600)

    def revoke(self, token: Token) -> None:
        raise AssertionError(token)

    def credentials_tag(self, salt: bytes) -> bytes:
        return salt


@dataclass
class Factory:
    """Makes managers with a `CountedGrant`, and remembers them."""

    memory: MemoryStore = field(default_factory=MemoryStore)
    asked: Counter[str] = field(default_factory=Counter)
    made: list[tuple[str, TokenManager]] = field(default_factory=list)

    def __call__(self, account: str) -> TokenManager:
        manager = TokenManager(CountedGrant(account, self.asked), memory=self.memory)
        self.made.append((account, manager))
        return manager


def closed(manager: TokenManager) -> bool:
    return manager._closed


class TestManyThreads:
    def test_get_one_manager_and_one_grant_for_each_of_a_thousand_accounts(self) -> None:
        factory = Factory()
        accounts = [f"account-{number}" for number in range(IDENTITIES)]
        start = threading.Barrier(THREADS)

        def visit(seed: int) -> Counter[str]:
            mine = random.Random(seed).sample(accounts, IDENTITIES)  # noqa: S311  an order
            start.wait()
            return Counter({name: managers[name].manager.header() for name in mine})

        with TokenManagers(factory) as managers, ThreadPoolExecutor(THREADS) as pool:
            seen = list(pool.map(visit, range(THREADS)))

        assert sorted(name for name, _ in factory.made) == sorted(accounts)
        assert factory.asked == dict.fromkeys(accounts, 1)
        # S49
        assert all(seen[0] == one for one in seen)
        assert seen[0] == {name: f"Bearer token-of-{name}" for name in accounts}

    def test_that_ask_at_once_get_the_same_one(self) -> None:
        both, made = threading.Barrier(2), Factory()

        def factory(account: str) -> TokenManager:
            # passes at once if two threads get here, which must not happen
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(0.5)
            return made(account)

        managers = TokenManagers(factory)
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(managers.__getitem__, ["acme", "acme"])

        assert first is second
        assert len(made.made) == 1

    def test_do_not_wait_for_another_accounts_manager(self) -> None:
        entered, leave = threading.Event(), threading.Event()
        fast = Factory()

        def factory(account: str) -> TokenManager:
            if account == "slow":
                entered.set()
                assert leave.wait(30)
            return fast(account)

        with TokenManagers(factory) as managers, ThreadPoolExecutor(2) as pool:
            slow = pool.submit(lambda: managers["slow"])
            assert entered.wait(30)
            try:
                quick = pool.submit(lambda: managers["quick"]).result(timeout=30)
            finally:
                leave.set()

            assert quick is managers["quick"]
            assert slow.result(timeout=30) is managers["slow"]


class TestAccount:
    def test_keeps_its_auth(self) -> None:
        with TokenManagers(Factory()) as managers:
            assert managers["acme"].auth is managers["acme"].auth
            assert managers["acme"].manager is managers["acme"].auth.manager

    def test_has_the_auth_that_the_factory_made(self) -> None:
        auth = BearerAuth(Factory()("acme"), retry_statuses=(401, 403))

        assert TokenManagers(lambda _: auth)["acme"].auth is auth

    def test_provides_its_token(self) -> None:
        managers = TokenManagers(Factory())

        assert managers["acme"].token(timeout=5).value == "token-of-acme"
        assert managers["acme"].header() == "Bearer token-of-acme"

    def test_provides_its_token_to_a_task(self) -> None:
        managers = TokenManagers(Factory())

        async def both() -> tuple[str, str]:
            token = await managers["acme"].atoken(timeout=5)
            return token.value, await managers["acme"].aheader(timeout=5)

        assert asyncio.run(both()) == ("token-of-acme", "Bearer token-of-acme")

    def test_is_not_made_by_a_membership_test(self) -> None:
        factory = Factory()
        managers = TokenManagers(factory)

        assert "acme" not in managers
        assert factory.made == []
        _ = managers["acme"]
        assert "acme" in managers

    def test_whose_factory_failed_is_tried_again(self) -> None:
        known: dict[str, TokenManager] = {}
        managers = TokenManagers(known.__getitem__)
        with pytest.raises(KeyError, match="acme"):
            _ = managers["acme"]

        known["acme"] = Factory()("acme")
        assert managers["acme"].manager.header() == "Bearer token-of-acme"


class TestRoom:
    def test_is_made_by_closing_the_least_recently_used_manager(self) -> None:
        factory = Factory()
        managers = TokenManagers(factory, maxsize=2)
        for account in ("a", "b", "a", "c"):
            _ = managers[account]

        assert {name: closed(manager) for name, manager in factory.made} == {
            "a": False,
            "b": True,
            "c": False,
        }
        assert len(managers) == 2

    def test_made_by_eviction_costs_no_second_grant(self) -> None:
        factory = Factory()
        managers = TokenManagers(factory, maxsize=1)
        for account in ("a", "b", "a"):
            assert managers[account].manager.header() == f"Bearer token-of-{account}"

        assert [name for name, _ in factory.made] == ["a", "b", "a"]
        assert factory.asked == {"a": 1, "b": 1}

    def test_is_at_least_one(self) -> None:
        with pytest.raises(ValueError, match="at least 1, not 0"):
            TokenManagers(Factory(), maxsize=0)


def test_the_end_closes_all_managers() -> None:
    factory = Factory()
    with TokenManagers(factory) as managers:
        _ = managers["a"], managers["b"]

    assert [closed(manager) for _, manager in factory.made] == [True, True]
    assert len(managers) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_a_manager_is_made_makes_its_own() -> None:  # F2
    entered, leave = threading.Event(), threading.Event()
    parent = os.getpid()
    plain = Factory()

    def factory(account: str) -> TokenManager:
        if os.getpid() == parent:
            entered.set()
            assert leave.wait(30)
        return plain(account)

    managers = TokenManagers(factory)
    maker = threading.Thread(target=lambda: managers["acme"])
    maker.start()
    assert entered.wait(30)
    try:
        header = in_child(lambda: managers["acme"].manager.header(timeout=20), within=25)
        assert header == "Bearer token-of-acme"
    finally:
        leave.set()
        maker.join(30)


def test_its_repr_shows_how_full_it_is() -> None:
    managers = TokenManagers(Factory(), maxsize=5)
    _ = managers["acme"]

    assert repr(managers) == "<TokenManagers: 1 of 5 accounts>"
