"""TokenManagers: one manager per account, for a daemon that serves many accounts."""

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
    """The auth and the manager of one account.

    Attributes:
        auth: for `requests`; the same object as long as the account is kept.
    """

    auth: BearerAuth

    @property
    def manager(self) -> TokenManager:
        """The manager of `auth`, for its token, status and revocation."""
        return self.auth.manager

    def token(self, *, timeout: float | None = None) -> Token:
        """A usable token, as `TokenManager.token` returns it."""
        return self.auth.manager.token(timeout=timeout)

    def header(self, *, timeout: float | None = None) -> str:
        """The value of `Authorization`, as `TokenManager.header` returns it."""
        return self.auth.manager.header(timeout=timeout)

    async def atoken(self, *, timeout: float | None = None) -> Token:
        """A usable token, as `TokenManager.atoken` returns it."""
        return await self.auth.manager.atoken(timeout=timeout)

    async def aheader(self, *, timeout: float | None = None) -> str:
        """The value of `Authorization`, as `TokenManager.aheader` returns it."""
        return await self.auth.manager.aheader(timeout=timeout)


class TokenManagers:
    """Managers by account, each made at its first use.

    It is thread-safe: each account's manager is made once, and calls for other accounts do not wait
    for it. A manager that was closed to make room still works for code that holds it. If the
    account is used again, a new manager takes its token from the process's memory or the store.

    ```python
    import requests
    from evertoken import TokenManagers, squadrun

    passwords = {"acme": "a-password"}
    managers = TokenManagers(lambda name: squadrun.auth(username=name, password=passwords[name]))
    url = "https://app.squadrun.co/api/v4/leads/responses/7/"
    requests.get(url, auth=managers["acme"].auth, timeout=10)
    managers["acme"].token()
    ```

    Args:
        factory: makes the manager of an account, or a `BearerAuth` with options. It must not ask
            this object for the same account. Its exceptions reach the caller.
        maxsize: the number of accounts to keep; if there are more, the least recently used manager
            is closed. A `MemoryStore` keeps 1,024 identities by default.

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
        """Start empty: a thread of the parent may have been changing the cache.

        That costs no grant, since the process's memory has the tokens.
        """
        self._guard = threading.Condition()  # guards _accounts
        self._accounts = _Accounts(self._maxsize)
        self._account = cached(self._accounts, _by_name, condition=self._guard)(self._made)

    def __getitem__(self, account: str) -> Account:
        """The auth and the manager of `account`, made if necessary."""
        return self._account(account)

    def __contains__(self, account: object) -> bool:
        """Whether `account` has a manager now. Does not make one."""
        with self._guard:
            return account in self._accounts

    def __len__(self) -> int:
        with self._guard:
            return len(self._accounts)

    def close(self) -> None:
        """Close and drop all managers. Does not wait for a renewal."""
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
    """An LRU cache that closes the manager of an evicted account."""

    def popitem(self) -> tuple[str, Account]:
        """Remove the least recently used account."""
        name, account = super().popitem()
        account.manager.close()
        return name, account


def _by_name(account: str) -> str:
    return account
