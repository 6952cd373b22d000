"""Errors for arguments of the wrong type, with a remedy for common mistakes.

They show only the types of values: a value may hold a secret.
"""

from __future__ import annotations

import os

_REMEDIES = {
    ("grant", "TokenManager"): "use that manager itself",
    ("grant", "BearerAuth"): "use its manager, `auth.manager`",
    ("store", "str"): "use FileStore(path), or RedisStore(url)",
    ("manager", "BearerAuth"): "use that auth itself",
    ("manager", "PreparedRequest"): "give auth= an instance, BearerAuth(manager), not the class",
    ("memory", "FileStore"): "give it as store=",
    ("memory", "RedisStore"): "give it as store=",
    ("directory", "FileStore"): "use that store itself",
    ("factory", "TokenManager"): "use a function that makes the manager of the account it is given",
}
"""The remedies, by parameter and type of the argument."""

_WANTED = {
    "grant": "a grant, such as PasswordGrant(…)",
    "store": "a store",
    "memory": "a MemoryStore",
    "policy": "a RefreshPolicy",
    "manager": "a TokenManager",
    "directory": "the path of a folder",
    "factory": "a function that takes the name of an account",
}
"""The expected argument, by parameter."""


def require(parameter: str, value: object, *members: str) -> None:
    """Check that `value` is an instance with these attributes.

    Raises:
        TypeError: it is not; the error names the remedy for a common mistake.
    """
    if isinstance(value, type) or not all(hasattr(value, name) for name in members):
        raise _unfit(parameter, value)


def require_path(parameter: str, value: object) -> None:
    """Check that `value` is a path.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, str | os.PathLike):
        raise _unfit(parameter, value)


def require_factory(parameter: str, value: object) -> None:
    """Check that `value` can be called, and is not a manager, which raises if called.

    Raises:
        TypeError: it is something else.
    """
    if not callable(value) or hasattr(value, "renewer"):
        raise _unfit(parameter, value)


def _unfit(parameter: str, value: object) -> TypeError:
    """The error for a `value` that `parameter` does not accept."""
    wanted = f"{parameter} must be {_WANTED[parameter]}"
    if isinstance(value, type):
        return TypeError(f"{wanted}, not the class {value.__name__}: give an instance of it")
    kind = "text" if isinstance(value, str) else f"an object of type {type(value).__name__}"
    remedy = _remedy(parameter, value)
    return TypeError(f"{wanted}, not {kind}{remedy and ': '}{remedy}")


def _remedy(parameter: str, value: object) -> str:
    if parameter == "manager" and hasattr(value, "credentials_tag"):
        return "use TokenManager(grant)"
    kinds = (kind.__name__ for kind in type(value).__mro__)
    known = (_REMEDIES[parameter, name] for name in kinds if (parameter, name) in _REMEDIES)
    return next(known, "")
