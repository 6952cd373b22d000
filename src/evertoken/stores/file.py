"""Files as a store: one JSON file per identity, shared by the processes of one machine."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Self

from evertoken import clock
from evertoken.lazy import lazy
from evertoken.stores import private_files
from evertoken.stores.encryption import codec
from evertoken.stores.private_folders import UntrustedFolder
from evertoken.stores.record import Flaw, Record, decode, encode
from evertoken.token import forgotten, supersedes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from evertoken.stores import file_lock
    from evertoken.stores.encryption import EncryptionKey
    from evertoken.stores.file_lock import Hold
    from evertoken.token import Entry, Token, TokenKey
else:
    # filelock takes a quarter of the import time of requests, which who finds a token need not pay
    file_lock = lazy("evertoken.stores.file_lock")

_log = logging.getLogger("evertoken")

_SUFFIXES = (".json", ".tmp", ".lock", ".save")
"""Of what is read, written, and locked twice for an identity."""

SAVE_PATIENCE = 1.0
"""Seconds to wait for another process that writes the same file."""


class FileStore:
    """Shares tokens through files of mode 0600 in `directory`.

    The folder and its missing parents are created with mode 0700, whatever the umask.

    Three files per identity: `<id>.json`, `<id>.lock` (held during a renewal) and `<id>.save`
    (held while the first is compared and replaced, since a renewal may go on without its lock).
    Whatever the disk does, nothing is raised: the file is a miss, and requests go on from memory.
    Each cause is said once in the log, and once that all is well again. A file that others can read
    or write, that is owned by another user, linked, or no regular file is never trusted. A folder
    that another user owns (root excepted), or that everyone or a group other than the process's own
    can write to, is not used until that is mended: nothing in it is read, created or locked.

    Args:
        directory: of the user's own, on this machine. A link to it is followed.
        encryption_key: a Fernet key, or several of which the first seals and all open; needs the
            extra `encryption`. What none of them opens is a miss, and is replaced.

    Raises:
        ValueError: a malformed key.
        ImportError: the extra is not installed.
    """

    name = "file"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        encryption_key: EncryptionKey | Sequence[EncryptionKey] | None = None,
    ) -> None:
        self.directory = Path(directory).expanduser()
        self._encrypts = encryption_key is not None
        self._codec = codec(encryption_key)
        self._said: set[object] = set()
        self._troubles: dict[Path, str] = {}
        self._seen: dict[TokenKey, tuple[private_files.Signature, Record | Flaw]] = {}

    def path(self, key: TokenKey) -> Path:
        """Where the token of `key` is."""
        return self.directory / f"{key.digest()}.json"

    def load(self, key: TokenKey) -> Entry | None:
        """The entry of `key`; if its file has not changed, at the cost of two `stat` calls."""
        record = self._read(key)
        return record.entry if isinstance(record, Record) else None

    def save(self, key: TokenKey, entry: Entry) -> None:
        """Replace the entry of `key`, unless the file holds a later token or a newer schema."""
        self._update(key, lambda held: entry if supersedes(entry, held, clock.now()) else None)

    def forget(self, key: TokenKey, token: Token) -> None:
        """Leave a mark in place of `token`, so that processes that hold it drop it."""
        self._update(key, lambda held: forgotten(held, token, clock.now()))

    @contextlib.contextmanager
    def lock(self, key: TokenKey, *, timeout: float) -> Iterator[bool]:
        """Hold the lock of `key`; False where another process holds it beyond `timeout` seconds.

        True also where the file system offers no lock, said once: each process then renews alone.
        """
        with self._locked(self._beside(key, ".lock"), timeout) as hold:
            yield hold is not file_lock.Hold.BUSY

    def trouble(self, key: TokenKey) -> str | None:
        """Why it does not serve `key` for now; None: it does."""
        if not self._troubles:
            return None
        paths = (*(self._beside(key, suffix) for suffix in _SUFFIXES), self.directory)
        return next(filter(None, map(self._troubles.get, paths)), None)

    def __repr__(self) -> str:
        return f"FileStore({str(self.directory)!r})"

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        if self._encrypts:
            raise TypeError(
                "a FileStore that was given an encryption key does not pickle: make one in each "
                "process"
            )
        return type(self), (str(self.directory),)

    def _beside(self, key: TokenKey, suffix: str) -> Path:
        return self.path(key).with_suffix(suffix)

    def _read(self, key: TokenKey) -> Record | Flaw | None:
        path = self.path(key)
        seen = self._seen.get(key)
        try:
            if seen is not None and seen[0] == private_files.signature(path):
                if isinstance(seen[1], Record):
                    self._note_success(path)
                return seen[1]
            found, stored = private_files.read(path)
        except FileNotFoundError:
            self._note_success(path)
            return None
        except OSError as error:
            self._note_error(path, error)
            return None
        data = self._codec.unseal(stored)
        record = Flaw.SEALED if data is None else decode(data, key, boot=clock.boot_id())
        if isinstance(record, Flaw):
            self._note(path, f"the token file {path} is not used: {record.value}")
        else:
            self._note_success(path)
        self._seen[key] = found, record
        return record

    def _update(self, key: TokenKey, change: Callable[[Entry | None], Entry | None]) -> None:
        """Compare and replace as one step among processes."""
        with self._locked(self._beside(key, ".save"), SAVE_PATIENCE) as hold:
            if hold is file_lock.Hold.BUSY:
                self._say(f"{self.path(key)} is being written by another process for too long")
                return
            record = self._read(key)
            entry = change(record.entry if isinstance(record, Record) else None)
            if record is not Flaw.NEWER and entry is not None:
                self._write(key, entry, record, sweep=hold is file_lock.Hold.HELD)

    def _write(
        self, key: TokenKey, entry: Entry, before: Record | Flaw | None, *, sweep: bool
    ) -> None:
        generation = before.generation + 1 if isinstance(before, Record) else 1
        data = encode(Record(entry, generation), key, boot=clock.boot_id())
        path = self.path(key)
        try:
            # where others may write at the same time, a draft may be one of theirs
            if sweep:
                private_files.sweep(path)
            private_files.replace(path, self._codec.seal(data))
        except OSError as error:
            self._note_error(path.with_suffix(".tmp"), error)
        else:
            self._note_success(path.with_suffix(".tmp"))

    def _locked(self, path: Path, timeout: float) -> AbstractContextManager[Hold]:
        def note(error: OSError | None) -> None:
            self._note_success(path) if error is None else self._note_error(path, error)

        return file_lock.locked(path, timeout=timeout, note=note)

    def _note_error(self, path: Path, error: OSError) -> None:
        """Say it once, though every step of a save fails on a disk that is full."""
        what = f"token files in {self.directory} are not used for now: {error}"
        # the folder's own, since any access to any file in it shows that it is trusted again
        path = self.directory if isinstance(error, UntrustedFolder) else path
        # a message may name a draft, whose name is another one each time
        self._note(path, what, cause=error.errno or str(error))

    def _note(self, path: Path, what: str, *, cause: object = None) -> None:
        self._troubles[path] = what
        self._say(what, cause=cause)

    def _note_success(self, path: Path) -> None:
        """Say once that all is well again: what comes then is a new trouble."""
        if not self._troubles:
            return
        ended = [self._troubles.pop(place, None) for place in (path, self.directory)]
        if any(ended) and not self._troubles:
            self._said.clear()
            _log.info("token files in %s are used again", self.directory)

    def _say(self, what: str, *, cause: object = None) -> None:
        if (cause or what) not in self._said:
            self._said.add(cause or what)
            _log.warning("%s", what)
