"""The three kinds of failure: whom each binds, and for how long."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from evertoken.core.failure import LONGEST_WAIT, remembered
from evertoken.core.failure_kind import FailureKind
from evertoken.core.instant import Instant
from evertoken.errors import GrantRefused, GrantUnavailable, InvalidTokenResponse, TokenError
from support.core_values import HOUR, NOW, ago, failure, refusal


def local(error: TokenError) -> TokenError:
    """`error`, raised before anything was sent."""
    vars(error)["local"] = True
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (GrantRefused("no"), FailureKind.REFUSED),
        (GrantUnavailable("down"), FailureKind.UNAVAILABLE),
        (InvalidTokenResponse("a page"), FailureKind.UNAVAILABLE),
        (TokenError("any"), FailureKind.UNAVAILABLE),
        (local(GrantUnavailable("no route")), FailureKind.LOCAL),
        # nothing was sent, so the server has judged nothing
        (local(GrantRefused("a callable said so")), FailureKind.LOCAL),
    ],
)
def test_the_kind_of_a_failure_follows_from_its_error(  # S52, S53
    error: TokenError, kind: FailureKind
) -> None:
    assert FailureKind.of(error) is kind


def test_a_failure_ends_when_either_clock_reaches_its_end() -> None:
    short = failure(pause=60)
    assert short.remaining(NOW) == 60
    assert short.remaining(NOW.after(59)) == 1
    assert short.remaining(NOW.after(61)) == 0
    assert short.remaining(Instant(NOW.wall, NOW.boot + 50)) == 10
    assert short.remaining(Instant(NOW.wall + 50, NOW.boot)) == 10
    assert failure(reading=False).remaining(Instant(NOW.wall + 50, 0.0)) == 10


def test_a_failure_from_the_future_or_longer_than_a_day_counts_as_ended() -> None:  # S57
    assert failure(ago(-60)).remaining(NOW) > 0
    assert failure(ago(-61)).remaining(NOW) == 0
    assert failure(ago(-61), reading=False).remaining(NOW) == 0
    assert failure(pause=LONGEST_WAIT).remaining(NOW) == LONGEST_WAIT
    assert failure(pause=LONGEST_WAIT + 1).remaining(NOW) == 0


def test_setting_the_wall_clock_back_does_not_end_a_cool_down() -> None:
    assert refusal().remaining(Instant(NOW.wall - HOUR, NOW.boot + 1)) == 299


def test_a_remembered_failure_names_its_start_and_its_end() -> None:  # S64
    refused = refusal(pause=HOUR)
    error = remembered(refused)
    assert isinstance(error, GrantRefused)
    assert error.error == "invalid_grant"
    assert error is not refused.error
    assert str(error) == (
        "the endpoint refused (remembered since 2023-11-14T22:13:20+00:00, "
        "until 2023-11-14T23:13:20+00:00)"
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  packed right here
    assert str(refused.error) == "the endpoint refused"


def test_a_remembered_failure_can_have_a_time_beyond_the_calendar() -> None:
    assert "1e+300" not in str(remembered(replace(failure(), until=1e18)))
    assert "until 1000000000000000000 s after 1970" in str(
        remembered(replace(failure(), until=1e18))
    )


def test_only_a_refusal_is_about_credentials() -> None:
    assert refusal().refused
    assert not failure().refused
    assert not failure(kind=FailureKind.LOCAL).refused


def test_a_newer_failure_comes_later() -> None:
    first = failure()
    assert first.order < replace(first, generation=first.generation + 1).order
    assert first.order < replace(first, count=2).order
    assert first.order < replace(first, until=first.until + 1).order
    assert first.order < replace(first, at=first.at + 1).order
    assert first.order < replace(first, credentials_hash=b"hash").order


def test_a_copy_with_a_boot_time_and_an_older_copy_sort_first() -> None:
    assert failure(reading=False).order < failure().order
    assert failure().order < replace(failure(), at_boot=NOW.boot - 1).order


def test_the_hash_of_credentials_is_not_shown() -> None:
    assert "planted" not in repr(refusal(credentials_hash=b"planted"))
