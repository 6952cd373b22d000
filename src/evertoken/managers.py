"""TokenManagers: one manager per account, for a daemon that serves many of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cachetools import LRUCache, cached

from evertoken import mistakes
from evertoken.auth import BearerAuth
from evertoken.runtime import process

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from evertoken.core.token import Token
    from evertoken.engine.manager import TokenManager


@dataclass(frozen=True, slots=True)
class Account:
    """One account's way in.

    Attributes:
        auth: for `requests`; the same object for as long as the account is kept.
    """

    auth: BearerAuth

    @property
    def manager(self) -> TokenManager:
        """For all that is not a request: its token, its status, its revocation."""
        return self.auth.manager

    def token(self, *, timeout: float | None = None) -> Token:
        """A usable token, as `TokenManager.token` returns it."""
        return self.auth.manager.token(timeout=timeout)

    def header(self, *, timeout: float | None = None) -> str:
        """The value of `Authorization`, as `TokenManager.header` returns it."""
        return self.auth.manager.header(timeout=timeout)


class TokenManagers:
    """Managers by account, each made when its account is first asked for.

    Any number of threads may ask at once: each account's manager is made once, and a thread that
    asks for another account does not wait for it. A manager that is closed to make room still works
    for whoever holds it; one made anew takes its token from the process's memory or the store.

    ```python
    managers = TokenManagers(lambda name: squadrun.manager(username=name, password=PASSWORDS[name]))
    requests.get(url, auth=managers["acme"].auth, timeout=10)
    managers["acme"].token()
    ```

    Args:
        factory: makes the manager of an account, or the `BearerAuth` where its options matter. It
            must not ask this object for the account that it makes. What it raises, the caller gets.
        maxsize: accounts that are kept; beyond it the least recently used manager is closed. A
            `MemoryStore` keeps the tokens of 1,024 identities unless it is told otherwise.

    Raises:
        ValueError: `maxsize` is below 1.
        TypeError: `factory` is not a function, or returns neither; the error names the remedy.
    """

    def __init__(
        self, factory: Callable[[str], BearerAuth | TokenManager], *, maxsize: int = 1000
    ) -> None:
        if maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, not {maxsize}")
        mistakes.require_factory("factory", factory)
        self._factory = factory
        self._maxsize = maxsize
        self.renew_in_child()
        process.register(self)

    def renew_in_child(self) -> None:
        """Start over empty: the parent's cache may be in the middle of a change for ever.

        That costs no grant, since the process's memory has the tokens.
        """
        self._guard = threading.Condition()  # guards _accounts
        self._accounts = _Accounts(self._maxsize)
        self._account = cached(self._accounts, _by_name, condition=self._guard)(self._made)

    def __getitem__(self, account: str) -> Account:
        """The way in of `account`."""
        return self._account(account)

    def __contains__(self, account: object) -> bool:
        """Whether `account` has a manager now; asking does not make one."""
        with self._guard:
            return account in self._accounts

    def __len__(self) -> int:
        with self._guard:
            return len(self._accounts)

    def close(self) -> None:
        """Close all managers and let go of them; never waits for a renewal."""
        with self._guard:
            while self._accounts:
                self._accounts.popitem()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TokenManagers: {len(self)} of {self._maxsize} accounts>"

    def _made(self, account: str) -> Account:
        made = self._factory(account)
        return Account(made if isinstance(made, BearerAuth) else BearerAuth(made))


class _Accounts(LRUCache[str, Account]):
    """Closes the manager of an account that leaves."""

    def popitem(self) -> tuple[str, Account]:
        """Remove the least recently used account."""
        name, account = super().popitem()
        account.manager.close()
        return name, account


def _by_name(account: str) -> str:
    return account
