"""Lists the tokens in a token folder and their owners, without credentials."""

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
"""The beginning of all data encrypted with Fernet."""


@dataclass(frozen=True, slots=True)
class TokenFile:
    """One file of a token folder.

    Attributes:
        path: of the file.
        owner: the owner of the token; None if the file does not name one, or cannot be used.
        entry: its entry; None if the file cannot be used.
        flaw: why the file cannot be used; empty if it can.
    """

    path: str
    owner: Owner | None = None
    entry: Entry | None = None
    flaw: str = ""


def token_files(folder: str | os.PathLike[str]) -> Iterator[TokenFile]:
    """The token files in `folder`, by name.

    Raises:
        FileNotFoundError: the folder does not exist.
        OSError: the folder cannot be read.
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
