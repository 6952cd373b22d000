"""Modules that wait until they are needed; a fork waits for an import that is under way."""

from __future__ import annotations

# first: hooks before a fork run in reverse order of registration, and a fork that held the lock of
# `logging` would wait for an import that waits for that lock
import logging as logging  # noqa: PLC0414  as said
import os
import threading
from importlib import import_module
from types import ModuleType

# Reentrant, since what is imported may import more of its kind.
loading = threading.RLock()
"""Held during every import that a call brings about, and by whoever forks.

A forked child would wait for ever for a module whose import a thread of the parent had begun.
"""


class _Later(ModuleType):
    """Stands for the module of its name, which is imported at the first use of an attribute."""

    def __getattr__(self, attribute: str) -> object:
        with loading:
            module = import_module(self.__name__)
        return getattr(module, attribute)


def lazy(name: str) -> ModuleType:
    """The module `name`, imported when one of its attributes is first asked for."""
    return _Later(name)


if hasattr(os, "register_at_fork"):
    # the thread that forks is the one that holds it, in the child too
    os.register_at_fork(
        before=loading.acquire,
        after_in_parent=loading.release,
        after_in_child=loading.release,
    )
