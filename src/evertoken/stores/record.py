"""Entry to bytes and back, strictly: any bytes decode to an entry or to a named flaw.

The record is one JSON object: `schema`, `checksum` over all the rest, `key` (a digest of the
identity), `generation` (counts the saves), `boot` (which boot the readings of the clock since boot
belong to), `token`, `refusal`.
"""

from __future__ import annotations

import binascii
import enum
import hashlib
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from evertoken.errors import GrantRefused, GrantUnavailable, InvalidTokenResponse
from evertoken.token import Entry, Mark, Refusal, Token, TokenKey

if TYPE_CHECKING:
    from evertoken.errors import TokenError

SCHEMA = 1
MAX_BYTES = 1 << 20
"""Bytes that a store reads at most: a token of 512 KiB fits, sealed too, which adds a third."""

Json = dict[str, object]

_KINDS: dict[str, type[TokenError]] = {
    kind.__name__: kind for kind in (GrantRefused, GrantUnavailable, InvalidTokenResponse)
}
"""The kinds of errors that a record keeps, by their names in it."""


class Flaw(enum.Enum):
    """Why bytes are no entry."""

    GARBAGE = "it is no record of this library, or a damaged one"
    NEWER = "a newer version of this library wrote it"
    FOREIGN = "it belongs to another identity"
    SEALED = "no key given opens it"


class Record(NamedTuple):
    """An entry and the number of its save, counted from 1."""

    entry: Entry
    generation: int


def encode(record: Record, key: TokenKey, *, boot: str | None) -> bytes:
    """The bytes of `record`; `boot` names the boot that its readings belong to."""
    entry = record.entry
    refusal = entry if isinstance(entry, Refusal) else None
    token = entry if refusal is None else refusal.token
    body: Json = {
        "schema": SCHEMA,
        "key": key.digest(),
        "generation": record.generation,
        "boot": boot,
        "token": None if not isinstance(token, Token) else _token_fields(token),
        "refusal": None if refusal is None else _refusal_fields(refusal),
    }
    return _dump({**body, "checksum": _checksum(body)})


def decode(data: bytes, key: TokenKey, *, boot: str | None) -> Record | Flaw:
    """The record in `data`. Readings of the clock since another boot are left out."""
    try:
        body = json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse)
        return _record(body, key, boot)
    except (ValueError, OverflowError, RecursionError):
        # ValueError also covers bytes that are no UTF-8 and integers too long to convert
        return Flaw.GARBAGE


def _record(body: object, key: TokenKey, boot: str | None) -> Record | Flaw:
    fields = _Fields(body)
    # before the checksum: only the schema says what that would have to cover
    if (schema := fields.integer("schema")) != SCHEMA:
        return Flaw.NEWER if schema > SCHEMA else Flaw.GARBAGE
    if fields.text("checksum") != _checksum(fields.without("checksum")):
        return Flaw.GARBAGE
    if fields.text("key") != key.digest():
        return Flaw.FOREIGN
    same_boot = boot is not None and fields.optional_text("boot") == boot
    token = _token(fields.optional("token"), same_boot=same_boot)
    refusal = _refusal(fields.optional("refusal"), same_boot=same_boot)
    entry = token if refusal is None else replace(refusal, token=token)
    if entry is None:
        return Flaw.GARBAGE
    return Record(entry, fields.integer("generation"))


def _token_fields(token: Token) -> Json:
    return {
        "value": token.value,
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "scope": token.scope,
        "refresh_token": token.refresh_token,
        "issued_boot": token.issued_boot,
    }


def _token(fields: _Fields | None, *, same_boot: bool) -> Token | None:
    if fields is None:
        return None
    return Token(
        value=fields.text("value"),
        issued_at=fields.number("issued_at"),
        expires_at=fields.number("expires_at"),
        scope=fields.optional_text("scope"),
        refresh_token=fields.optional_text("refresh_token"),
        issued_boot=fields.optional_number("issued_boot") if same_boot else None,
    )


def _refusal_fields(refusal: Refusal) -> Json:
    return {
        "refused_at": refusal.refused_at,
        "until": refusal.until,
        "error": None if refusal.error is None else _error_fields(refusal.error),
        "failures": refusal.failures,
        "salt": refusal.salt.hex(),
        "tag": refusal.tag.hex(),
        "forgets": None if refusal.forgets is None else _mark_fields(refusal.forgets),
        "refused_boot": refusal.refused_boot,
    }


def _refusal(fields: _Fields | None, *, same_boot: bool) -> Refusal | None:
    if fields is None:
        return None
    return Refusal(
        refused_at=fields.number("refused_at"),
        until=fields.number("until"),
        error=_error(fields.optional("error")),
        failures=fields.integer("failures"),
        salt=fields.hexadecimal("salt"),
        tag=fields.hexadecimal("tag"),
        forgets=_mark(fields.optional("forgets"), same_boot=same_boot),
        refused_boot=fields.optional_number("refused_boot") if same_boot else None,
    )


def _mark_fields(mark: Mark) -> Json:
    return {
        "digest": mark.digest,
        "issued_at": mark.issued_at,
        "issued_boot": mark.issued_boot,
    }


def _mark(fields: _Fields | None, *, same_boot: bool) -> Mark | None:
    if fields is None:
        return None
    return Mark(
        digest=fields.text("digest"),
        issued_at=fields.number("issued_at"),
        issued_boot=fields.optional_number("issued_boot") if same_boot else None,
    )


def _error_fields(error: TokenError) -> Json:
    # a grant may raise a kind of its own, which siblings need not know
    names = (name for name, kind in _KINDS.items() if isinstance(error, kind))
    return {
        "kind": next(names, "GrantUnavailable"),
        "message": str(error),
        "status": error.status,
        "content_type": error.content_type,
        "error": error.error,
        "description": error.description,
        "retry_after": error.retry_after,
        "transient": error.transient,
    }


def _error(fields: _Fields | None) -> TokenError | None:
    if fields is None:
        return None
    kind = _KINDS.get(fields.text("kind"), GrantUnavailable)
    return kind(
        fields.text("message"),
        status=fields.optional_integer("status"),
        content_type=fields.optional_text("content_type"),
        error=fields.optional_text("error"),
        description=fields.optional_text("description"),
        retry_after=fields.optional_number("retry_after"),
        transient=fields.flag("transient"),
    )


class _Fields:
    """A JSON object whose members are taken by exact type; ValueError for any other."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise ValueError("not an object")  # noqa: TRY004  one error for all garbage
        self._members: Json = value

    def without(self, name: str) -> Json:
        return {key: value for key, value in self._members.items() if key != name}

    def optional(self, name: str) -> _Fields | None:
        value = self._member(name)
        return None if value is None else _Fields(value)

    def text(self, name: str) -> str:
        if isinstance(value := self._member(name), str):
            return value
        raise ValueError(name)

    def optional_text(self, name: str) -> str | None:
        return None if self._member(name) is None else self.text(name)

    def integer(self, name: str) -> int:
        if type(value := self._member(name)) is int:
            return value
        raise ValueError(name)

    def optional_integer(self, name: str) -> int | None:
        return None if self._member(name) is None else self.integer(name)

    def number(self, name: str) -> float:
        value = self._member(name)
        if type(value) is float and math.isfinite(value):
            return value
        return float(self.integer(name))

    def optional_number(self, name: str) -> float | None:
        return None if self._member(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        if isinstance(value := self._member(name), bool):
            return value
        raise ValueError(name)

    def hexadecimal(self, name: str) -> bytes:
        return binascii.unhexlify(self.text(name))

    def _member(self, name: str) -> object:
        if name in self._members:
            return self._members[name]
        raise ValueError(name)


def _checksum(body: Json) -> str:
    return hashlib.sha256(_dump(body)).hexdigest()


def _dump(body: Json) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _unique(pairs: list[tuple[str, object]]) -> Json:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _refuse(constant: str) -> object:
    raise ValueError(constant)
