"""Encoding and decoding of entries: any bytes decode to a bounded entry or a named flaw."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evertoken.core.entry import KEPT, NOTHING, Entry, join, normalised
from evertoken.core.failure import LONGEST_WAIT, Failure
from evertoken.core.failure_kind import FailureKind
from evertoken.core.token import LONGEST_LIFETIME, Token, TokenKey
from evertoken.errors import GrantRefused, GrantUnavailable, RevocationFailed, TokenError
from evertoken.stores.fields import (
    HIGHEST_COUNT,
    HIGHEST_GENERATION,
    LATEST,
    LONGEST_HASH,
    LONGEST_SECRET,
)
from evertoken.stores.record import MAX_BYTES, Flaw, Owner, decode, decode_any, encode
from support.core_values import DAY, GENERATION, HOUR, KEY, NOW, ago, failure, issued, refusal
from support.entries import FULL, SALT, attributes_of, content, entries, undated
from support.strategies import TRIES, keys

if TYPE_CHECKING:
    from evertoken.core.login import Login

BOOT = "this boot"
WALL = NOW.wall

TOKEN = Entry(token=issued(refresh_token="planted-refresh-token"))
REFUSED = Entry(failures=(refusal(),), salt=SALT)
REVOKED = Entry(revoked_through=GENERATION)

Body = dict[str, object]


def encoded(entry: Entry) -> bytes:
    data = encode(entry, KEY, boot=BOOT)
    assert data is not None
    return data


def decoded(
    data: bytes, *, key: TokenKey = KEY, boot: str | None = BOOT, wall: float = WALL
) -> Entry | Flaw:
    return decode(data, key, boot=boot, wall=wall)


def read(data: bytes) -> Entry:
    entry = decoded(data)
    assert isinstance(entry, Entry)
    return entry


def sealed(body: Body) -> bytes:
    """`body` as written by the library, with its checksum."""
    rest = {name: value for name, value in body.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    whole = {**rest, "checksum": hashlib.sha256(text.encode()).hexdigest()}
    return json.dumps(whole).encode()


def changed(entry: Entry, path: str, value: object) -> bytes:
    """A record with another value at `path` and a correct checksum; `...` omits the member."""
    return altered(json.loads(encoded(entry)), path, value)


def altered(body: Body, path: str, value: object) -> bytes:
    body = copy.deepcopy(body)
    *parents, name = path.split(".")
    inner: object = body
    for parent in parents:
        inner = inner[int(parent)] if isinstance(inner, list) else members(inner)[parent]
    if value is ...:
        del members(inner)[name]
    else:
        members(inner)[name] = value
    return sealed(body)


def members(value: object) -> Body:
    assert isinstance(value, dict)
    return value


def places(value: object, prefix: str = "") -> list[str]:
    """The path of each member, at any depth."""
    if isinstance(value, list):
        pairs: list[tuple[str, object]] = [(str(place), each) for place, each in enumerate(value)]
    else:
        pairs = [*value.items()] if isinstance(value, dict) else []
    inner = [path for name, each in pairs for path in places(each, f"{prefix}{name}.")]
    own = [] if isinstance(value, list) else [prefix + name for name, _ in pairs]
    return own + inner


def within_bounds(entry: Entry) -> bool:
    """Whether nothing in `entry` can crash, mislead or overflow a process."""
    token, login = entry.token, entry.login
    return (
        entry == normalised(entry) != NOTHING
        and -1 <= entry.revoked_through <= HIGHEST_GENERATION
        and len(entry.salt) <= LONGEST_HASH
        and len(entry.failures) <= KEPT + 1
        and (token is None or token_is_sane(token))
        and (login is None or login_is_sane(login))
        and all(map(failure_is_sane, entry.failures))
    )


def token_is_sane(token: Token) -> bool:
    return (
        re.fullmatch(r"[\x21-\x7e]+", token.value) is not None
        and len(token.value) <= LONGEST_SECRET
        and 0 <= token.issued_at <= LATEST
        and token.expires_at <= WALL + LONGEST_LIFETIME + 60
        and 0 <= token.lifetime <= LONGEST_LIFETIME + 1
        and re.fullmatch(r"[\x20-\x7e]*", f"{token.scope or ''}{token.refresh_token or ''}")
        is not None
        and abs(token.issued_boot or 0.0) <= LATEST
        and 0 <= token.generation <= HIGHEST_GENERATION
    )


def login_is_sane(login: Login) -> bool:
    text = login.refresh_token or ""
    numbers = [login.generation, *(each.generation for each in login.initials)]
    return (
        text.isprintable()
        and text.isascii()
        and len(login.initials) <= KEPT
        and all(0 <= each <= HIGHEST_GENERATION for each in numbers)
    )


def failure_is_sane(failed: Failure) -> bool:
    error = failed.error
    words = [error.content_type or "", error.error or "", error.description or ""]
    return (
        failed.kind is not FailureKind.LOCAL
        and 0 <= failed.at <= failed.until <= LATEST
        and failed.until - failed.at <= LONGEST_WAIT
        and abs(failed.at_boot or 0.0) <= LATEST
        and 0 <= failed.count <= HIGHEST_COUNT
        and 0 <= failed.generation <= HIGHEST_GENERATION
        and len(failed.credentials_hash) <= LONGEST_HASH
        and str(error).isprintable()
        and len(str(error)) <= 1000
        and all(each.isprintable() and len(each) <= 200 for each in words)
        and 0 <= (error.retry_after or 0.0) <= LONGEST_WAIT
        and (error.status is None or 100 <= error.status <= 999)
    )


# -- round trip ------------------------------------------------------------------------------------


def as_stored(entry: Entry) -> Entry:
    """`entry` with failures as long as stores accept, and with their text made safe for a log."""
    data = encode(entry, KEY, boot=BOOT)
    assert data is not None
    found = decode(data, KEY, boot=BOOT, wall=LATEST)
    assert isinstance(found, Entry)
    return found


@TRIES
@given(entries, keys, st.text(max_size=8))
@example(FULL, TokenKey("\ud800", ""), "\ud800")
def test_any_entry_is_read_back_unchanged(entry: Entry, key: TokenKey, boot: str) -> None:
    data = encode(entry, key, boot=boot)
    if entry == NOTHING:
        assert data is None
        return
    assert data is not None
    found = decode(data, key, boot=boot, wall=LATEST)
    assert isinstance(found, Entry)
    shortest = [min(each.until, each.at + LONGEST_WAIT - 1) for each in entry.failures]
    expected = replace(
        entry,
        failures=tuple(
            replace(each, until=until) for each, until in zip(entry.failures, shortest, strict=True)
        ),
    )
    assert found == normalised(expected)
    assert found.token is None or found.token.issued_boot == getattr(entry.token, "issued_boot", 0)
    # storing it again changes nothing
    assert content(as_stored(found)) == content(found)


@pytest.mark.parametrize("entry", [FULL, TOKEN, REFUSED, REVOKED])
def test_equal_entries_have_equal_bytes(entry: Entry) -> None:
    assert encoded(entry) == encoded(copy.copy(entry))
    assert content(read(encoded(entry))) == content(entry)


def test_whole_numbers_are_read_as_times() -> None:
    found = read(changed(TOKEN, "token.expires_at", int(WALL + HOUR)))
    assert content(found) == content(TOKEN)


def test_an_error_is_stored_with_its_text_escaped_and_cut() -> None:  # S57
    wordy = GrantUnavailable(
        "line\nbreak\x1b[31m" + "x" * 100_000,
        status=5,
        content_type="text\r/html",
        description="d" * 100_000,
        retry_after=1e300,
    )
    found = read(encoded(Entry(failures=(replace(failure(), error=wordy),))))
    error = found.failures[0].error
    assert str(error).startswith("line\\nbreak\\x1b[31mxxx")
    assert (len(str(error)), len(error.description or "")) == (1000, 200)
    assert (error.status, error.content_type) == (None, "text\\r/html")
    assert error.retry_after == LONGEST_WAIT


@pytest.mark.parametrize(
    "entry",
    [
        NOTHING,
        Entry(token=issued(value="two words")),
        Entry(token=issued(value="caf\u00e9")),
        Entry(token=issued(value="x" * (LONGEST_SECRET + 1))),
        Entry(token=issued(lifetime=math.inf)),
        Entry(token=issued(lifetime=400 * DAY)),
        Entry(token=issued(lifetime=math.nan)),
        Entry(token=replace(issued(), generation=2**63)),
    ],
)
def test_an_entry_that_would_be_read_back_as_garbage_is_not_encoded(entry: Entry) -> None:  # S57
    assert encode(entry, KEY, boot=BOOT) is None


# -- what is never in it ---------------------------------------------------------------------------


def test_a_record_has_no_member_for_credentials() -> None:  # S47
    body = json.loads(encoded(FULL))
    assert set(body) == {
        *("schema", "checksum", "key", "boot"),
        *("token", "login", "revoked_through", "failures", "salt"),
    }
    assert set(body["token"]) == {
        *("value", "generation", "issued_at", "expires_at", "scope", "refresh_token"),
        "issued_boot",
    }
    assert set(body["login"]) == {
        *("refresh_token", "generation", "being_spent", "initials", "expires_at"),
    }
    for each in body["failures"]:
        assert set(each) == {
            *("kind", "at", "until", "error", "count", "generation", "credentials_hash"),
            "at_boot",
        }


def test_an_identity_is_stored_only_as_its_digest() -> None:  # S47
    data = encoded(TOKEN).decode()
    assert KEY.digest() in data
    for part in (KEY.client_id, KEY.username, KEY.scope, KEY.token_url):
        assert part is not None
        assert part not in data


def test_a_revocation_does_not_contain_its_token() -> None:  # S41
    assert b"planted" not in encoded(join(TOKEN, REVOKED))


# -- boots and identities --------------------------------------------------------------------------


@pytest.mark.parametrize("boot", ["another boot", None])
@pytest.mark.parametrize("entry", [FULL, TOKEN, REFUSED])
def test_boot_times_of_another_boot_are_left_out(entry: Entry, boot: str | None) -> None:  # F16
    found = decoded(encoded(entry), boot=boot)
    assert isinstance(found, Entry)
    assert content(found) == content(undated(entry))


def test_boot_times_are_left_out_without_a_boot_id() -> None:  # F16
    data = encode(TOKEN, KEY, boot=None)
    assert data is not None
    found = decoded(data, boot=None)
    assert isinstance(found, Entry)
    assert content(found) == content(undated(TOKEN))


@pytest.mark.parametrize(
    "key",
    [
        replace(KEY, token_url="https://other.example/oauth/token/"),
        replace(KEY, client_id="another"),
        replace(KEY, username=None),
        replace(KEY, scope="read"),
        replace(KEY, extra=(("audience", "api"),)),
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
@example(b'{"schema": 2, "x": ' + b"9" * 5000 + b"}")
@example(b"\xff\xfe")
@example(bytes(MAX_BYTES))
def test_any_bytes_are_an_entry_or_a_flaw(data: bytes) -> None:  # F10
    assert isinstance(decoded(data), Flaw)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [1e300, -1e300, 10**400, int("9" * 4300), 2**63, 253_402_300_799, "x" * 2000, "\x1b[31m"]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@TRIES
@given(json_values)
def test_any_json_with_a_right_checksum_is_a_flaw(value: object) -> None:  # F10
    assert isinstance(decoded(json.dumps(value).encode()), Flaw)
    if isinstance(value, dict):
        assert isinstance(decoded(sealed(value)), Flaw)
        assert isinstance(decoded(sealed({**value, "schema": 2, "key": KEY.digest()})), Flaw)


@TRIES
@given(st.data())
def test_a_valid_record_with_any_member_changed_is_within_bounds_or_a_flaw(  # F10, S57
    data: st.DataObject,
) -> None:
    body = data.draw(st.sampled_from([json.loads(encoded(FULL)), OLD]))
    paths = [path for path in places(body) if path not in {"checksum", "schema"}]
    drawn = data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=2, unique=True))
    # the deeper path first: changing the other may remove it
    for path in sorted(drawn, key=lambda each: each.count("."), reverse=True):
        body = json.loads(altered(body, path, data.draw(json_values)))
    found = decoded(sealed(body))
    if isinstance(found, Entry):
        assert within_bounds(found)
        assert content(read(encoded(found))) == content(found)


@TRIES
@given(entries.filter(lambda entry: entry != NOTHING), st.data())
def test_one_damaged_byte_is_a_flaw_or_changes_nothing(  # F10
    entry: Entry, data: st.DataObject
) -> None:
    whole = bytearray(encoded(entry))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    found = decoded(bytes(whole), wall=LATEST)
    # "\u00e9" and "\u00E9" are the same letter, 1.0 and 1e0 the same number
    if isinstance(found, Entry):
        assert content(found) == content(as_stored(entry))


@pytest.mark.parametrize("entry", [TOKEN, REFUSED])
def test_every_flipped_bit_of_a_plain_record_is_a_flaw(entry: Entry) -> None:  # F10
    whole = encoded(entry)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        assert decoded(bytes(damaged)) in {Flaw.GARBAGE, Flaw.NEWER}


@pytest.mark.parametrize("entry", [TOKEN, REFUSED])
def test_a_record_cut_anywhere_is_garbage(entry: Entry) -> None:  # F10
    whole = encoded(entry)
    for end in range(len(whole)):
        assert decoded(whole[:end]) is Flaw.GARBAGE
    assert decoded(whole + b"x") is Flaw.GARBAGE
    assert decoded(whole + whole) is Flaw.GARBAGE


def test_a_wrong_checksum_is_garbage() -> None:  # F10
    body = json.loads(encoded(TOKEN))
    for checksum in ("0" * 64, "", None, 7, str(body["checksum"]).upper()):
        assert decoded(json.dumps({**body, "checksum": checksum}).encode()) is Flaw.GARBAGE


def test_the_checksum_covers_unknown_members() -> None:
    body = json.loads(encoded(TOKEN))
    assert decoded(json.dumps({**body, "extra": 1}).encode()) is Flaw.GARBAGE
    assert isinstance(decoded(sealed({**body, "extra": 1})), Entry)


def test_a_repeated_member_is_garbage() -> None:
    text = encoded(TOKEN).decode()
    assert decoded(text.replace('"schema":2', '"schema":2,"schema":2').encode()) is Flaw.GARBAGE


NO_NUMBERS: list[object] = [
    None,
    True,
    "1",
    [],
    10**400,
    int("9" * 4300),
    float("nan"),
    float("inf"),
    1e300,
    ...,
]
NO_GENERATIONS: list[object] = [None, True, 1.0, "1", [], -2, 2**63, int("9" * 4300), ...]
NO_TIMES: list[object] = [*NO_NUMBERS, -1.0, 253_402_300_799]
NO_HASHES: list[object] = [None, 7, "no hex", "abc", "\u00e9", "00" * (LONGEST_HASH + 1), ...]
NO_WORDS: list[object] = [7, True, [], "x" * 201, ...]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("key", [None, 7, True, [], ...]),
        ("boot", [7, True, [], ...]),
        ("token", [7, True, "abc", [], {}, ...]),
        (
            "token.value",
            [
                None,
                7,
                True,
                [],
                "",
                "two words",
                "tab\t",
                "line\n",
                "\u00e9",
                "\x7f",
                "\ud800",
                ...,
            ],
        ),
        ("token.value", ["x" * (LONGEST_SECRET + 1)]),
        ("token.generation", [*NO_GENERATIONS, -1]),
        ("token.issued_at", NO_TIMES),
        ("token.expires_at", [*NO_TIMES, WALL - 1, WALL + LONGEST_LIFETIME + 2]),
        ("token.scope", [7, True, [], "line\n", "\u00e9", "x" * 70_000, ...]),
        ("token.refresh_token", [7, True, [], "line\n", "\u00e9", "x" * (LONGEST_SECRET + 1), ...]),
        ("token.issued_boot", [True, "1", [], 1e300, 10**400, float("inf"), ...]),
        ("login", [7, True, "abc", [], {}, ...]),
        ("login.refresh_token", [7, "line\n", "\u00e9", "x" * (LONGEST_SECRET + 1), ...]),
        ("login.generation", [*NO_GENERATIONS, -1]),
        ("login.being_spent", [None, 0, 1, "true", ...]),
        (
            "login.initials",
            [None, 7, {}, ["abc"], [{}], [{"generation": 1, "digest": "a"}] * 9, ...],
        ),
        ("login.initials.0.digest", [None, 7, "", "no hex", "a" * 65, "a\n", ...]),
        ("login.initials.0.generation", [*NO_GENERATIONS, -1]),
        ("revoked_through", NO_GENERATIONS),
        ("salt", NO_HASHES),
        ("failures", [None, 7, "abc", {}, ["abc"], [{}], ...]),
        ("failures.0.kind", [None, 7, "local", "other", ...]),
        ("failures.0.at", NO_TIMES),
        ("failures.0.until", [*NO_TIMES, WALL - 1, WALL + LONGEST_WAIT + 2]),
        ("failures.0.count", [None, True, 1.0, "1", -1, 2**64, int("9" * 4300), ...]),
        ("failures.0.generation", [*NO_GENERATIONS, -1]),
        ("failures.0.credentials_hash", NO_HASHES),
        ("failures.0.at_boot", [True, "1", 1e300, 10**400, ...]),
        ("failures.0.error", [None, 7, True, "abc", [], {}, ...]),
        ("failures.0.error.kind", [None, *NO_WORDS]),
        ("failures.0.error.message", [None, 7, "x" * 1001, "x" * 100_000, ...]),
        ("failures.0.error.status", [True, 400.0, "400", 99, 1000, int("9" * 4300), ...]),
        ("failures.0.error.content_type", NO_WORDS),
        ("failures.0.error.error", NO_WORDS),
        ("failures.0.error.description", NO_WORDS),
        ("failures.0.error.retry_after", [True, "7", -1, 1e300, 10**400, ...]),
        ("failures.0.error.transient", [None, 0, 1, "true", ...]),
    ],
)
def test_a_member_of_another_type_or_out_of_bounds_is_garbage(  # F10, S57
    path: str, values: list[object]
) -> None:
    for value in values:
        assert decoded(changed(FULL, path, value)) is Flaw.GARBAGE, value


def test_more_failures_than_an_entry_keeps_are_garbage() -> None:  # S57
    one = json.loads(encoded(REFUSED))["failures"][0]
    many = [{**one, "credentials_hash": f"{number:02x}"} for number in range(KEPT + 2)]
    assert decoded(changed(REFUSED, "failures", many)) is Flaw.GARBAGE


def test_control_characters_in_text_are_escaped() -> None:  # S57
    found = read(changed(REFUSED, "failures.0.error.message", "evil\n\x1b[2J\u2028\ud800"))
    assert str(found.failures[0].error) == "evil\\n\\x1b[2J\\u2028\\ud800"
    found = read(changed(REFUSED, "failures.0.error.description", "evil\r\n"))
    assert found.failures[0].error.description == "evil\\r\\n"


def test_an_entry_that_contradicts_itself_is_normalised() -> None:  # S57
    # a hash without its salt matches no credentials
    assert decoded(changed(REFUSED, "salt", "")) is Flaw.GARBAGE
    assert read(changed(TOKEN, "revoked_through", GENERATION)) == REVOKED
    failures = json.loads(encoded(FULL))["failures"]
    assert read(changed(FULL, "failures", failures[::-1])) == FULL


def test_an_empty_entry_is_garbage() -> None:
    assert decoded(changed(TOKEN, "token", None)) is Flaw.GARBAGE


# -- times that cannot be true ---------------------------------------------------------------------


def test_a_token_from_the_far_future_is_a_miss() -> None:  # S57
    later = issued(NOW.after(LONGEST_LIFETIME), lifetime=HOUR)
    assert decoded(encoded(Entry(token=later))) is Flaw.GARBAGE
    assert isinstance(decoded(encoded(Entry(token=later)), wall=WALL + DAY), Entry)


def test_the_rest_of_an_entry_with_a_token_from_the_far_future_is_kept() -> None:  # S57
    # a machine whose clock starts in 1970 must not lose a login, which cannot be obtained again
    found = decoded(encoded(FULL), wall=0.0)
    assert found == replace(FULL, token=None)


def test_a_generation_from_the_far_future_is_not_a_flaw() -> None:  # S57
    far = Entry(token=issued(generation=2**62))
    assert read(encoded(far)) == far


# -- schemas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b'{"schema": 3}',
        b'{"schema": 10000000000000000000000, "checksum": 7, "token": "of another kind"}',
        json.dumps({**json.loads(encoded(TOKEN)), "schema": 3}).encode(),
        sealed({**json.loads(encoded(TOKEN)), "schema": 3}),
    ],
)
def test_a_newer_schema_is_recognised_without_its_checksum(data: bytes) -> None:  # F11
    assert decoded(data) is Flaw.NEWER


@pytest.mark.parametrize("schema", [0, -1, True, 1.0, 2.0, "1", "2", None, [], ...])
def test_any_other_schema_is_garbage(schema: object) -> None:  # F10
    assert decoded(changed(TOKEN, "schema", schema)) is Flaw.GARBAGE


OLD: Body = {
    "schema": 1,
    "key": KEY.digest(),
    "generation": 3,
    "boot": BOOT,
    "token": {
        "value": "abc",
        "issued_at": WALL + 0.5,
        "expires_at": WALL + HOUR,
        "scope": "read",
        "refresh_token": "refresh",
        "issued_boot": NOW.boot,
    },
    "refusal": {
        "refused_at": WALL + 60.5,
        "until": WALL + 360.5,
        "error": {
            "kind": "GrantRefused",
            "message": "no",
            "status": 400,
            "content_type": None,
            "error": "invalid_grant",
            "description": None,
            "retry_after": None,
            "transient": False,
        },
        "failures": 2,
        "salt": SALT.hex(),
        "tag": b"tag".hex(),
        "forgets": {"digest": "0" * 16, "issued_at": WALL - 60.5, "issued_boot": None},
        "refused_boot": NOW.boot + 60,
    },
}
"""A record of version 0.1.0 with every member set."""


def test_a_record_of_schema_1_is_read() -> None:
    token = Token("abc", WALL + 0.5, WALL + HOUR, "read", "refresh", NOW.boot, GENERATION)
    refused = Failure(
        kind=FailureKind.REFUSED,
        at=WALL + 60.5,
        until=WALL + 360.5,
        error=GrantRefused("no", status=400, error="invalid_grant"),
        count=2,
        generation=GENERATION + 60,
        credentials_hash=b"tag",
        at_boot=NOW.boot + 60,
    )
    expected = Entry(token=token, revoked_through=GENERATION - 61, failures=(refused,), salt=SALT)
    assert content(read(sealed(OLD))) == content(expected)


def test_bytes_written_by_version_0_1_are_read() -> None:
    written = (
        b'{"boot":"this boot","checksum":"'
        b'717374009219efe09f7b28fa357ac108d51c4c98501a0fefa0844f26e67d21a1",'
        b'"generation":3,'
        b'"key":"8f1195c8954fd78c012ee65a22f249c4","refusal":null,"schema":1,'
        b'"token":{"expires_at":1700003600.0,"issued_at":1700000000.0,"issued_boot":1000000.0,'
        b'"refresh_token":null,"scope":"read","value":"abc"}}'
    )
    token = Token(
        "abc",
        1_700_000_000.0,
        1_700_003_600.0,
        "read",
        issued_boot=1_000_000.0,
        generation=1_700_000_000,
    )
    assert content(read(written)) == content(Entry(token=token))


def test_an_outage_of_schema_1_is_one_of_schema_2() -> None:
    outage = {**members(OLD["refusal"]), "salt": "", "tag": "", "forgets": None}
    found = read(sealed({**OLD, "refusal": outage}))
    assert found.outage is not None
    assert found.outage.generation == GENERATION + 60
    assert found.token is not None


def test_a_tombstone_of_schema_1_is_a_revocation() -> None:  # S41
    dead = {"digest": "0" * 16, "issued_at": WALL + 0.5, "issued_boot": None}
    stone = {**members(OLD["refusal"]), "error": None, "salt": "", "tag": "", "forgets": dead}
    # kept as long as its token could live
    stone = {**stone, "until": WALL + 300 * DAY}
    assert read(sealed({**OLD, "token": None, "refusal": stone})) == REVOKED
    # the token that it revokes may be stored beside it
    assert read(sealed({**OLD, "refusal": stone})) == REVOKED


def test_boot_times_of_another_boot_are_left_out_of_schema_1_too() -> None:  # F16
    found = decoded(sealed(OLD), boot="another boot")
    assert isinstance(found, Entry)
    assert content(found) == content(undated(found))


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("token", [7, True, "abc", [], {}, ...]),
        ("token.value", [None, 7, "", "two words", "x" * (LONGEST_SECRET + 1), ...]),
        ("token.issued_at", NO_TIMES),
        ("token.expires_at", [*NO_TIMES, WALL, WALL + LONGEST_LIFETIME + 2]),
        ("token.issued_boot", [True, "1", 1e300, ...]),
        ("refusal", [7, True, "abc", [], {}, ...]),
        ("refusal.refused_at", NO_TIMES),
        ("refusal.until", [*NO_TIMES, WALL, WALL + LONGEST_WAIT + 62]),
        ("refusal.failures", [None, True, 1.0, -1, int("9" * 4300), ...]),
        ("refusal.salt", NO_HASHES),
        ("refusal.tag", NO_HASHES),
        ("refusal.forgets", [7, "abc", {}, ...]),
        ("refusal.forgets.issued_at", NO_TIMES),
        ("refusal.error", [7, "abc", {}, ...]),
        ("refusal.error.message", [None, "x" * 1001, ...]),
        ("refusal.refused_boot", [True, "1", 1e300, ...]),
    ],
)
def test_a_member_of_schema_1_out_of_bounds_is_garbage(  # F10, S57
    path: str, values: list[object]
) -> None:
    for value in values:
        assert decoded(altered(OLD, path, value)) is Flaw.GARBAGE, value


def test_the_number_of_saves_in_schema_1_does_not_matter() -> None:
    # a record with a generation of 4,300 digits once cost every process its token
    assert read(altered(OLD, "generation", int("9" * 4300))) == read(sealed(OLD))


def test_an_empty_record_of_schema_1_is_garbage() -> None:
    assert decoded(sealed({**OLD, "token": None, "refusal": None})) is Flaw.GARBAGE


# -- errors ----------------------------------------------------------------------------------------


class Locked(GrantRefused):
    """A custom error of a grant."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Locked("locked", status=423), GrantRefused),
        (GrantUnavailable("down", transient=True), GrantUnavailable),
        (RevocationFailed("not confirmed"), GrantUnavailable),
        (TokenError("whatever"), GrantUnavailable),
    ],
)
def test_an_error_is_read_back_as_the_nearest_known_kind(
    error: TokenError, kind: type[TokenError]
) -> None:
    found = read(encoded(Entry(failures=(replace(failure(ago(1)), error=error),))))
    assert attributes_of(found.failures[0].error) == (kind, str(error), vars(error))


def test_a_kind_added_by_a_later_version_is_read_back_as_an_outage() -> None:
    found = read(changed(REFUSED, "failures.0.error.kind", "GrantPostponed"))
    assert type(found.failures[0].error) is GrantUnavailable


# -- whose it is -----------------------------------------------------------------------------------


def whose(data: bytes) -> Owner | None:
    found = decode_any(data, KEY.digest(), boot=BOOT, wall=WALL)
    assert not isinstance(found, Flaw)
    return found[0]


def test_a_record_names_its_owner_on_demand_alone() -> None:
    named = encode(TOKEN, KEY, boot=BOOT, named=True)
    assert named is not None
    assert whose(named) == Owner(KEY.token_url, KEY.client_id, KEY.username)
    # a store of many machines shows no user's name
    assert KEY.username is not None
    assert KEY.username.encode() not in encoded(TOKEN)
    assert whose(encoded(TOKEN)) is None


def test_a_record_that_names_its_owner_decodes_like_one_that_does_not() -> None:
    named = encode(FULL, KEY, boot=BOOT, named=True)
    assert named is not None
    assert content(read(named)) == content(read(encoded(FULL)))


@pytest.mark.parametrize("owner", [None, 7, {}, {"token_url": 7}, {"token_url": "x" * 5000}])
def test_an_owner_that_cannot_be_read_is_not_known(owner: object) -> None:  # S57
    assert whose(sealed({**json.loads(encoded(TOKEN)), "owner": owner})) is None


def test_a_name_is_fit_for_a_terminal() -> None:  # S57
    key = replace(KEY, username="evil\x1b[2J")
    data = encode(TOKEN, key, boot=BOOT, named=True)
    assert data is not None
    found = decode_any(data, key.digest(), boot=BOOT, wall=WALL)
    assert not isinstance(found, Flaw)
    assert found[0] is not None
    assert found[0].username == r"evil\x1b[2J"


def test_a_record_in_a_file_of_another_name_is_foreign() -> None:
    assert decode_any(encoded(TOKEN), "0" * 32, boot=BOOT, wall=WALL) is Flaw.FOREIGN
