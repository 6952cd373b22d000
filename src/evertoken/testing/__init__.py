"""A token server on loopback with faults on demand, and contracts for stores and grants.

Names are loaded at their first use: pytest imports this package in every project that has evertoken
installed, and must not load an HTTP server there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evertoken.testing.answers import Answer, Behaviour, Exchange, Usual
    from evertoken.testing.endpoint import Endpoint
    from evertoken.testing.faults import (
        Cut,
        Delay,
        Drip,
        EarlyHints,
        Endless,
        Gzip,
        Hang,
        Raw,
        Reset,
    )
    from evertoken.testing.grant_contract import GrantContract
    from evertoken.testing.plugin import FrozenTimeManager
    from evertoken.testing.record import Recorded
    from evertoken.testing.server import TokenServer
    from evertoken.testing.store_contract import StoreContract

__all__ = [
    "Answer",
    "Behaviour",
    "Cut",
    "Delay",
    "Drip",
    "EarlyHints",
    "Endless",
    "Endpoint",
    "Exchange",
    "FrozenTimeManager",
    "GrantContract",
    "Gzip",
    "Hang",
    "Raw",
    "Recorded",
    "Reset",
    "StoreContract",
    "TokenServer",
    "Usual",
]

_MODULES = {
    "answers": {"Answer", "Behaviour", "Exchange", "Usual"},
    "endpoint": {"Endpoint"},
    "faults": {"Cut", "Delay", "Drip", "EarlyHints", "Endless", "Gzip", "Hang", "Raw", "Reset"},
    "grant_contract": {"GrantContract"},
    "plugin": {"FrozenTimeManager"},
    "record": {"Recorded"},
    "server": {"TokenServer"},
    "store_contract": {"StoreContract"},
}


# hidden from type checkers, which read the imports above and so find misspelt names
if not TYPE_CHECKING:  # pragma: no branch

    def __getattr__(name: str) -> object:
        for home, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{home}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
