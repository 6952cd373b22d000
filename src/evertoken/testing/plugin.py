"""The pytest fixtures of `evertoken.testing`.

pytest loads this module in every project that has evertoken installed. It therefore imports only
pytest, and each fixture imports what it needs when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freezegun.api import FrozenDateTimeFactory

    from evertoken import TokenManager
    from evertoken.testing.server import TokenServer


# a failed rule shows the values that it compared; by itself pytest would not do that for a clone
pytest.register_assert_rewrite(
    "evertoken.testing.entries",
    "evertoken.testing.grant_contract",
    "evertoken.testing.store_contract",
    "evertoken.testing.store_entries",
    "evertoken.testing.store_joins",
    "evertoken.testing.store_locks",
)


class FrozenTimeManager(NamedTuple):
    """A manager, and control over the wall clock that it and the server read.

    Attributes:
        manager: a manager without a token.
        time: freezegun's handle; `time.tick(60)` moves the clock forward by 60 seconds.
    """

    manager: TokenManager
    time: FrozenDateTimeFactory


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    """A token server on loopback that grants, revokes, checks tokens, and fails on demand."""
    from evertoken.testing.server import TokenServer  # noqa: PLC0415  see the module's docstring

    with TokenServer() as server:
        yield server


@pytest.fixture
def token_manager(token_server: TokenServer) -> Iterator[TokenManager]:
    """A manager that uses `token_server`, and shares its token with no other test."""
    with _manager_of(token_server) as manager:
        yield manager


@pytest.fixture
def squadrun_environment(token_server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> TokenServer:
    """`token_server`, which code that calls `squadrun.auth()` or `squadrun.manager()` itself asks.

    The `SQUADRUN_*` variables name it and its account until the test ends, and no token folder.
    """
    for name in ("base_url", "client_id", "client_secret", "username", "password"):
        monkeypatch.setenv(f"SQUADRUN_{name.upper()}", getattr(token_server, name))
    monkeypatch.delenv("SQUADRUN_TOKEN_DIR", raising=False)
    return token_server


@pytest.fixture
def frozen_time_manager(token_server: TokenServer) -> Iterator[FrozenTimeManager]:
    """Like `token_manager`, with a wall clock that stands still until the test moves it."""
    try:
        from freezegun import freeze_time  # noqa: PLC0415  see the module's docstring
    except ImportError:
        pytest.fail("frozen_time_manager needs freezegun: pip install freezegun", pytrace=False)
    # pytest measures its phases across this fixture, and would report durations of years
    freezing = freeze_time(ignore=["_pytest.timing"])
    with freezing as time, _manager_of(token_server) as manager:
        # freeze_time is declared to return one of three types; without arguments it is this one
        yield FrozenTimeManager(manager, cast("FrozenDateTimeFactory", time))


def _manager_of(server: TokenServer) -> TokenManager:
    from evertoken import (  # noqa: PLC0415  see the module's docstring
        MemoryStore,
        PasswordGrant,
        TokenManager,
    )

    grant = PasswordGrant(
        server.token_url,
        client_id=server.client_id,
        client_secret=server.client_secret,
        username=server.username,
        password=server.password,
        revoke_url=server.revoke_url,
    )
    return TokenManager(grant, memory=MemoryStore())
