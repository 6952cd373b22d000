"""What belongs to one process: its lot for jitter, and what a forked child must renew."""

from __future__ import annotations

import os
import random
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Holds locks or threads that do not survive a fork."""

    def renew_in_child(self) -> None:
        """Replace them: the thread that held or was one exists in the parent only."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
_lot = random.random()  # noqa: S311  it spreads load, it guards nothing


def lot() -> float:
    """This process's draw in [0, 1): processes that started together renew apart."""
    return _lot


def register(forkable: Forkable) -> None:
    """Have `forkable` renewed in each forked child, for as long as it lives."""
    _forkables.add(forkable)


def _renew_in_child() -> None:
    global _lot  # noqa: PLW0603  one draw per process is what it is
    # a child inherits the parent's generator, and would draw what its siblings draw
    _lot = random.SystemRandom().random()
    for forkable in tuple(_forkables):
        forkable.renew_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
