"""What belongs to one process: its share of jitter, and what a forked child must renew."""

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
_jitter_fraction = random.random()  # noqa: S311  it spreads load, it guards nothing


def jitter_fraction() -> float:
    """This process's own number in [0, 1): processes that started together renew apart."""
    return _jitter_fraction


def register(forkable: Forkable) -> None:
    """Have `forkable` renewed in each forked child, for as long as it lives."""
    _forkables.add(forkable)


def _renew_in_child() -> None:
    global _jitter_fraction  # noqa: PLW0603  there is one per process
    # a child inherits the parent's generator, and would draw what its siblings draw
    _jitter_fraction = random.SystemRandom().random()
    for forkable in tuple(_forkables):
        forkable.renew_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
