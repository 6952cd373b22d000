"""A bearer token that is always fresh: for `requests`, across threads and processes.

Names are loaded at their first use: `--help` and a process that only forks load no HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evertoken import squadrun
    from evertoken.auth import BearerAuth
    from evertoken.core.policy import RefreshPolicy
    from evertoken.core.token import Token, TokenKey
    from evertoken.engine.manager import TokenManager
    from evertoken.errors import (
        ConfigurationError,
        GrantRefused,
        GrantUnavailable,
        InsecureURL,
        InvalidTokenResponse,
        RefreshTimeout,
        RevocationFailed,
        TokenError,
    )
    from evertoken.grants.client_credentials import ClientCredentialsGrant
    from evertoken.grants.function import FunctionGrant
    from evertoken.grants.password import PasswordGrant
    from evertoken.grants.refresh_token import RefreshTokenGrant
    from evertoken.managers import TokenManagers
    from evertoken.status import Status
    from evertoken.stores.file import FileStore
    from evertoken.stores.memory import MemoryStore

    __version__: str

__all__ = [
    "BearerAuth",
    "ClientCredentialsGrant",
    "ConfigurationError",
    "FileStore",
    "FunctionGrant",
    "GrantRefused",
    "GrantUnavailable",
    "InsecureURL",
    "InvalidTokenResponse",
    "MemoryStore",
    "PasswordGrant",
    "RefreshPolicy",
    "RefreshTimeout",
    "RefreshTokenGrant",
    "RevocationFailed",
    "Status",
    "Token",
    "TokenError",
    "TokenKey",
    "TokenManager",
    "TokenManagers",
    "squadrun",
]

_MODULES = {
    "auth": ["BearerAuth"],
    "errors": [
        "ConfigurationError",
        "GrantRefused",
        "GrantUnavailable",
        "InsecureURL",
        "InvalidTokenResponse",
        "RefreshTimeout",
        "RevocationFailed",
        "TokenError",
    ],
    "grants.client_credentials": ["ClientCredentialsGrant"],
    "grants.function": ["FunctionGrant"],
    "grants.password": ["PasswordGrant"],
    "grants.refresh_token": ["RefreshTokenGrant"],
    "engine.manager": ["TokenManager"],
    "managers": ["TokenManagers"],
    "core.policy": ["RefreshPolicy"],
    "status": ["Status"],
    "stores.file": ["FileStore"],
    "stores.memory": ["MemoryStore"],
    "core.token": ["Token", "TokenKey"],
}


# hidden from type checkers, which read the imports above and so find misspelt names
if not TYPE_CHECKING:  # pragma: no branch

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return globals().setdefault(name, _version())
        homes = (home for home, names in _MODULES.items() if name in names)
        home = name if name == "squadrun" else next(homes, None)
        if home is None:
            raise AttributeError(f"module 'evertoken' has no attribute {name!r}")
        from evertoken.runtime.lazy import loading  # noqa: PLC0415  imports threading

        with loading:
            module = import_module(f"evertoken.{home}")
        value = globals()[name] = module if home == name else getattr(module, name)
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def _version() -> str:
    """The version of the installed package; its metadata is read when it is asked for."""
    from importlib.metadata import version  # noqa: PLC0415  it loads as much as all the rest

    return version(__name__)
