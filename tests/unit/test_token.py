"""Tokens, identities and refusals: immutable values that hide their secrets."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertoken import Token, TokenKey
from evertoken.instant import Instant
from evertoken.policy import RefreshPolicy
from evertoken.token import LONGEST_LIFETIME, Mark, Refusal, forgotten, supersedes, token_of
from support.strategies import TRIES, entries, instants, keys, tokens, tokens_at
from support.values import DAY, HOUR, KEY, NOW, PLANTED, ago, issued, outage, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.token import Entry

REFRESH = "planted-refresh-token"


# -- what shows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_no_secret_shows(show: object) -> None:  # S46
    assert callable(show)
    token = issued(refresh_token=REFRESH)
    shown = [show(each) for each in (token, outage(token=token), refusal(token=token))]
    shown += [show(forgotten(token, token, NOW)), show([token]), show({"token": token})]
    for text in shown:
        assert PLANTED not in text
        assert REFRESH not in text
        assert b"salt".hex() not in text
        assert "b'salt'" not in text
        assert "b'tag'" not in text
        assert "issued_at" in text or "refused_at" in text


def test_an_identity_has_no_place_for_a_password() -> None:  # S47
    assert TokenKey.__slots__ == ("token_url", "client_id", "username", "scope")


@pytest.mark.parametrize(
    ("value", "name"), [(issued(), "value"), (KEY, "username"), (refusal(), "token")]
)
def test_a_value_is_replaced_whole_and_never_changed(value: object, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, "another")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_token_refuses_to_travel_and_names_the_remedy(protocol: int) -> None:  # F7
    for holder in (issued(), [issued()], outage(token=issued())):
        with pytest.raises(TypeError, match="send the manager instead") as caught:
            pickle.dumps(holder, protocol)
        assert PLANTED not in str(caught.value)


def test_a_copy_of_a_token_is_the_token() -> None:  # F7
    token = issued()
    assert copy.copy(token) is token
    assert copy.deepcopy(token) is token
    assert copy.deepcopy([token])[0] is token


# -- digests ---------------------------------------------------------------------------------------


def test_the_digest_of_an_identity_is_the_same_in_every_process_and_version() -> None:
    assert KEY.digest() == "8f1195c8954fd78c012ee65a22f249c4"
    named = TokenKey("https://tokens.example/oauth/token/", "client-1", "агент-\U0001fae8")
    assert named.digest() == "778f9a41580650c35a85149e851360ed"


@TRIES
@given(keys)
def test_the_digest_of_any_identity_is_a_plain_file_name(key: TokenKey) -> None:
    assert len(key.digest()) == 32
    assert set(key.digest()) <= set("0123456789abcdef")


# few identities, so that equal ones come up, and made of what a repr separates by
words = st.text("N',\" ", max_size=2)
confusable = st.builds(TokenKey, words, words, st.none() | words, st.none() | words)


@TRIES
@given(confusable, confusable)
def test_two_identities_never_share_a_digest(one: TokenKey, other: TokenKey) -> None:  # S49
    assert (one.digest() == other.digest()) is (one == other)


def test_parts_of_an_identity_do_not_run_into_each_other() -> None:  # S49
    crafted = [
        TokenKey("url", "a', 'b", "c"),
        TokenKey("url", "a", "b', 'c"),
        TokenKey("url", "a", "b", "c"),
        TokenKey("url", "a", None, "None"),
        TokenKey("url", "a", "None", None),
        TokenKey("url", "a", "", None),
        TokenKey("url", "a", None, ""),
    ]
    assert len({key.digest() for key in crafted}) == len(crafted)


def test_the_digest_of_a_token_tells_it_from_others_without_showing_it() -> None:
    assert issued().digest() == issued(ago(60)).digest() == "bbff89e6e2f2b46a"
    assert issued().digest() != issued(value="another").digest()
    assert len(issued(value="").digest()) == 16


# -- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "now", "plausible"),
    [
        (issued(), NOW, True),
        (issued(), ago(60), True),
        (issued(), ago(60.5), False),
        (issued(), Instant(NOW.wall - 61, NOW.boot), False),
        (issued(), Instant(NOW.wall, NOW.boot - 61), False),
        (issued(reading=False), Instant(NOW.wall, 0.0), True),
        (issued(), NOW.after(DAY), True),
        (issued(lifetime=0), NOW, True),
        (issued(lifetime=-0.5), NOW, False),
        (issued(lifetime=365 * DAY), NOW, True),
        (issued(lifetime=365 * DAY + 60), NOW, False),
    ],
)
def test_times_that_cannot_be_true_are_not_trusted(  # F16
    token: Token, now: Instant, *, plausible: bool
) -> None:
    assert token.plausible(now) is plausible


def test_a_token_of_a_year_is_trusted_across_2038_too() -> None:  # F16
    # doubles have half the resolution from there on, and the sum is rounded up
    asked_at = 2.0**31 - HOUR + 3 * 2.0**-22
    token = Token("value", asked_at, asked_at + LONGEST_LIFETIME)
    assert token.lifetime > LONGEST_LIFETIME
    assert token.plausible(Instant(asked_at, 0.0))
    assert RefreshPolicy().usable(token, Instant(2.0**31 + DAY, 0.0))


@pytest.mark.parametrize(
    ("one", "other", "later"),
    [
        (issued(), issued(), False),
        (issued(), issued(ago(1)), True),
        (issued(ago(1)), issued(), False),
        (issued(Instant(0, 2)), issued(Instant(9, 1)), True),
        (issued(Instant(9, 1)), issued(Instant(0, 2)), False),
        (issued(Instant(0, 2)), issued(Instant(9, 1), reading=False), False),
        (issued(Instant(9, 1), reading=False), issued(Instant(0, 2)), True),
        (issued(reading=False), issued(reading=False), False),
    ],
)
def test_the_clock_that_no_one_can_set_tells_which_is_later(  # F16
    one: Token, other: Token, *, later: bool
) -> None:
    assert one.later_than(other) is later


@pytest.mark.parametrize(
    ("token", "since"),
    [
        (issued(), True),
        (issued(ago(1)), False),
        (issued(Instant(NOW.wall - DAY, NOW.boot)), True),
        (issued(Instant(NOW.wall + DAY, NOW.boot - 1)), False),
        (issued(reading=False), True),
        (issued(ago(1), reading=False), False),
    ],
)
def test_issued_since_a_moment(token: Token, *, since: bool) -> None:
    assert token.issued_since(NOW) is since


def test_readings_take_no_part_in_equality() -> None:
    assert issued() == issued(reading=False)
    error = outage()
    assert error == replace(error, refused_boot=None)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "remaining"),
    [
        (NOW, 60),
        (NOW.after(20), 40),
        (NOW.after(60), 0),
        (NOW.after(DAY), 0),
        (Instant(NOW.wall - 30, NOW.boot + 20), 40),
        (Instant(NOW.wall + 30, NOW.boot + 20), 30),
        (Instant(NOW.wall + 20, NOW.boot + 30), 30),
        (Instant(NOW.wall - 61, NOW.boot), 0),
        (Instant(NOW.wall - 60, NOW.boot), 60),
    ],
)
def test_a_refusal_stands_by_the_clock_that_says_less(  # F16
    now: Instant, remaining: float
) -> None:
    assert outage(pause=60).remaining(now) == remaining


def test_a_refusal_of_another_boot_stands_by_the_wall_alone() -> None:
    entry = outage(pause=60, reading=False)
    assert entry.remaining(Instant(NOW.wall + 20, 5.0)) == 40
    assert entry.remaining(Instant(NOW.wall - 20, 5.0)) == 60


@TRIES
@given(st.floats(-DAY, DAY), st.floats(0, DAY))
def test_no_setting_of_the_wall_clock_makes_a_refusal_stand_longer(  # F16
    jump: float, elapsed: float
) -> None:
    now = Instant(NOW.wall + jump, NOW.boot + elapsed)
    assert 0 <= outage(pause=60).remaining(now) <= max(0, 60 - elapsed) + 1e-6


@pytest.mark.parametrize(
    ("token", "until"), [(issued(), NOW.wall + HOUR), (issued(ago(DAY)), NOW.wall)]
)
def test_a_tombstone_names_its_token_for_as_long_as_somebody_could_hold_it(
    token: Token, until: float
) -> None:
    mark = Refusal.tombstone(token, NOW)
    assert (mark.forgets, mark.until) == (Mark.of(token), until)
    assert mark.token is None
    assert mark.error is None
    assert (mark.refused_at, mark.refused_boot, mark.failures) == (NOW.wall, NOW.boot, 0)


def test_the_token_of_an_entry() -> None:
    assert token_of(None) is None
    assert token_of(issued()) == issued()
    assert token_of(outage()) is None
    assert token_of(outage(token=issued())) == issued()


# -- what replaces what ----------------------------------------------------------------------------

EARLIER = issued(ago(600), value="earlier")
LATER = issued(ago(60), value="later")
EXPIRED = issued(ago(30), value="expired", lifetime=20)
FROM_THE_FUTURE = issued(NOW.after(DAY), value="future")


def undated(token: Token) -> Token:
    """As another boot's clock had dated it."""
    return replace(token, issued_boot=None)


@pytest.mark.parametrize(
    ("dead", "token", "covered"),
    [
        (LATER, LATER, True),
        (LATER, undated(LATER), True),
        (LATER, EARLIER, True),
        (undated(LATER), EARLIER, True),
        (LATER, undated(EARLIER), True),
        (EARLIER, LATER, False),
        (undated(EARLIER), LATER, False),
        (LATER, issued(ago(60), value="of the same moment"), False),
        (FROM_THE_FUTURE, FROM_THE_FUTURE, True),
        (undated(FROM_THE_FUTURE), LATER, False),
        # the clock that no one can set says that the dead one came first
        (replace(EARLIER, issued_at=NOW.wall - 1), LATER, False),
    ],
)
def test_a_dead_token_ends_what_it_had_replaced_and_nothing_later(  # S41
    dead: Token, token: Token, *, covered: bool
) -> None:
    assert Refusal.tombstone(dead, NOW).ends(token, NOW) is covered
    assert not outage(token=dead).ends(token, NOW)


@pytest.mark.parametrize("dated", [issued, lambda now: undated(issued(now))], ids=["boot", "wall"])
def test_the_same_token_granted_again_after_its_mark_lives_by_its_servers_word(
    dated: Callable[[Instant], Token],
) -> None:
    mark = Refusal.tombstone(dated(ago(60)), ago(30))
    assert mark.ends(dated(ago(60)), NOW)
    assert mark.ends(dated(ago(40)), NOW), "a sibling's, granted before"
    assert mark.ends(dated(ago(30)), NOW)
    assert not mark.ends(dated(ago(29)), NOW)


def test_a_mark_from_the_future_does_not_end_each_new_token() -> None:  # F16
    dead = undated(issued(NOW.after(30), value="by a clock that was set back"))
    mark = Refusal.tombstone(dead, NOW)
    for age in range(0, 60, 10):
        now = NOW.after(age)
        ended = mark.ends(undated(issued(now, value="new")), now)
        assert not ended


@pytest.mark.parametrize(
    ("entry", "held", "replaces"),
    [
        (EARLIER, None, True),
        (outage(), None, True),
        (LATER, EARLIER, True),
        (EARLIER, LATER, False),
        (LATER, LATER, True),
        (EARLIER, EXPIRED, True),
        (EARLIER, issued(ago(30), value="expires now", lifetime=30), True),
        (EARLIER, FROM_THE_FUTURE, True),
        (outage(), EXPIRED, True),
        (outage(), LATER, False),
        (refusal(), LATER, False),
        (outage(token=LATER), LATER, True),
        (outage(token=EARLIER), LATER, False),
        (outage(token=LATER), EARLIER, True),
        (LATER, outage(token=EARLIER), True),
        (EARLIER, outage(token=LATER), False),
        (EARLIER, outage(), True),
        (refusal(), outage(), True),
        (LATER, Refusal.tombstone(EARLIER, NOW), True),
        (LATER, Refusal.tombstone(LATER, NOW), False),
        (EARLIER, Refusal.tombstone(LATER, NOW), False),
        (outage(token=EARLIER), Refusal.tombstone(LATER, NOW), False),
        (EARLIER, Refusal.tombstone(FROM_THE_FUTURE, NOW), False),
        (undated(EARLIER), Refusal.tombstone(FROM_THE_FUTURE, NOW), True),
        (outage(token=LATER), Refusal.tombstone(LATER, NOW), False),
        (LATER, replace(outage(token=EARLIER), forgets=Mark.of(LATER)), False),
        (outage(), Refusal.tombstone(LATER, NOW), True),
    ],
)
def test_a_later_token_is_never_lost_and_a_dead_one_never_comes_back(  # F15
    entry: Entry, held: Entry | None, *, replaces: bool
) -> None:
    assert supersedes(entry, held, NOW) is replaces


@TRIES
@given(entries | tokens_at(), entries | tokens_at(), instants())
def test_what_replaces_a_live_token_is_not_earlier(  # F15
    entry: Entry, held: Entry, now: Instant
) -> None:
    rival, token = token_of(held), token_of(entry)
    if supersedes(entry, held, now) and rival is not None and RefreshPolicy().usable(rival, now):
        assert token is not None
        assert not rival.later_than(token)


def test_forgetting_leaves_a_mark_where_there_is_nothing() -> None:
    assert forgotten(None, LATER, NOW) == Refusal.tombstone(LATER, NOW)


def test_forgetting_a_token_puts_a_mark_in_its_place() -> None:
    assert forgotten(LATER, LATER, NOW) == Refusal.tombstone(LATER, NOW)
    assert forgotten(issued(ago(5), value="later"), LATER, NOW) == Refusal.tombstone(LATER, NOW)


@pytest.mark.parametrize("held", [LATER, outage(token=LATER)])
def test_forgetting_a_token_leaves_another_one_alone(held: Entry) -> None:
    assert forgotten(held, EARLIER, NOW) is None


@pytest.mark.parametrize("carried", [LATER, None])
def test_forgetting_keeps_a_refusal_that_stands(carried: Token | None) -> None:  # S48
    held = refusal(token=carried)
    kept = forgotten(held, LATER, NOW)
    assert kept == replace(held, token=None, forgets=Mark.of(LATER))


def test_forgetting_what_a_mark_covers_already_changes_nothing() -> None:
    mark = Refusal.tombstone(LATER, NOW)
    assert forgotten(mark, LATER, NOW) is None
    assert forgotten(mark, EARLIER, NOW) is None
    assert forgotten(Refusal.tombstone(EARLIER, NOW), LATER, NOW) == mark


@TRIES
@given(entries, tokens, instants())
def test_what_was_forgotten_does_not_come_back(  # S41
    held: Entry, token: Token, now: Instant
) -> None:
    kept = forgotten(held, token, now)
    if kept is not None:
        assert token_of(kept) is None
        assert isinstance(kept, Refusal)
        assert kept.ends(token, now)
        assert not supersedes(token, kept, now)
        assert not supersedes(outage(token=token), kept, now)
