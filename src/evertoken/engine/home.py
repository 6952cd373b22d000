"""The store that keeps the login of an exclusive grant, checked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.errors import ConfigurationError

if TYPE_CHECKING:
    from evertoken.ports import Grant, TokenStore


def check(grant: Grant, store: TokenStore | None) -> None:
    """Check that `store` can keep the login of `grant`.

    Raises:
        ConfigurationError: there is none, or a sibling could take its lock during a request.
    """
    if store is None:
        raise ConfigurationError(
            f"a {type(grant).__name__} needs a store, as FileStore or RedisStore are: each renewal "
            "replaces the refresh token, and in memory alone its successor ends with the process"
        )
    lease, deadline = _seconds(store, "lease"), _seconds(grant, "deadline")
    if lease is not None and deadline is not None and lease <= deadline:
        raise ConfigurationError(
            f"the lease of the store ({lease:g} s) must be longer than the deadline of the grant "
            f"({deadline:g} s): another process could spend the refresh token during a request"
        )


def _seconds(of: object, name: str) -> float | None:
    value: object = getattr(of, name, None)
    return float(value) if isinstance(value, int | float) else None
