"""The pytest fixtures of `evertoken.testing`.

pytest loads this module in every project that has evertoken installed, whatever its tests are
about: so it imports nothing but pytest, and a fixture imports what it needs when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freezegun.api import FrozenDateTimeFactory

    from evertoken import TokenManager
    from evertoken.testing.server import TokenServer


class FrozenTimeManager(NamedTuple):
    """A manager, and the wall clock that it and the server read.

    Attributes:
        manager: has no token yet.
        time: freezegun's handle; `time.tick(60)` moves the clock on by 60 seconds.
    """

    manager: TokenManager
    time: FrozenDateTimeFactory


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    """A token server on loopback that grants, revokes, judges and fails on demand."""
    from evertoken.testing.server import TokenServer  # noqa: PLC0415  see the module's docstring

    with TokenServer() as server:
        yield server


@pytest.fixture
def token_manager(token_server: TokenServer) -> Iterator[TokenManager]:
    """A manager that asks `token_server` and shares its token with no other test."""
    with _manager_of(token_server) as manager:
        yield manager


@pytest.fixture
def frozen_time_manager(token_server: TokenServer) -> Iterator[FrozenTimeManager]:
    """As `token_manager`, with the wall clock standing still until the test moves it."""
    try:
        from freezegun import freeze_time  # noqa: PLC0415  see the module's docstring
    except ImportError:
        pytest.fail("frozen_time_manager needs freezegun: pip install freezegun", pytrace=False)
    # pytest times its phases across the fixture: frozen, it would report durations of years
    freezing = freeze_time(ignore=["_pytest.timing"])
    with freezing as time, _manager_of(token_server) as manager:
        # with no argument it is this one of the three kinds that it is declared to be
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
