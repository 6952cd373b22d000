"""The body of an answer: bounded in size and time, and only in a coding that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from evertoken.grants.watch import Watch

MAX_BYTES = 1 << 20
"""Bytes, decoded, beyond which an answer is not read."""

# small, since urllib3 before 2.6 unpacks a piece whole, and a piece may grow a thousandfold
_CHUNK = 1 << 11

ACCEPTED = "gzip, deflate"
_CODINGS = frozenset({"identity", "gzip", "x-gzip", "deflate"})


def read(response: requests.Response, watch: Watch, *, needed: bool) -> tuple[bytes, str]:
    """The decoded body, or what is wrong with it.

    Args:
        response: its body has not been read.
        watch: ends the reading, whatever the connection does.
        needed: whether to raise what breaks the body off. What is known by its status alone is not
            lost with the rest: a refused password is not posted again.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in _CODINGS:
        # some that a server may choose unasked unpack without any bound
        return b"", "is in a content coding that was not asked for"
    body = bytearray()
    try:
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > MAX_BYTES:
                return b"", f"is larger than {MAX_BYTES} bytes"
            watch.bound(None)
    except requests.exceptions.ContentDecodingError:
        return b"", f"is not valid {coding}"
    except OSError:
        if needed:
            raise
        return b"", "is cut short"
    return bytes(body), ""
