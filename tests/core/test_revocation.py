"""A revocation covers every token of our credentials, including one in flight."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core.effects import Hold, MayAdopt, Request, Revoke
from evertoken.core.entry import FAR_FUTURE, NOTHING, NOTHING_REVOKED, Entry, join
from evertoken.core.login import Login
from evertoken.core.state import EMPTY, Snapshot, revoked, with_token
from evertoken.errors import GrantUnavailable, RevocationFailed
from support.core_script import POLICY, READING, Script
from support.core_values import GENERATION, KEY, NOW, ago, failure, issued

if TYPE_CHECKING:
    from evertoken.core.token import Token

OWN = issued(ago(60), value="own")
OTHER = issued(ago(30), value="other")


def held(token: Token) -> Snapshot:
    snapshot = with_token(EMPTY, token, NOW, POLICY, jitter_fraction=0)
    return replace(snapshot, key=KEY, fingerprint=READING.fingerprint)


def test_the_tombstone_is_saved_before_the_server_is_asked() -> None:
    script = Script(stores=[NOTHING, Entry.of_token(OTHER)])
    revocation = script.revoke(held(OWN))
    assert script.names() == [
        "Lock 0", "Lock 1", "Load 0", "Load 1", "Save 1", "Save 0", "Revoke", "Revoke",
    ]  # fmt: skip
    assert revocation.tokens == (OWN, OTHER)
    assert revocation.error is None
    assert all(store.kills(OTHER) for store in script.stores)
    assert revoked(held(OWN), revocation.entry).token is None


def test_a_revocation_covers_a_token_whose_request_was_sent_before() -> None:
    in_flight = issued(NOW, value="in flight")
    script = Script(stores=[NOTHING])
    script.revoke(held(OWN))
    assert join(script.stores[0], Entry.of_token(in_flight)).token is None
    renewed = Script(stores=script.stores).renew().token
    assert renewed is not None
    assert renewed.generation > script.stores[0].revoked_through


def test_a_revocation_of_no_token_leaves_an_outage_in_force() -> None:
    outage = failure(NOW)
    script = Script(stores=[Entry.of_failure(outage)])
    script.revoke()
    result = script.renew()
    assert (result.failure, script.count(Request)) == (script.stores[0].outage, 0)
    assert result.failure is not None
    assert result.failure.until == outage.until


def test_a_busy_lock_does_not_stop_a_revocation() -> None:
    script = Script(holds={0: [Hold.BUSY]})
    assert script.revoke(held(OWN)).tokens == (OWN,)


def test_an_unreachable_store_gets_the_revocation_later() -> None:
    script = Script(stores=[Entry.of_token(OWN)], broken={0})
    revocation = script.revoke(held(OWN))
    assert script.stores[0].token == OWN
    assert revocation.entry.kills(OWN)


def test_without_a_token_no_request_is_sent() -> None:
    script = Script()
    assert script.revoke().tokens == ()
    assert script.count(Revoke) == 0
    assert script.stores[0].revoked_through >= GENERATION


def test_the_servers_first_error_is_returned_and_every_token_dropped() -> None:
    error = RevocationFailed("no revoke_url")
    script = Script(stores=[Entry.of_token(OTHER)], revoke_error=error)
    revocation = script.revoke(held(OWN))
    assert revocation.error is error
    assert script.count(Revoke) == 2
    assert script.stores[0].kills(OTHER)


def test_the_token_of_other_credentials_is_not_revoked() -> None:  # S50
    script = Script(stores=[Entry(OTHER, Login("one", 1))], foreign={"other"})
    revocation = script.revoke(held(OWN))
    assert revocation.tokens == (OWN,)
    assert script.stores[0].token == OTHER
    assert script.stores[0].login == Login("one", 1)
    assert script.stores[0].revoked_through == OWN.generation
    nobody = Script(stores=[Entry.of_token(OTHER)], foreign={"other"})
    nobody.revoke()
    assert nobody.stores[0].revoked_through == NOTHING_REVOKED


def test_a_token_in_several_stores_is_revoked_once() -> None:
    script = Script(stores=[Entry.of_token(OWN), Entry.of_token(OTHER), Entry.of_token(OTHER)])
    assert script.revoke(held(OWN)).tokens == (OWN, OTHER)
    assert script.count(MayAdopt) == 1


def test_a_revocation_ends_the_login() -> None:
    script = Script(stores=[Entry(login=Login("one", 1))])
    script.revoke()
    login = script.stores[0].login
    assert login is not None
    assert login.refresh_token is None
    assert login.generation > GENERATION


def test_without_readable_credentials_the_own_token_is_dropped_locally() -> None:
    error = GrantUnavailable("no password")
    script = Script(reading=error)
    revocation = script.revoke(held(OWN))
    assert (revocation.tokens, revocation.error) == ((OWN,), error)
    assert revocation.entry.kills(OWN)
    assert script.names() == []
    nothing = Script(reading=error).revoke()
    assert nothing.entry == NOTHING


def test_the_token_of_another_identity_is_not_revoked() -> None:  # S49
    script = Script()
    snapshot = replace(held(OWN), key=replace(KEY, username="other"))
    assert script.revoke(snapshot).tokens == ()
    assert not script.count(Revoke)


def test_a_generation_from_the_far_future_does_not_outlive_its_revocation() -> None:  # S57
    future = issued(value="future", generation=int(NOW.wall + FAR_FUTURE) + 9)
    script = Script(stores=[Entry.of_token(future)])
    revocation = script.revoke(held(OWN))
    assert revocation.entry.revoked_through < GENERATION + 9
    assert script.stores[0].token is None
