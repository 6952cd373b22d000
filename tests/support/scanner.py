"""Finds planted secrets in anything printed, logged, raised or pickled, in any encoding."""

from __future__ import annotations

import base64
import gc
import json
import types
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_EVERYONES = types.ModuleType | type | types.FunctionType | types.CodeType | types.FrameType


class Scanner:
    """Searches text, bytes and object graphs for secrets.

    Args:
        **secrets: by name; a finding shows only the name.

    Raises:
        ValueError: a secret is so short that it could appear by chance.
    """

    def __init__(self, **secrets: str) -> None:
        for name, secret in secrets.items():
            if len(secret) < 8:
                raise ValueError(f"{name} is too short to be searched for")
        self._needles = [
            (name, form, needle)
            for name, secret in secrets.items()
            for form, needle in encodings(secret)
        ]

    def found_in(self, *outputs: str | bytes) -> list[str]:
        """The secrets in `outputs`, and their forms."""
        whole = b"\n".join(map(_as_bytes, outputs))
        # percent-encoding varies, so it is decoded
        views = {"": whole, "percent, ": unquote_to_bytes(whole)}
        views["form, "] = unquote_to_bytes(whole.replace(b"+", b" "))
        return [
            f"{name} ({view}{form})"
            for name, form, needle in self._needles
            for view, haystack in views.items()
            if needle in haystack
        ]

    def found_on(self, *roots: object) -> list[str]:
        """The secrets reachable from `roots`: an exception's context, request, body …"""
        return self.found_in(*texts_on(roots), *map(_shown, roots))


def encodings(secret: str) -> Iterator[tuple[str, bytes]]:
    """The forms in which a secret is sent or shown, each with its name."""
    raw = secret.encode()
    yield "plain", raw
    yield "JSON", json.dumps(secret)[1:-1].encode()
    yield "repr", repr(secret)[1:-1].encode()
    yield "repr", repr(raw)[2:-1].encode()
    yield "hexadecimal", raw.hex().encode()
    for form in (raw, quote_plus(secret).encode()):
        # inside a longer text, base64 depends on the position modulo 3
        for phase in range(3):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                yield "base64", _inner_base64(encode(b"\0" * phase + form), phase)


def texts_on(root: object) -> Iterator[str | bytes]:
    """Every text and byte string reachable from `root`, at any depth."""
    for it in reachable(root):
        if isinstance(it, str | bytes):
            yield it
        elif isinstance(it, bytearray):
            yield bytes(it)


def reachable(root: object) -> Iterator[object]:
    """All objects reachable from `root`, except those of the interpreter itself.

    For an exception this includes its cause, context, arguments, request and response, but not the
    local variables of its frames.
    """
    seen = {id(root)}
    waiting = [root]
    while waiting:
        it = waiting.pop()
        yield it
        for child in gc.get_referents(it):
            if id(child) not in seen and not isinstance(child, _EVERYONES):
                seen.add(id(child))
                waiting.append(child)


def _inner_base64(encoded: bytes, phase: int) -> bytes:
    """The part of the base64 form that does not depend on the surrounding text."""
    start = (0, 2, 3)[phase]
    return encoded.rstrip(b"=")[start:-1]


def _as_bytes(output: str | bytes) -> bytes:
    return output if isinstance(output, bytes) else output.encode(errors="replace")


def _shown(root: object) -> str:
    return f"{root} {root!r}" if not isinstance(root, BaseException) else _shown_error(root)


def _shown_error(error: BaseException) -> str:
    chain: Iterable[BaseException | None] = (error, error.__cause__, error.__context__)
    return " ".join(f"{it} {it!r} {vars(it)!r}" for it in chain if it is not None)
