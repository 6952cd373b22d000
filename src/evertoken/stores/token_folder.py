"""What a token folder holds, by its files alone: whose tokens, without any credentials."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evertoken.runtime import clock
from evertoken.stores import private_files
from evertoken.stores.record import Flaw, Owner, decode_any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.core.entry import Entry

_NAME = re.compile(r"([0-9a-f]{32})\.json")

_SEALED = b"gAAAA"
"""How everything begins that Fernet has encrypted."""


@dataclass(frozen=True, slots=True)
class TokenFile:
    """One file of a token folder.

    Attributes:
        path: of the file.
        owner: whose token; None if the file does not say, or cannot be used.
        entry: what it holds; None if it cannot be used.
        flaw: why it cannot be used; empty: it can.
    """

    path: str
    owner: Owner | None = None
    entry: Entry | None = None
    flaw: str = ""


def token_files(folder: str | os.PathLike[str]) -> Iterator[TokenFile]:
    """The token files in `folder`, by name.

    Raises:
        FileNotFoundError: there is no such folder.
        OSError: it cannot be read.
    """
    for name in sorted(os.listdir(folder)):
        if found := _NAME.fullmatch(name):
            yield _read(os.path.join(folder, name), found[1])


def _read(path: str, digest: str) -> TokenFile:
    try:
        _, data = private_files.read(path)
    except OSError as error:
        return TokenFile(path, flaw=str(error))
    if data.startswith(_SEALED):
        return TokenFile(path, flaw="it is encrypted: only processes that have its key can read it")
    found = decode_any(data, digest, boot=clock.boot_id(), wall=clock.now().wall)
    if isinstance(found, Flaw):
        return TokenFile(path, flaw=found.value)
    owner, entry = found
    return TokenFile(path, owner, entry)
