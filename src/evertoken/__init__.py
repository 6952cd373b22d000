"""A bearer token that is always fresh: for `requests`, across threads, processes and machines."""

from evertoken import squadrun
from evertoken.auth import BearerAuth
from evertoken.errors import (
    GrantRefused,
    GrantUnavailable,
    InsecureURL,
    InvalidTokenResponse,
    RefreshTimeout,
    RevocationFailed,
    TokenError,
)
from evertoken.grants.password import PasswordGrant
from evertoken.manager import TokenManager
from evertoken.policy import RefreshPolicy
from evertoken.status import Status
from evertoken.stores.file import FileStore
from evertoken.stores.memory import MemoryStore
from evertoken.token import Token, TokenKey

__all__ = [
    "BearerAuth",
    "FileStore",
    "GrantRefused",
    "GrantUnavailable",
    "InsecureURL",
    "InvalidTokenResponse",
    "MemoryStore",
    "PasswordGrant",
    "RefreshPolicy",
    "RefreshTimeout",
    "RevocationFailed",
    "Status",
    "Token",
    "TokenError",
    "TokenKey",
    "TokenManager",
    "squadrun",
]
