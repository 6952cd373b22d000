"""Entry to bytes and back: any bytes decode to an entry or to a named flaw."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evertoken import GrantRefused, GrantUnavailable, RevocationFailed, Token, TokenError, TokenKey
from evertoken.stores.record import MAX_BYTES, Flaw, Record, decode, encode
from evertoken.token import Entry, Mark, Refusal
from support.strategies import TRIES, entries, keys
from support.values import KEY, NOW, PLANTED, ago, content, issued, outage, refusal, told

BOOT = "this boot"

TOKEN = issued(refresh_token="planted-refresh-token")
REFUSAL = replace(refusal(token=TOKEN), forgets=Mark.of(issued(ago(600), value="dead")))

Body = dict[str, object]


def encoded(entry: Entry, generation: int = 1) -> bytes:
    return encode(Record(entry, generation), KEY, boot=BOOT)


def decoded(data: bytes, *, key: TokenKey = KEY, boot: str | None = BOOT) -> Record | Flaw:
    return decode(data, key, boot=boot)


def body_of(entry: Entry) -> Body:
    body: Body = json.loads(encoded(entry))
    return body


def sealed(body: Body) -> bytes:
    """`body` as this schema writes it, with the checksum that belongs to it."""
    rest = {name: value for name, value in body.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    whole = {**rest, "checksum": hashlib.sha256(text.encode()).hexdigest()}
    return json.dumps(whole).encode()


def changed(entry: Entry, path: str, value: object) -> bytes:
    """A sealed record with another value at `path`; `...` leaves the member out."""
    body = copy.deepcopy(body_of(entry))
    *parents, name = path.split(".")
    inner: Body = body
    for parent in parents:
        step = inner[parent]
        assert isinstance(step, dict)
        inner = step
    if value is ...:
        del inner[name]
    else:
        inner[name] = value
    return sealed(body)


# -- round trip ------------------------------------------------------------------------------------


@TRIES
@given(entries, keys, st.integers(1, 2**60), st.none() | st.text(max_size=8))
@example(Token("\ud800", 0.0, 0.0), TokenKey("\ud800", ""), 1, "\ud800")
def test_any_entry_comes_back_as_it_was(
    entry: Entry, key: TokenKey, generation: int, boot: str | None
) -> None:
    record = decode(encode(Record(entry, generation), key, boot=boot), key, boot=boot)
    assert isinstance(record, Record)
    assert record.generation == generation
    assert content(record.entry) == content(entry if boot is not None else undated(entry))


def undated(entry: Entry) -> Entry:
    if isinstance(entry, Token):
        return replace(entry, issued_boot=None)
    token = None if entry.token is None else replace(entry.token, issued_boot=None)
    mark = None if entry.forgets is None else replace(entry.forgets, issued_boot=None)
    return replace(entry, token=token, forgets=mark, refused_boot=None)


@pytest.mark.parametrize(
    "entry", [TOKEN, issued(), REFUSAL, outage(), Refusal.tombstone(TOKEN, NOW)]
)
def test_bytes_are_the_same_for_the_same_entry(entry: Entry) -> None:
    assert encoded(entry) == encoded(entry)
    assert encoded(entry, 2) != encoded(entry)


def test_a_record_that_was_written_by_version_0_1_stays_readable() -> None:
    written = (
        b'{"boot":"this boot","checksum":"'
        b'717374009219efe09f7b28fa357ac108d51c4c98501a0fefa0844f26e67d21a1",'
        b'"generation":3,'
        b'"key":"8f1195c8954fd78c012ee65a22f249c4","refusal":null,"schema":1,'
        b'"token":{"expires_at":1700003600.0,"issued_at":1700000000.0,"issued_boot":1000000.0,'
        b'"refresh_token":null,"scope":"read","value":"abc"}}'
    )
    record = decoded(written)
    assert isinstance(record, Record)
    expected = Token("abc", 1_700_000_000.0, 1_700_003_600.0, "read", issued_boot=1_000_000.0)
    assert content(record.entry) == content(expected)
    assert record.generation == 3


def test_whole_numbers_are_read_as_times() -> None:
    record = decoded(changed(issued(), "token.expires_at", 1_700_003_600))
    assert isinstance(record, Record)
    assert content(record.entry) == content(issued())


# -- what is never in it ---------------------------------------------------------------------------


def test_a_record_has_no_place_for_credentials() -> None:  # S47
    body = body_of(REFUSAL)
    assert set(body) == {"schema", "checksum", "key", "generation", "boot", "token", "refusal"}
    token, refused = body["token"], body["refusal"]
    assert isinstance(token, dict)
    assert isinstance(refused, dict)
    assert set(token) == {
        "value",
        "issued_at",
        "expires_at",
        "scope",
        "refresh_token",
        "issued_boot",
    }
    assert set(refused) == {
        "refused_at",
        "until",
        "error",
        "failures",
        "salt",
        "tag",
        "forgets",
        "refused_boot",
    }


def test_an_identity_is_named_by_its_digest_alone() -> None:  # S47
    data = encoded(TOKEN).decode()
    assert KEY.digest() in data
    for part in (KEY.client_id, KEY.username, KEY.scope, KEY.token_url):
        assert part is not None
        assert part not in data


def test_a_tombstone_does_not_hold_its_token() -> None:  # S41
    assert PLANTED.encode() not in encoded(Refusal.tombstone(TOKEN, NOW))


# -- boots and identities --------------------------------------------------------------------------


@pytest.mark.parametrize("boot", ["another boot", None])
@pytest.mark.parametrize("entry", [TOKEN, REFUSAL, outage()])
def test_readings_of_another_boot_are_left_out(entry: Entry, boot: str | None) -> None:  # F16
    record = decoded(encoded(entry), boot=boot)
    assert isinstance(record, Record)
    assert content(record.entry) == content(undated(entry))


def test_readings_of_a_system_without_boots_are_left_out() -> None:  # F16
    record = decode(encode(Record(TOKEN, 1), KEY, boot=None), KEY, boot=None)
    assert isinstance(record, Record)
    assert content(record.entry) == content(undated(TOKEN))


@pytest.mark.parametrize(
    "key",
    [
        replace(KEY, token_url="https://other.example/oauth/token/"),
        replace(KEY, client_id="another"),
        replace(KEY, username=None),
        replace(KEY, scope="read"),
    ],
)
def test_another_identity_is_foreign(key: TokenKey) -> None:  # S49
    assert decoded(encoded(TOKEN), key=key) is Flaw.FOREIGN


# -- damage ----------------------------------------------------------------------------------------


@TRIES
@given(st.binary())
@example(b"")
@example(b"[]")
@example(b"null")
@example(b"7")
@example(b'"schema"')
@example(b"{}")
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"schema": 1, "x": ' + b"9" * 5000 + b"}")
@example(b"\xff\xfe")
@example(bytes(MAX_BYTES))
def test_any_bytes_are_a_record_or_a_flaw(data: bytes) -> None:  # F10
    assert isinstance(decoded(data), Flaw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@TRIES
@given(st.sampled_from([TOKEN, REFUSAL]), st.data())
def test_any_sealed_json_is_a_record_of_exact_types_or_a_flaw(  # F10
    entry: Entry, data: st.DataObject
) -> None:
    body = body_of(entry)
    parts = [name for name in ("token", "refusal") if body[name] is not None]
    names = [*body, *(f"{part}.{name}" for part in parts for name in members(body[part]))]
    path = data.draw(st.sampled_from([name for name in names if name != "checksum"]))
    record = decoded(changed(entry, path, data.draw(json_values)))
    if isinstance(record, Record):
        again = decoded(encoded(record.entry, record.generation))
        assert isinstance(again, Record)
        assert content(again.entry) == content(record.entry)


def members(value: object) -> Body:
    assert isinstance(value, dict)
    return value


@TRIES
@given(entries, st.data())
def test_one_damaged_byte_is_a_flaw_or_changes_nothing(  # F10
    entry: Entry, data: st.DataObject
) -> None:
    whole = bytearray(encoded(entry))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    record = decoded(bytes(whole))
    # "\u00e9" and "\u00E9" are the same letter, 1.0 and 1e0 the same number
    if isinstance(record, Record):
        assert content(record.entry) == content(entry)


@pytest.mark.parametrize("entry", [TOKEN, REFUSAL])
def test_every_flipped_bit_of_a_plain_record_is_a_flaw(entry: Entry) -> None:  # F10
    whole = encoded(entry)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        assert decoded(bytes(damaged)) in {Flaw.GARBAGE, Flaw.NEWER}


@pytest.mark.parametrize("entry", [TOKEN, REFUSAL])
def test_a_record_cut_anywhere_is_garbage(entry: Entry) -> None:  # F10
    whole = encoded(entry)
    for end in range(len(whole)):
        assert decoded(whole[:end]) is Flaw.GARBAGE
    assert decoded(whole + b"x") is Flaw.GARBAGE
    assert decoded(whole + whole) is Flaw.GARBAGE


def test_a_wrong_checksum_is_garbage() -> None:  # F10
    body = body_of(TOKEN)
    for checksum in ("0" * 64, "", None, 7, str(body["checksum"]).upper()):
        assert decoded(json.dumps({**body, "checksum": checksum}).encode()) is Flaw.GARBAGE


def test_the_checksum_covers_members_that_nobody_asked_for() -> None:
    body = body_of(TOKEN)
    assert decoded(json.dumps({**body, "extra": 1}).encode()) is Flaw.GARBAGE
    assert isinstance(decoded(sealed({**body, "extra": 1})), Record)


def test_members_that_stand_twice_are_garbage() -> None:
    text = encoded(TOKEN).decode()
    assert decoded(text.replace('"schema":1', '"schema":1,"schema":1').encode()) is Flaw.GARBAGE


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("generation", [None, True, 1.0, "1", [], ...]),
        ("key", [None, 7, True, [], ...]),
        ("boot", [7, True, [], ...]),
        ("token", [7, True, "abc", [], {}, ...]),
        ("token.value", [None, 7, True, [], ...]),
        ("token.issued_at", [None, True, "1", [], 10**400, float("nan"), float("inf"), ...]),
        ("token.expires_at", [None, True, "1", [], 10**400, float("nan"), float("-inf"), ...]),
        ("token.scope", [7, True, [], ...]),
        ("token.refresh_token", [7, True, [], ...]),
        ("token.issued_boot", [True, "1", [], ...]),
        ("refusal", [7, True, "abc", [], {}, ...]),
        ("refusal.refused_at", [None, True, "1", ...]),
        ("refusal.until", [None, True, "1", ...]),
        ("refusal.failures", [None, True, 1.0, "1", ...]),
        ("refusal.salt", [None, 7, "no hex", "abc", "é", ...]),
        ("refusal.tag", [None, 7, "no hex", "abc", "é", ...]),
        ("refusal.forgets", [7, True, "abc", [], {}, ...]),
        ("refusal.forgets.digest", [None, 7, ...]),
        ("refusal.forgets.issued_at", [None, True, "1", ...]),
        ("refusal.forgets.issued_boot", [True, "1", ...]),
        ("refusal.refused_boot", [True, "1", ...]),
        ("refusal.error", [7, True, "abc", [], {}, ...]),
        ("refusal.error.kind", [None, 7, ...]),
        ("refusal.error.message", [None, 7, ...]),
        ("refusal.error.status", [True, 400.0, "400", ...]),
        ("refusal.error.content_type", [7, ...]),
        ("refusal.error.error", [7, ...]),
        ("refusal.error.description", [7, ...]),
        ("refusal.error.retry_after", [True, "7", ...]),
        ("refusal.error.transient", [None, 0, 1, "true", ...]),
    ],
)
def test_a_member_of_another_type_is_garbage_though_the_checksum_fits(  # F10
    path: str, values: list[object]
) -> None:
    for value in values:
        assert decoded(changed(REFUSAL, path, value)) is Flaw.GARBAGE, value


def test_a_record_of_nothing_is_garbage() -> None:
    assert decoded(changed(TOKEN, "token", None)) is Flaw.GARBAGE


# -- schemas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b'{"schema": 2}',
        b'{"schema": 10000000000000000000000, "checksum": 7, "token": "of another kind"}',
        json.dumps({**body_of(TOKEN), "schema": 2}).encode(),
        sealed({**body_of(TOKEN), "schema": 2}),
    ],
)
def test_a_newer_schema_is_told_before_its_checksum_is_looked_at(data: bytes) -> None:  # F11
    assert decoded(data) is Flaw.NEWER


@pytest.mark.parametrize("schema", [0, -1, True, 1.0, 2.0, "1", "2", None, [], ...])
def test_what_is_no_schema_is_garbage(schema: object) -> None:  # F10
    assert decoded(changed(TOKEN, "schema", schema)) is Flaw.GARBAGE


# -- errors ----------------------------------------------------------------------------------------


class Locked(GrantRefused):
    """A kind of a grant's own."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Locked("locked", status=423), GrantRefused),
        (GrantUnavailable("down", transient=True), GrantUnavailable),
        (RevocationFailed("not confirmed"), GrantUnavailable),
        (TokenError("whatever"), GrantUnavailable),
    ],
)
def test_an_error_comes_back_as_the_nearest_kind_that_siblings_know(
    error: TokenError, kind: type[TokenError]
) -> None:
    record = decoded(encoded(replace(outage(), error=error)))
    assert isinstance(record, Record)
    assert isinstance(record.entry, Refusal)
    assert told(record.entry.error) == (kind, str(error), vars(error))


def test_a_kind_that_a_later_version_added_comes_back_as_an_outage() -> None:
    record = decoded(changed(REFUSAL, "refusal.error.kind", "GrantPostponed"))
    assert isinstance(record, Record)
    assert isinstance(record.entry, Refusal)
    assert type(record.entry.error) is GrantUnavailable
