"""Which peers there are, and which of them are installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.peer import Peer

FLOOR = "static_header"
SUBJECT = "ever"

NAMES = (
    FLOOR,
    SUBJECT,
    "by_hand",
    "ttl_cache",
    "oauthlib",
    "authlib_session",
    "google",
    "google_ahead",
    "oauth2client",
    "requests_auth_file",
    "msal_file",
    "botocore_file",
)
"""One module each, in the order of the tables."""


def load(name: str) -> Peer:
    """The peer of the module `name`.

    Raises:
        ImportError: what it drives is not installed.
    """
    peer: Peer = import_module(f"benchmarks.peers.{name}").PEER
    return peer


def load_all() -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that are installed, and for each of the others why it is not there."""
    peers: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in NAMES:
        try:
            peers[name] = load(name)
        except ImportError as error:
            missing[name] = str(error)
    return peers, missing
