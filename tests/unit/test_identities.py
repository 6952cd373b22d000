"""What a grant asks for decides whose token it is: no two identities share a place in a store."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from evertoken import (
    ClientCredentialsGrant,
    FunctionGrant,
    PasswordGrant,
    RefreshTokenGrant,
    TokenKey,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.ports import Grant

URL = "https://id.example.com/token"

# what a `repr`, a form, a path and a header separate by, so that fields could run into each other
WORDS = [
    "a",
    "b",
    "ab",
    "a b",
    "a&b=c",
    "a'",
    'a"',
    "a,b",
    "a:b",
    "(a)",
    "None",
    "é",
    "a/b",
    "a\\b",
]
SCOPES = [None, "a", "b", "a b", "b a", "None", "(a)"]
NAMES = ["audience", "resource", "realm", "tenant", "x-tenant"]

Wanted = tuple[object, ...]


def wanted_of(draw: random.Random) -> Wanted:
    """A URL, a client, a subject, a scope, parameters and header fields, at random."""
    count = draw.choice([0, 0, 1, 2])
    extra = tuple(sorted((name, draw.choice(WORDS)) for name in draw.sample(NAMES, count)))
    headers = (("X-Tenant", draw.choice(["a", "b"])),) if draw.random() < 0.3 else ()
    url = draw.choice([URL, f"{URL}/", f"{URL}?a=b"])
    return url, draw.choice(WORDS), draw.choice([None, *WORDS]), draw.choice(SCOPES), extra, headers


def grant_for(wanted: Wanted, draw: random.Random) -> Grant:
    """Any grant that asks for that; a secret is no part of it."""
    url, client, subject, scope, extra, headers = wanted
    options: dict[str, Any] = {"scope": scope, "extra": dict(extra), "headers": dict(headers)}  # type: ignore[call-overload]  # as `wanted_of` made them
    options |= {"client_id": client, "client_secret": draw.choice(WORDS)}
    if subject is None:
        return ClientCredentialsGrant(str(url), **options)
    if draw.random() < 0.5:
        return RefreshTokenGrant(str(url), account=str(subject), **options)
    return PasswordGrant(str(url), username=str(subject), password=draw.choice(WORDS), **options)


def test_two_identities_never_share_a_key_or_a_digest(*, soak: bool) -> None:  # S49
    draw = random.Random(2026)  # noqa: S311  no secret is drawn
    keys: dict[TokenKey, Wanted] = {}
    digests: dict[str, Wanted] = {}
    for _ in range(1_000_000 if soak else 5_000):
        wanted = wanted_of(draw)
        key = grant_for(wanted, draw).key
        assert keys.setdefault(key, wanted) == wanted
        assert digests.setdefault(key.digest(), wanted) == wanted
    # the same thing came up more than once, and gave the same key each time
    assert len(keys) == len(digests) == len(set(keys.values()))


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "read"},
        {"extra": {"audience": "api"}},
        {"extra": {"resource": "https://api.example.com"}},
        {"extra": {"anything": "else"}},
        {"headers": {"X-Tenant": "one"}},
        {"client_id": "another"},
    ],
    ids=str,
)
def test_whatever_decides_whose_token_it_is_makes_another_identity(change: dict[str, Any]) -> None:
    for make in makers():
        assert make({}).key == make({}).key
        assert make(change).key != make({}).key
        assert make(change).key.digest() != make({}).key.digest()


def makers() -> Iterator[Any]:
    """One function for each kind of grant, which takes further options."""
    options = {"client_id": "client", "client_secret": "secret"}
    yield lambda it: ClientCredentialsGrant(URL, **{**options, **it})
    yield lambda it: RefreshTokenGrant(URL, account="ann", **{**options, **it})
    yield lambda it: PasswordGrant(URL, username="ann", password="p", **{**options, **it})


def test_a_subject_makes_another_identity() -> None:
    def fetch() -> tuple[str, float]:
        return "a-token", 60.0

    subjects = [
        FunctionGrant(fetch, name="ann").key,
        FunctionGrant(fetch, name="bob").key,
        RefreshTokenGrant(URL, account="ann", client_id="c").key,
        RefreshTokenGrant(URL, account="bob", client_id="c").key,
        ClientCredentialsGrant(URL, client_id="c", client_secret="s").key,
    ]
    assert all(one != other for one, other in itertools.combinations(subjects, 2))


def test_the_order_of_parameters_does_not_make_another_identity() -> None:
    one, other = (
        ClientCredentialsGrant(URL, client_id="c", client_secret="s", extra=extra).key
        for extra in ({"audience": "a", "resource": "r"}, {"resource": "r", "audience": "a"})
    )
    assert one == other


def test_a_secret_is_no_part_of_an_identity() -> None:
    one = RefreshTokenGrant(URL, account="ann", client_id="c", client_secret="s", refresh_token="r")
    other = RefreshTokenGrant(URL, account="ann", client_id="c", client_secret="t")
    assert one.key == other.key
