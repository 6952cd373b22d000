"""Modules that are imported at their first use, under a lock that a fork waits for."""

from __future__ import annotations

# Imported first, so that its fork hook runs last (hooks before a fork run in reverse order).
# Otherwise a fork could wait, holding logging's lock, for an import that waits for logging's lock.
import logging as logging  # noqa: PLC0414  see below
import os
import threading
from importlib import import_module
from types import ModuleType

# Reentrant, since an import may cause further lazy imports.
loading: threading.RLock = threading.RLock()
"""Held during every lazy import, and during a fork.

Otherwise a forked child would wait forever for a module that a thread of the parent was importing.
"""


class _Later(ModuleType):
    """A placeholder for a module, which it imports when an attribute is first used."""

    def __getattr__(self, attribute: str) -> object:
        with loading:
            module = import_module(self.__name__)
        return getattr(module, attribute)


def lazy(name: str) -> ModuleType:
    """The module `name`, imported when one of its attributes is first used."""
    return _Later(name)


if hasattr(os, "register_at_fork"):
    # the forking thread holds the lock, and in the child that thread releases it
    os.register_at_fork(
        before=loading.acquire,
        after_in_parent=loading.release,
        after_in_child=loading.release,
    )
