"""Reads and writes the members of schema 2: one `Entry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.core.entry import KEPT, NOTHING_REVOKED, Entry, normalised
from evertoken.core.failure_kind import FailureKind
from evertoken.core.token import LONGEST_LIFETIME, Token
from evertoken.runtime.lazy import lazy
from evertoken.stores.fields import HIGHEST_COUNT

if TYPE_CHECKING:
    from evertoken.core import failure as failures
    from evertoken.core import login as logins
    from evertoken.core.failure import Failure
    from evertoken.core.login import Login
    from evertoken.stores import stored_error
    from evertoken.stores.fields import Fields, Json
else:
    # most records hold only a token
    failures, logins, stored_error = map(
        lazy, ("evertoken.core.failure", "evertoken.core.login", "evertoken.stores.stored_error")
    )

_SHARED = {kind.value: kind for kind in (FailureKind.REFUSED, FailureKind.UNAVAILABLE)}
"""The kinds of failures that are stored, by their stored names."""


def entry_fields(entry: Entry) -> Json:
    """The members of `entry`."""
    return {
        "token": None if entry.token is None else _token_fields(entry.token),
        "login": None if entry.login is None else _login_fields(entry.login),
        "revoked_through": entry.revoked_through,
        "failures": [_failure_fields(each) for each in entry.failures],
        "salt": entry.salt.hex(),
    }


def read_entry(fields: Fields, *, same_boot: bool) -> Entry:
    """The entry in these members.

    Raises:
        ValueError: a member is missing, of another type, or out of bounds.
    """
    # one outage besides the refusals
    failures = fields.parts("failures", most=KEPT + 1)
    entry = Entry(
        token=fields.maybe(lambda name: _token(fields.part(name), same_boot=same_boot), "token"),
        login=fields.maybe(lambda name: _login(fields.part(name)), "login"),
        revoked_through=fields.generation("revoked_through", low=NOTHING_REVOKED),
        failures=tuple(_failure(each, same_boot=same_boot) for each in failures),
        salt=fields.hash("salt"),
    )
    return normalised(entry)


def checked_token(token: Token) -> Token:
    """`token`, if its lifetime is plausible; else ValueError."""
    # one second of tolerance, as in `Token.plausible`
    if 0 <= token.lifetime < LONGEST_LIFETIME + 1:
        return token
    raise ValueError("lifetime")


def checked_failure(failure: Failure) -> Failure:
    """`failure`, if it does not last too long; else ValueError."""
    if 0 <= failure.until - failure.at <= failures.LONGEST_WAIT:
        return failure
    raise ValueError("until")


def _token_fields(token: Token) -> Json:
    return {
        "value": token.value,
        "generation": token.generation,
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "scope": token.scope,
        "refresh_token": token.refresh_token,
        "issued_boot": token.issued_boot,
    }


def _token(fields: Fields, *, same_boot: bool) -> Token:
    issued_boot = fields.maybe(fields.reading, "issued_boot")
    return checked_token(
        Token(
            value=fields.access_token("value"),
            issued_at=fields.time("issued_at"),
            expires_at=fields.time("expires_at"),
            scope=fields.maybe(fields.scope, "scope"),
            refresh_token=fields.maybe(fields.refresh_token, "refresh_token"),
            issued_boot=issued_boot if same_boot else None,
            generation=fields.generation("generation"),
        )
    )


def _login_fields(login: Login) -> Json:
    return {
        "refresh_token": login.refresh_token,
        "generation": login.generation,
        "being_spent": login.being_spent,
        "initials": [
            {"generation": each.generation, "digest": each.digest} for each in login.initials
        ],
        "expires_at": login.expires_at,
    }


def _login(fields: Fields) -> Login:
    initials = fields.parts("initials", most=KEPT)
    return logins.Login(
        refresh_token=fields.maybe(fields.refresh_token, "refresh_token"),
        generation=fields.generation("generation"),
        being_spent=fields.flag("being_spent"),
        initials=tuple(
            logins.Initial(each.generation("generation"), each.digest("digest"))
            for each in initials
        ),
        # records of earlier versions have none
        expires_at=fields.maybe(fields.time, "expires_at") if fields.has("expires_at") else None,
    )


def _failure_fields(failure: Failure) -> Json:
    return {
        "kind": failure.kind.value,
        "at": failure.at,
        # A policy may wait longer than siblings accept. One second less, since doubles are rounded.
        "until": min(failure.until, failure.at + failures.LONGEST_WAIT - 1),
        "error": stored_error.error_fields(failure.error),
        "count": failure.count,
        "generation": failure.generation,
        "credentials_hash": failure.credentials_hash.hex(),
        "at_boot": failure.at_boot,
    }


def _failure(fields: Fields, *, same_boot: bool) -> Failure:
    kind = _SHARED.get(fields.text("kind"))
    if kind is None:
        raise ValueError("kind")
    at_boot = fields.maybe(fields.reading, "at_boot")
    return checked_failure(
        failures.Failure(
            kind=kind,
            at=fields.time("at"),
            until=fields.time("until"),
            error=stored_error.read_error(fields.part("error")),
            count=fields.whole("count", 0, HIGHEST_COUNT),
            generation=fields.generation("generation"),
            credentials_hash=fields.hash("credentials_hash"),
            at_boot=at_boot if same_boot else None,
        )
    )
