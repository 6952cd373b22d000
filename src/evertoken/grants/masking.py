"""Quotes a server's words without the secrets that they may repeat (pure; fails closed).

A server that refuses a request may repeat it: as it was sent, in an HTML page, as a JSON string, in
base64, or escaped twice. No list of such forms is complete, so the text is decoded instead:

1. A secret in its own form, or percent-encoded, is replaced by `***`.
2. The rest is decoded breadth first, `DEPTH` levels deep: by each decoder alone, then by each of
   them again on what came out.
3. Every result is searched for each secret. Only letters and digits are compared, without case and
   accents. So quotes, backslashes, spaces, line breaks, NULs and combining marks, which most
   escapes add or drop, need no decoder.
4. If a secret is found, nothing is quoted. The same holds where the search cannot be trusted: the
   text decodes to too much, or a secret has fewer than `FEWEST` letters and digits.

Only the beginning of a text is looked at, so that 1 MiB costs no more than a page: what can be
quoted, and `ROOM` characters more, where a secret may end that begins in what is quoted.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from evertoken.grants.decoding import DECODERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MAX_DESCRIPTION = 200
"""Characters of a server's own words that an error quotes."""

WITHHELD = "(withheld: the server's words may repeat a credential)"
"""What is quoted in place of words that may repeat a secret."""

FEWEST = 4
"""Letters and digits without which a secret cannot be told from other words."""

DEPTH = 4
"""How many escapes, one inside the other, are undone."""

HEAD = 32
"""Bytes of a secret, in UTF-8, that are searched for: a text with so many repeats it all."""

# two escapes make up to 100 characters of a byte: \U00000041, with an entity for each of its ten
ROOM = 100 * HEAD

# bounds the time, to about a tenth of a second; an ordinary answer takes a hundredth of it
_BUDGET = 1 << 17

# the first digits of a secret may be taken for an escape's: "password=" + "42…" is "passwordB…" in
# quoted-printable
_SKIPPED = 2

_SEPARATORS = re.compile(r"[\W_]+")
_HIDDEN = "\U0010ffff"


def clean(text: str, secrets: Collection[str] = (), *, withheld: str = WITHHELD) -> str:
    """A server's words, fit for a log: secrets masked, control characters escaped, cut.

    Args:
        text: the words.
        secrets: what they must not show; an empty one is no secret.
        withheld: returned if they may repeat a secret in an escaped form.
    """
    secrets = [secret for secret in secrets if secret]
    region = text[: MAX_DESCRIPTION + ROOM]
    searches: dict[str, set[str]] = {}
    for secret in secrets:
        # not every secret: the mask of one that is a part of this one would cut it in two
        around = [it for it in secrets if it in region and repeats(it, [secret])]
        masked = _masked(_hidden(region, [secret, *around]))
        searches.setdefault(masked, set()).update(_needles(secret))
    if any(_holds(masked, needles) for masked, needles in searches.items()):
        return withheld
    hidden = _hidden(region, secrets)
    # masks draw later words nearer: of a longer text, not those that were not looked at
    cut = _masked(hidden if region == text else hidden[:MAX_DESCRIPTION])[:MAX_DESCRIPTION]
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return "".join(escaped)[:MAX_DESCRIPTION]


def repeats(text: str, secrets: Collection[str]) -> bool:
    """Whether `text`, looked at as a whole, may repeat one of `secrets` in any form."""
    needles = {needle for secret in secrets if secret for needle in _needles(secret)}
    return bool(needles) and _holds(text, needles)


def distinguishable(text: str) -> bool:
    """Whether `text` has enough letters and digits to be told from other words."""
    return min(len(text), len(_letters(text))) >= FEWEST


def _hidden(text: str, secrets: Collection[str]) -> str:
    """`text`, equally long, without the secrets in it that are as they are or percent-encoded."""
    shown = list(text)
    fitting = (secret for secret in secrets if len(secret) <= len(text))
    for form in {form for secret in fitting for form in _plain_forms(secret)}:
        at = text.find(form)
        while at >= 0:
            shown[at : at + len(form)] = _HIDDEN * len(form)
            # one that overlaps counts too: "aaaaa" without "aaaa" would leave one letter
            at = text.find(form, at + 1)
    return "".join(shown)


def _masked(hidden: str) -> str:
    return re.sub(f"{_HIDDEN}+", "***", hidden)


def _plain_forms(secret: str) -> Iterator[str]:
    # a token that comes with an error may hold lone surrogates
    encoded = secret.encode("utf-8", "surrogatepass")
    for form in (secret, quote_plus(encoded), quote(encoded), quote(encoded, safe="")):
        yield form
        yield re.sub("%..", lambda escape: escape[0].lower(), form)


def _holds(text: str, needles: set[str]) -> bool:
    """Whether `text`, or anything that it decodes to, shows one of `needles`."""
    spent = 0
    for variant in _variants(text):
        spent += len(variant)
        views = _views(variant)
        if spent > _BUDGET or any(needle in view for view in views for needle in needles):
            return True
    return False


def _variants(text: str) -> Iterator[str]:
    """`text` and what it decodes to, each once, the least decoded first."""
    yield text
    seen, layer = {text}, [text]
    for _ in range(DEPTH):
        found: list[str] = []
        for decoded in (decode(it) for it in layer for decode in DECODERS):
            if decoded not in seen:
                seen.add(decoded)
                found.append(decoded)
                yield decoded
        layer = found


def _views(text: str) -> tuple[str, ...]:
    """What is searched: all letters and digits of `text`, and those of its ASCII characters."""
    return (_letters(text),) if text.isascii() else (_letters(text), _letters(_ascii(text)))


def _needles(secret: str) -> set[str]:
    """What to search for: with "", which is found anywhere, if the secret is too short."""
    head = secret.encode("utf-8", "surrogatepass")[:HEAD].decode("utf-8", "ignore")
    whole = _letters(head)
    partial = {_letters(form) for form in _lossy(secret[:HEAD])}
    return {
        _shortened(whole) if min(len(secret), len(whole)) >= FEWEST else "",
        *(_shortened(it) for it in partial if len(it) >= FEWEST),
    }


def _lossy(text: str) -> Iterator[str]:
    """What is left of `text` in another encoding, or if a server drops or replaces the rest."""
    if text.isascii():
        return
    for form in ("NFC", "NFD"):
        normal = unicodedata.normalize(form, text)
        yield _ascii(normal)
        yield normal.encode("utf-8", "surrogatepass").decode("cp1252", "ignore")
        yield normal.encode("utf-16-le", "surrogatepass").decode("latin-1")
        yield normal.encode("utf-16-be", "surrogatepass").decode("latin-1")


def _shortened(letters: str) -> str:
    return letters[_SKIPPED:] if len(letters) >= FEWEST + _SKIPPED else letters


def _letters(text: str) -> str:
    """The letters and digits of `text`, alike in any case and with any accents."""
    if text.isascii():
        return _SEPARATORS.sub("", text.lower())
    # joins surrogates that are one character
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _SEPARATORS.sub("", unicodedata.normalize("NFKD", whole).casefold())


def _ascii(text: str) -> str:
    return text.encode("ascii", "ignore").decode()
