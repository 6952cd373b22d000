"""Machines that share a token through Redis need not agree on the time."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.clocked_machine import Machine

if TYPE_CHECKING:
    from evertoken.testing import TokenServer
    from support.valkey import Valkey

HOUR = 3600.0


@pytest.mark.parametrize("ahead", [50.0, HOUR, -HOUR], ids=["50 s", "an hour", "an hour behind"])
def test_a_machine_with_a_wrong_clock_costs_no_grant_and_sends_no_dead_token(  # S58
    token_server: TokenServer, valkey: Valkey, ahead: float
) -> None:
    url = token_server.api_url
    with ExitStack() as stack:
        # the machine with the wrong clock obtains the token that the others adopt
        machines = [
            stack.enter_context(Machine(each, token_server, valkey.url)) for each in (ahead, 0, 0)
        ]
        assert [machine.call(url) for machine in machines] == [200] * 3
        assert token_server.grants == 1
        token_server.revoke_all()

        # the first machine that gets a 401 replaces the token for all of them
        assert [machine.call(url) for machine in reversed(machines) for _ in range(2)] == [200] * 6
        late = stack.enter_context(Machine(0, token_server, valkey.url))
        assert late.call(url) == 200

    assert token_server.grants == 2


def test_the_remaining_lifetime_is_the_same_on_every_clock(  # S58
    token_server: TokenServer, valkey: Valkey
) -> None:
    token_server.expires_in = 600
    with (
        Machine(HOUR, token_server, valkey.url) as fast,
        Machine(-HOUR, token_server, valkey.url) as slow,
    ):
        for _ in range(3):
            assert fast.call(token_server.api_url) == 200
            assert slow.call(token_server.api_url) == 200

    assert token_server.grants == 1
