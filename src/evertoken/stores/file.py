"""A store of files: one JSON file per identity, shared by the processes of a machine."""

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
    # filelock takes a quarter of the import time of requests. A process that finds a token in the
    # file does not need it.
    file_lock = lazy("evertoken.stores.file_lock")
    reports = lazy("evertoken.runtime.reports")

_SUFFIXES = (".json", ".lock", ".save", ".tmp")
"""Of the files of an identity, in the order of use: the first that fails is the cause."""

MAX_REMEMBERED = 16_384
"""The number of files whose content, or failure, is remembered; more than one process uses.

If there are more, the least recently used file is read again at its next use.
"""

SAVE_TIMEOUT = 1.0
"""Seconds to wait while another process writes the same file."""


class FileStore:
    """Shares tokens through files of mode 0600 in `directory`.

    The folder and its missing parents are created with mode 0700, whatever the umask.

    There are three files per identity: `<id>.json`, `<id>.lock` (locked during a renewal) and
    `<id>.save` (locked while the first is read, joined and replaced, since a renewal may go on
    without its own lock).
    A disk failure raises nothing: the file counts as missing, and requests go on from memory. Each
    cause is logged once, and so is the recovery. A file is not trusted if others can read or write
    it, if another user owns it, or if it is a link or not a regular file. A folder is not used
    while another user (except root) owns it, or while everyone or a group other than the process's
    own can write to it: nothing in it is read, created or locked.

    Args:
        directory: a local folder of the user's own; may begin with `~`. A link to it is followed.
        encryption_key: a Fernet key, or several: the first encrypts, all decrypt. Needs the extra
            `encryption`. An entry that none of them decrypts counts as missing, and is replaced.

    Raises:
        ValueError: a key is malformed, or `directory` begins with `~` and the home folder is
            unknown.
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
        self.directory: Path = private_folders.expanded(directory)
        self._encrypts = encryption_key is not None
        self._codec = codec(encryption_key)
        self._logged = Once()
        self._troubles: LRU[str] = LRU(MAX_REMEMBERED)
        self._seen: LRU[tuple[private_files.Signature, Entry | Flaw]] = LRU(MAX_REMEMBERED)
        self._locks: dict[TokenKey, FileLock] = {}
        self._removes_drafts = True

    def path(self, key: TokenKey) -> Path:
        """The path of the token file of `key`."""
        return Path(self._path_of(key, ".json"))

    def load(self, key: TokenKey) -> Entry | None:
        """The entry of `key`. Costs two `stat` calls if its file has not changed."""
        entry = self._read(key)
        return entry if isinstance(entry, Entry) else None

    def save(self, key: TokenKey, entry: Entry) -> Entry | None:
        """Join `entry` to the one in the file, atomically among processes.

        Returns:
            The entry that the file holds afterwards. None if the file could not be written, is
            locked by another process for too long, has a newer schema, or is not readable and may
            hold a newer login.
        """
        with self._locked(self._path_of(key, ".save"), SAVE_TIMEOUT) as lock:
            if lock.hold is Hold.BUSY:
                self._warn_once(
                    f"{self.path(key)} was not saved: another process is still writing it"
                )
                return None
            found = self._read(key)
            if found is Flaw.NEWER or self._hides_login(key, found, entry):
                return None
            held = found if isinstance(found, Entry) else NOTHING
            joined = join_at(held, entry, clock.now().wall)
            if adds(joined, held) and not self._write(key, joined, alone=lock.hold is Hold.HELD):
                return None
            return joined

    @contextlib.contextmanager
    def lock(self, key: TokenKey, *, timeout: float) -> Iterator[Hold]:
        """Hold the lock of `key`; `BUSY` if another process holds it beyond `timeout` seconds.

        `ABSENT` if the file system does not support locks, which is logged once. Each process then
        renews alone.
        """
        with self._locked(self._path_of(key, ".lock"), timeout) as lock:
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
        """Why the store does not work for `key` at present; None if it does."""
        if not self._troubles:
            return None
        paths = (*(self._path_of(key, suffix) for suffix in _SUFFIXES), str(self.directory))
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

    def _path_of(self, key: TokenKey, suffix: str) -> str:
        # not a Path: it interns its parts, and Python 3.12 never frees interned strings
        return os.path.join(self.directory, f"{key.digest()}{suffix}")

    def _read(self, key: TokenKey) -> Entry | Flaw | None:
        found = self._found(key)
        # at each read, since the clock may have been set meanwhile
        return demoted(found, clock.now().wall) if isinstance(found, Entry) else found

    def _found(self, key: TokenKey) -> Entry | Flaw | None:
        path = self._path_of(key, ".json")
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
        if entry is Flaw.GARBAGE:
            # no lasting trouble: the next poll of a process that knows more replaces the file
            self._warn_once(_not_used(path, entry))
        elif isinstance(entry, Flaw):
            self._note(path, _not_used(path, entry))
        else:
            self._note_success(path)
        self._seen.put(path, (signature, entry))
        return entry

    def _opened(self, key: TokenKey, stored: bytes) -> Entry | Flaw:
        data = self._codec.unseal(stored)
        if data is None:
            return Flaw.SEALED
        now = clock.now()
        found = decode(data, key, boot=clock.boot_id(), wall=now.wall)
        return found.dated(now) if isinstance(found, Entry) else found

    def _hides_login(self, key: TokenKey, found: Entry | Flaw | None, entry: Entry) -> bool:
        """Whether the file may hold a newer login than `entry`, but cannot be read."""
        unreadable = found is None and self._troubles.get(self._path_of(key, ".json")) is not None
        return entry.login is not None and (unreadable or found is Flaw.SEALED)

    def _write(self, key: TokenKey, entry: Entry, *, alone: bool) -> bool:
        """Replace the file; returns whether that succeeded."""
        path, draft = self._path_of(key, ".json"), self._path_of(key, ".tmp")
        data = encode(entry, key, boot=clock.boot_id(), named=True)
        if data is None:
            self._warn_once(f"the token file {path} is not written: {UNSTORABLE}")
            return False
        try:
            private_files.replace(path, self._codec.seal(data), alone=alone)
        except OSError as error:
            self._note_error(draft, error)
            return False
        self._note_success(draft)
        if not alone and self._removes_drafts:
            # once per process: drafts with random names can only be found by listing the folder
            self._removes_drafts = False
            private_files.remove_abandoned_drafts(str(self.directory))
        return True

    def _locked(self, path: str, timeout: float) -> AbstractContextManager[FileLock]:
        def note(error: OSError | None) -> None:
            self._note_success(path) if error is None else self._note_error(path, error)

        return file_lock.locked(path, timeout=timeout, note=note)

    def _note_error(self, path: str, error: OSError) -> None:
        """Log it once, though every step of a save fails on a full disk."""
        what = f"token files in {self.directory} are not used for now: {error}"
        # by the folder: any successful access to a file in it shows that it is trusted again
        path = str(self.directory) if isinstance(error, private_folders.UntrustedFolder) else path
        # not by the message, which may contain the random name of a draft
        self._note(path, what, cause=str(error.errno or error))

    def _note(self, path: str, what: str, *, cause: str = "") -> None:
        self._troubles.put(path, what)
        self._warn_once(what, cause=cause)

    def _note_success(self, path: str) -> None:
        """Log the recovery once; a later failure is then logged again."""
        if not self._troubles:
            return
        ended = [self._troubles.pop(place) for place in (path, str(self.directory))]
        if any(ended) and not self._troubles:
            self._logged.clear()
            reports.info("token files in %s are used again", self.directory)

    def _warn_once(self, what: str, *, cause: str = "") -> None:
        try:
            warning = reports.warning
        except OSError:
            # the module is loaded at its first use, and no file descriptor is left to read it
            return
        if self._logged.first(cause or what):
            warning("%s", what)


def _not_used(path: str, flaw: Flaw) -> str:
    return f"the token file {path} is not used: {flaw.value}"
