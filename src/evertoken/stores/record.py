"""Encodes an entry to bytes, and decodes any bytes to an entry or a named flaw.

The record is one JSON object: `schema`, `checksum` over the rest, `key` (a digest of the identity),
`boot` (the boot that readings of the clock since boot belong to), the members of the entry, and in
a file `owner` (the readable part of the identity, for a person who lists the folder). Schemas 1 and
2 are read; schema 2 is written. Version 0.1.0 ignores it as a newer schema, and works from memory.
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from evertoken.core import strict_json
from evertoken.core.entry import NOTHING, Entry
from evertoken.core.token import FUTURE_TOLERANCE, LONGEST_LIFETIME
from evertoken.runtime.lazy import lazy
from evertoken.stores import schema_2
from evertoken.stores.fields import Fields, printable

if TYPE_CHECKING:
    from evertoken.core.token import TokenKey
    from evertoken.stores import schema_1
    from evertoken.stores.fields import Json
else:
    # a record of version 0.1.0 is read once, then replaced by the next save
    schema_1 = lazy("evertoken.stores.schema_1")

SCHEMA = 2
MAX_BYTES = 1 << 20
"""The most bytes that a store reads. A token of 512 KiB fits, even sealed, which adds a third."""

UNSTORABLE = "the token is too long, or has characters that are not allowed in a header"
"""The usual reason why an entry cannot be encoded."""


class Flaw(enum.Enum):
    """Why bytes do not decode to an entry."""

    GARBAGE = "it is not a record of this library, or it is damaged"
    NEWER = "a newer version of this library wrote it"
    FOREIGN = "it belongs to another identity"
    SEALED = "none of the encryption keys decrypts it"


class Owner(NamedTuple):
    """The readable part of an identity: what a list of files shows. No secret, and no digest."""

    token_url: str
    client_id: str | None
    username: str | None


LONGEST_NAME = 2000
"""Characters of a URL or a name that a list shows."""


def encode(entry: Entry, key: TokenKey, *, boot: str | None, named: bool = False) -> bytes | None:
    """The bytes of `entry`; None if they would not decode.

    A custom grant may return a token with a space in it, or of a megabyte. If that were written,
    the revocations and failures beside it would become unreadable.

    Args:
        entry: the entry to encode.
        key: the identity that it belongs to.
        boot: the boot id that its readings of the clock since boot belong to.
        named: whether it also says whose it is, for a person who lists the store.
    """
    owner: Json = {"owner": _owner_fields(key)} if named else {}
    body: Json = {
        "schema": SCHEMA,
        "key": key.digest(),
        "boot": boot,
        **owner,
        **schema_2.entry_fields(entry),
    }
    data = _dump({**body, "checksum": _checksum(body)})
    if len(data) > MAX_BYTES or isinstance(_decoded(data, key.digest(), boot), Flaw):
        return None
    return data


def decode(data: bytes, key: TokenKey, *, boot: str | None, wall: float) -> Entry | Flaw:
    """The entry in `data`.

    Args:
        data: the stored bytes.
        key: the identity that the record must belong to.
        boot: the current boot id; readings from another boot are dropped.
        wall: the time in Unix seconds, on the clock that the times in `data` are on.
    """
    entry = _decoded(data, key.digest(), boot)
    return entry if isinstance(entry, Flaw) else _believable(entry, wall)


def decode_any(
    data: bytes, digest: str, *, boot: str | None, wall: float
) -> tuple[Owner | None, Entry] | Flaw:
    """The entry in `data`, and whose it is; None if the record does not say.

    Args:
        data: what a store holds.
        digest: of the identity that it should belong to.
        boot: names this boot, as for `decode`.
        wall: the time in Unix seconds, as for `decode`.
    """
    entry = _decoded(data, digest, boot)
    if not isinstance(entry, Flaw):
        entry = _believable(entry, wall)
    return entry if isinstance(entry, Flaw) else (_owner(_fields(data)), entry)


def _fields(data: bytes) -> Fields:
    return Fields(strict_json.loads(data))


def _decoded(data: bytes, digest: str, boot: str | None) -> Entry | Flaw:
    try:
        return _entry(_fields(data), digest, boot)
    except (ValueError, OverflowError, RecursionError):
        # ValueError also covers bytes that are not UTF-8 and integers too long to convert
        return Flaw.GARBAGE


def _owner_fields(key: TokenKey) -> Json:
    parts = Owner(key.token_url, key.client_id, key.username)._asdict()
    return {name: it and printable(it, most=LONGEST_NAME) for name, it in parts.items()}


def _owner(fields: Fields) -> Owner | None:
    def words(name: str) -> str:
        return owner.words(name, most=LONGEST_NAME)

    try:
        owner = fields.part("owner")
        return Owner(
            words("token_url"), owner.maybe(words, "client_id"), owner.maybe(words, "username")
        )
    except ValueError:
        # one that was written before files had it
        return None


def _entry(fields: Fields, digest: str, boot: str | None) -> Entry | Flaw:
    # before the checksum, whose definition depends on the schema
    schema = fields.integer("schema")
    if schema > SCHEMA:
        return Flaw.NEWER
    if schema not in {1, SCHEMA} or fields.text("checksum") != _checksum(
        fields.without("checksum")
    ):
        return Flaw.GARBAGE
    if fields.text("key") != digest:
        return Flaw.FOREIGN
    same_boot = boot is not None and fields.maybe(fields.text, "boot") == boot
    reader = schema_2 if schema == SCHEMA else schema_1
    entry = reader.read_entry(fields, same_boot=same_boot)
    return Flaw.GARBAGE if entry == NOTHING else entry


def _believable(entry: Entry, wall: float) -> Entry | Flaw:
    """`entry` without a token from the far future.

    The rest stays: this machine's clock may be the wrong one, and a login cannot be obtained again.
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
