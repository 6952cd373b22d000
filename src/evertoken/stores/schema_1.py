"""Reads records of schema 1 (version 0.1.0), which has no generations.

The generation of a token, a failure or a revocation becomes the second in which it began: the
lowest one that this version would have assigned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.core.entry import NOTHING, NOTHING_REVOKED, Entry, join
from evertoken.core.failure import Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.token import Token
from evertoken.stores.fields import HIGHEST_COUNT
from evertoken.stores.schema_2 import checked_failure, checked_token
from evertoken.stores.stored_error import read_error

if TYPE_CHECKING:
    from evertoken.stores.fields import Fields


def read_entry(fields: Fields, *, same_boot: bool) -> Entry:
    """The entry in these members.

    Raises:
        ValueError: a member is missing, of another type, or out of bounds.
    """
    token = fields.maybe(lambda name: _token(fields.part(name), same_boot=same_boot), "token")
    entry = fields.maybe(lambda name: _refusal(fields.part(name), same_boot=same_boot), "refusal")
    # joined, since the refusal may revoke this very token
    return join(Entry(token=token), entry or NOTHING)


def _token(fields: Fields, *, same_boot: bool) -> Token:
    issued_at = fields.time("issued_at")
    issued_boot = fields.maybe(fields.reading, "issued_boot")
    return checked_token(
        Token(
            value=fields.access_token("value"),
            issued_at=issued_at,
            expires_at=fields.time("expires_at"),
            scope=fields.maybe(fields.scope, "scope"),
            refresh_token=fields.maybe(fields.refresh_token, "refresh_token"),
            issued_boot=issued_boot if same_boot else None,
            generation=int(issued_at),
        )
    )


def _refusal(fields: Fields, *, same_boot: bool) -> Entry:
    """A "refusal" of schema 1: a failure, a tombstone, or both."""
    revoked = fields.maybe(lambda name: int(fields.part(name).time("issued_at")), "forgets")
    failed = fields.maybe(lambda _: _failure(fields, same_boot=same_boot), "error")
    return Entry(
        revoked_through=NOTHING_REVOKED if revoked is None else revoked,
        failures=() if failed is None else (failed,),
        salt=fields.hash("salt"),
    )


def _failure(fields: Fields, *, same_boot: bool) -> Failure:
    at = fields.time("refused_at")
    credentials_hash = fields.hash("tag")
    at_boot = fields.maybe(fields.reading, "refused_boot")
    return checked_failure(
        Failure(
            # only refused credentials were remembered by their hash
            kind=FailureKind.REFUSED if credentials_hash else FailureKind.UNAVAILABLE,
            at=at,
            until=fields.time("until"),
            error=read_error(fields.part("error")),
            count=fields.whole("failures", 0, HIGHEST_COUNT),
            generation=int(at),
            credentials_hash=credentials_hash,
            at_boot=at_boot if same_boot else None,
        )
    )
