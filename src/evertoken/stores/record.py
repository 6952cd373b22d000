"""Entry to bytes and back, strictly: any bytes decode to an entry or to a named flaw.

The record is one JSON object: `schema`, `checksum` over all the rest, `key` (a digest of the
identity), `boot` (which boot the readings of the clock since boot belong to), and the members of
the entry. Schema 1 is read too; whatever is written is schema 2. Version 0.1.0 takes that for a
newer schema, and goes on from memory beside it.
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from evertoken.core.entry import NOTHING, Entry
from evertoken.core.token import FUTURE_TOLERANCE, LONGEST_LIFETIME
from evertoken.runtime.lazy import lazy
from evertoken.stores import schema_2
from evertoken.stores.fields import Fields

if TYPE_CHECKING:
    from evertoken.core.token import TokenKey
    from evertoken.stores import schema_1
    from evertoken.stores.fields import Json
else:
    # a record of version 0.1.0 is read once, and replaced by the next save
    schema_1 = lazy("evertoken.stores.schema_1")

SCHEMA = 2
MAX_BYTES = 1 << 20
"""Bytes that a store reads at most: a token of 512 KiB fits, sealed too, which adds a third."""

UNSTORABLE = "the token has characters that no header may carry, or it is too long"
"""Why an entry is not encoded, nearly always."""


class Flaw(enum.Enum):
    """Why bytes are not an entry."""

    GARBAGE = "it is not a record of this library, or it is damaged"
    NEWER = "a newer version of this library wrote it"
    FOREIGN = "it belongs to another identity"
    SEALED = "no key given opens it"


def encode(entry: Entry, key: TokenKey, *, boot: str | None) -> bytes | None:
    """The bytes of `entry`; None if they would be read back as garbage.

    A grant of a user's own may return a token with a space in it, or one of a megabyte. Written,
    it would hide the revocations and failures beside it.

    Args:
        entry: what is known.
        key: the identity that it belongs to.
        boot: names the boot that its readings of the clock since boot belong to.
    """
    body: Json = {
        "schema": SCHEMA,
        "key": key.digest(),
        "boot": boot,
        **schema_2.entry_fields(entry),
    }
    data = _dump({**body, "checksum": _checksum(body)})
    if len(data) > MAX_BYTES or isinstance(_decoded(data, key, boot), Flaw):
        return None
    return data


def decode(data: bytes, key: TokenKey, *, boot: str | None, wall: float) -> Entry | Flaw:
    """The entry in `data`.

    Args:
        data: what a store holds.
        key: the identity that it should belong to.
        boot: names this boot; readings of the clock since another one are left out.
        wall: the time in Unix seconds, by the clock that the times in `data` are on.
    """
    entry = _decoded(data, key, boot)
    return entry if isinstance(entry, Flaw) else _believable(entry, wall)


def _decoded(data: bytes, key: TokenKey, boot: str | None) -> Entry | Flaw:
    try:
        body = json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse)
        return _entry(Fields(body), key, boot)
    except (ValueError, OverflowError, RecursionError):
        # ValueError also covers bytes that are not UTF-8 and integers too long to convert
        return Flaw.GARBAGE


def _entry(fields: Fields, key: TokenKey, boot: str | None) -> Entry | Flaw:
    # before the checksum: only the schema says what that would have to cover
    schema = fields.integer("schema")
    if schema > SCHEMA:
        return Flaw.NEWER
    if schema not in {1, SCHEMA} or fields.text("checksum") != _checksum(
        fields.without("checksum")
    ):
        return Flaw.GARBAGE
    if fields.text("key") != key.digest():
        return Flaw.FOREIGN
    same_boot = boot is not None and fields.maybe(fields.text, "boot") == boot
    reader = schema_2 if schema == SCHEMA else schema_1
    entry = reader.read_entry(fields, same_boot=same_boot)
    return Flaw.GARBAGE if entry == NOTHING else entry


def _believable(entry: Entry, wall: float) -> Entry | Flaw:
    """`entry` without a token from the far future.

    The rest stays: it is this clock that may be wrong, and a login cannot be obtained again.
    """
    latest = wall + LONGEST_LIFETIME + FUTURE_TOLERANCE
    if entry.token is None or entry.token.expires_at <= latest:
        return entry
    rest = replace(entry, token=None)
    return Flaw.GARBAGE if rest == NOTHING else rest


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
