"""What keeps a grant from being pickled, and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.grants.additions import literal_secrets

if TYPE_CHECKING:
    from evertoken.grants.token_endpoint import TokenEndpoint


def obstacle(literal: list[str], endpoint: TokenEndpoint) -> str:
    """Why a grant at `endpoint` does not pickle, as the rest of a sentence; empty if it does.

    Args:
        literal: the names of its secrets that were given as text.
        endpoint: the server's.
    """
    literal = [*literal, *(f"header {name}" for name in literal_secrets(endpoint.headers))]
    if literal:
        return (
            f"with its {' and '.join(literal)} as text does not pickle, so that no secret travels "
            "by accident: give a callable that another process can call too, or set the SQUADRUN_* "
            "variables and use evertoken.squadrun"
        )
    if any("@" in url for _, url in endpoint.proxies):
        return (
            "with a login in its proxies does not pickle, so that no secret travels by accident: "
            "set HTTPS_PROXY where it is unpickled"
        )
    if hasattr(endpoint.verify, "wrap_socket"):
        return (
            "with an SSLContext does not pickle: give verify the path of a CA bundle, or give "
            "transport a function that makes a session with an adapter for the context"
        )
    return ""
