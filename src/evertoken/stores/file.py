"""Files as a store: one JSON file per identity, shared by the processes of one machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from evertoken import mistakes
from evertoken.core.entry import NOTHING, Entry, adds, demoted, join_at
from evertoken.core.hold import Hold
from evertoken.errors import discreet
from evertoken.lru import LRU, Once
from evertoken.runtime import clock
from evertoken.runtime.lazy import lazy
from evertoken.stores import private_files, private_folders
from evertoken.stores.encryption import codec
from evertoken.stores.record import UNSTORABLE, Flaw, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from evertoken.core.token import TokenKey
    from evertoken.runtime import reports
    from evertoken.stores import file_lock
    from evertoken.stores.encryption import EncryptionKey
    from evertoken.stores.file_lock import FileLock
else:
    # filelock takes a quarter of the import time of requests; a process that finds a token in the
    # file does without it
    file_lock = lazy("evertoken.stores.file_lock")
    reports = lazy("evertoken.runtime.reports")

_SUFFIXES = (".json", ".lock", ".save", ".tmp")
"""Of what is read, locked twice, and written for an identity; what fails first is the cause."""

MAX_REMEMBERED = 16_384
"""Files whose content is remembered, and files that fail: more than one process serves at a time.

Beyond it the file that was used longest ago is read again at its next use.
"""

SAVE_PATIENCE = 1.0
"""Seconds to wait for another process that writes the same file."""


class FileStore:
    """Shares tokens through files of mode 0600 in `directory`.

    The folder and its missing parents are created with mode 0700, whatever the umask.

    Three files per identity: `<id>.json`, `<id>.lock` (held during a renewal) and `<id>.save`
    (held while the first is read, joined and replaced, since a renewal may go on without its lock).
    Whatever the disk does, nothing is raised: the file is a miss, and requests go on from memory.
    Each cause is said once in the log, and once that all is well again. A file that others can read
    or write, that is owned by another user, linked, or no regular file is never trusted. A folder
    that another user owns (root excepted), or that everyone or a group other than the process's own
    can write to, is not used until that is mended: nothing in it is read, created or locked.

    Args:
        directory: of the user's own, on this machine; may begin with `~`. A link to it is followed.
        encryption_key: a Fernet key, or several of which the first seals and all open; needs the
            extra `encryption`. What none of them opens is a miss, and is replaced.

    Raises:
        ValueError: a malformed key; or the home folder of a `directory` with `~` is not known.
        TypeError: `directory` is not a path.
        ImportError: the extra is not installed.
    """

    name = "file"

    @discreet
    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        encryption_key: EncryptionKey | Sequence[EncryptionKey] | None = None,
    ) -> None:
        mistakes.require_path("directory", directory)
        self.directory = private_folders.expanded(directory)
        self._encrypts = encryption_key is not None
        self._codec = codec(encryption_key)
        self._said = Once()
        self._troubles: LRU[str] = LRU(MAX_REMEMBERED)
        self._seen: LRU[tuple[private_files.Signature, Entry | Flaw]] = LRU(MAX_REMEMBERED)
        self._locks: dict[TokenKey, FileLock] = {}
        self._removes_drafts = True

    def path(self, key: TokenKey) -> Path:
        """Where the token of `key` is."""
        return Path(self._place(key, ".json"))

    def load(self, key: TokenKey) -> Entry | None:
        """The entry of `key`; if its file has not changed, at the cost of two `stat` calls."""
        entry = self._read(key)
        return entry if isinstance(entry, Entry) else None

    def save(self, key: TokenKey, entry: Entry) -> Entry | None:
        """Join `entry` to what the file holds, as one step among processes.

        Returns:
            What the file holds afterwards; None if it could not be written, is being written by
            another process for too long, or has a newer schema.
        """
        with self._locked(self._place(key, ".save"), SAVE_PATIENCE) as lock:
            if lock.hold is Hold.BUSY:
                self._say(f"{self.path(key)} is being written by another process for too long")
                return None
            found = self._read(key)
            if found is Flaw.NEWER:
                return None
            held = found if isinstance(found, Entry) else NOTHING
            joined = join_at(held, entry, clock.now().wall)
            if adds(joined, held) and not self._write(key, joined, alone=lock.hold is Hold.HELD):
                return None
            return joined

    @contextlib.contextmanager
    def lock(self, key: TokenKey, *, timeout: float) -> Iterator[Hold]:
        """Hold the lock of `key`; `BUSY` if another process holds it beyond `timeout` seconds.

        `ABSENT` where the file system offers no lock, said once: each process then renews alone.
        """
        with self._locked(self._place(key, ".lock"), timeout) as lock:
            if lock.hold is Hold.HELD:
                self._locks[key] = lock
            try:
                yield lock.hold
            finally:
                if self._locks.get(key) is lock:
                    del self._locks[key]

    def still_held(self, key: TokenKey) -> bool:
        """Whether the lock file of `key` is still the one that was locked here."""
        lock = self._locks.get(key)
        return lock is not None and lock.in_place()

    def trouble(self, key: TokenKey) -> str | None:
        """Why it does not serve `key` for now; None: it does."""
        if not self._troubles:
            return None
        paths = (*(self._place(key, suffix) for suffix in _SUFFIXES), str(self.directory))
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

    def _place(self, key: TokenKey, suffix: str) -> str:
        # no Path: it interns its parts, and Python 3.12 keeps what is interned for ever
        return os.path.join(self.directory, f"{key.digest()}{suffix}")

    def _read(self, key: TokenKey) -> Entry | Flaw | None:
        found = self._found(key)
        # each time it is asked for, since the clock may have been set meanwhile
        return demoted(found, clock.now().wall) if isinstance(found, Entry) else found

    def _found(self, key: TokenKey) -> Entry | Flaw | None:
        path = self._place(key, ".json")
        seen = self._seen.get(path)
        try:
            if seen is not None and seen[0] == private_files.signature(path):
                if isinstance(seen[1], Entry):
                    self._note_success(path)
                return seen[1]
            signature, stored = private_files.read(path)
        except FileNotFoundError:
            self._note_success(path)
            return None
        except OSError as error:
            self._note_error(path, error)
            return None
        entry = self._opened(key, stored)
        if isinstance(entry, Flaw):
            self._note(path, f"the token file {path} is not used: {entry.value}")
        else:
            self._note_success(path)
        self._seen.put(path, (signature, entry))
        return entry

    def _opened(self, key: TokenKey, stored: bytes) -> Entry | Flaw:
        data = self._codec.unseal(stored)
        if data is None:
            return Flaw.SEALED
        return decode(data, key, boot=clock.boot_id(), wall=clock.now().wall)

    def _write(self, key: TokenKey, entry: Entry, *, alone: bool) -> bool:
        """Replace the file; whether that was done."""
        path, draft = self._place(key, ".json"), self._place(key, ".tmp")
        data = encode(entry, key, boot=clock.boot_id())
        if data is None:
            self._say(f"the token file {path} is not written: {UNSTORABLE}")
            return False
        try:
            private_files.replace(path, self._codec.seal(data), alone=alone)
        except OSError as error:
            self._note_error(draft, error)
            return False
        self._note_success(draft)
        if not alone and self._removes_drafts:
            # once: drafts of other names than the fixed one are found by a listing alone
            self._removes_drafts = False
            private_files.remove_abandoned_drafts(str(self.directory))
        return True

    def _locked(self, path: str, timeout: float) -> AbstractContextManager[FileLock]:
        def note(error: OSError | None) -> None:
            self._note_success(path) if error is None else self._note_error(path, error)

        return file_lock.locked(path, timeout=timeout, note=note)

    def _note_error(self, path: str, error: OSError) -> None:
        """Say it once, though every step of a save fails on a disk that is full."""
        what = f"token files in {self.directory} are not used for now: {error}"
        # the folder's own, since any access to any file in it shows that it is trusted again
        path = str(self.directory) if isinstance(error, private_folders.UntrustedFolder) else path
        # a message may name a draft, whose name is another one each time
        self._note(path, what, cause=str(error.errno or error))

    def _note(self, path: str, what: str, *, cause: str = "") -> None:
        self._troubles.put(path, what)
        self._say(what, cause=cause)

    def _note_success(self, path: str) -> None:
        """Say once that all is well again: what comes then is a new trouble."""
        if not self._troubles:
            return
        ended = [self._troubles.pop(place) for place in (path, str(self.directory))]
        if any(ended) and not self._troubles:
            self._said.clear()
            reports.info("token files in %s are used again", self.directory)

    def _say(self, what: str, *, cause: str = "") -> None:
        if self._said.first(cause or what):
            reports.warning("%s", what)
