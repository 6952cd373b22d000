"""Faults in answers: each changes the steps of another behaviour.

By default a fault changes the server's usual answer.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Literal

from evertoken.testing.answers import (
    USUAL,
    Answer,
    Behaviour,
    Body,
    Exchange,
    HangUp,
    Head,
    Hold,
    Pause,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTS = {"head": Head, "body": Body}
_FILLER = b" " * 65_536  # white space, which a JSON parser skips
_EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Raw:
    """Send these bytes, HTTP or not, and hang up. The server does none of its work."""

    data: bytes = field(repr=False)

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Send the bytes, then hang up."""
        del exchange
        yield Head(self.data)
        yield HangUp()


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection (TCP RST) once the request has been read."""

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Reset at once."""
        del exchange
        yield HangUp(reset=True)


@dataclass(frozen=True, slots=True)
class Hang:
    """Read the request, send nothing until `TokenServer.release()`, then behave like `then`.

    The server's work is done only after the release: nothing is granted before.
    """

    then: Behaviour = USUAL

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Hold, then go on."""
        yield Hold()
        yield from self.then.steps(exchange)


@dataclass(frozen=True, slots=True)
class Delay:
    """Do the work at once, but answer `seconds` later: a token is that old when it arrives."""

    seconds: float
    then: Behaviour = USUAL

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Compute the first step, which does the work, then pause."""
        steps = self.then.steps(exchange)
        first = list(islice(steps, 1))
        yield Pause(self.seconds)
        yield from chain(first, steps)


@dataclass(frozen=True, slots=True)
class Drip:
    """Send the head or the body byte by byte, `interval` seconds apart."""

    interval: float
    part: Literal["head", "body"] = "body"
    then: Behaviour = USUAL

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Split one part; the other is sent as usual."""
        for step in self.then.steps(exchange):
            if isinstance(step, Head | Body) and isinstance(step, _PARTS[self.part]):
                for at in range(len(step.data)):
                    yield replace(step, data=step.data[at : at + 1])
                    yield Pause(self.interval)
            else:
                yield step


@dataclass(frozen=True, slots=True)
class Cut:
    """Hang up inside the head or the body. The server's work is done; only its answer is lost.

    Attributes:
        part: where the connection ends. `Cut("head", keep=0)` sends nothing at all.
        keep: bytes of that part that are still sent; None: half of them.
    """

    part: Literal["head", "body"] = "body"
    keep: int | None = None
    then: Behaviour = USUAL

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Send the answer up to the cut."""
        for step in self.then.steps(exchange):
            if isinstance(step, Head | Body) and isinstance(step, _PARTS[self.part]):
                keep = len(step.data) // 2 if self.keep is None else self.keep
                yield replace(step, data=step.data[:keep])
                yield HangUp()
                return
            yield step


@dataclass(frozen=True, slots=True)
class Gzip:
    """Send `answer` compressed, even if not accepted; None: the usual answer."""

    answer: Answer | None = None

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Send a correct answer with `Content-Encoding: gzip`."""
        answer = self.answer or exchange.usual()
        yield from answer.gzipped().steps(exchange)


@dataclass(frozen=True, slots=True)
class EarlyHints:
    """Send a 103 first (RFC 8297)."""

    then: Behaviour = USUAL

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Send the 103, then the rest."""
        yield Head(_EARLY_HINTS)
        yield from self.then.steps(exchange)


@dataclass(frozen=True, slots=True)
class Endless:
    """Send white space as a JSON body until the client hangs up. The server does none of its work.

    Attributes:
        gzip: compress it about a thousandfold, so that few bytes on the wire become many.
    """

    gzip: bool = False

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        """Send a head, then endless chunks."""
        del exchange
        coding = b"Content-Encoding: gzip\r\n" if self.gzip else b""
        yield Head(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            + coding
            + b"Transfer-Encoding: chunked\r\n\r\n"
        )
        yield from map(_chunk, _bomb() if self.gzip else repeat(_FILLER))


def _chunk(data: bytes) -> Body:
    return Body(b"%x\r\n%b\r\n" % (len(data), data))


def _bomb() -> Iterator[bytes]:
    """An endless gzip stream; each block of about 1 KiB expands to 1 MiB of white space."""
    deflate = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)

    def block() -> bytes:
        return deflate.compress(_FILLER * 16) + deflate.flush(zlib.Z_FULL_FLUSH)

    # a full flush resets the compressor, so all blocks from the second on are equal
    return chain([block()], repeat(block()))
