"""One account as the command line sees it: its settings, its token file, its manager."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from evertoken import urls
from evertoken.cli import config, grants, homes, request_options, secrets
from evertoken.cli.exits import Unusable
from evertoken.cli.settings import IDENTITY, Settings, checked, merged
from evertoken.core import state
from evertoken.core.entry import Entry
from evertoken.core.policy import RefreshPolicy
from evertoken.runtime import process
from evertoken.stores.file import FileStore
from evertoken.stores.private_folders import HomeUnknown, expanded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from evertoken.core.instant import Instant
    from evertoken.core.state import Snapshot
    from evertoken.core.token import TokenKey
    from evertoken.engine.manager import TokenManager

POLICY = RefreshPolicy()


@dataclass(frozen=True, slots=True)
class Account:
    """The account that a command is about.

    Attributes:
        settings: merged from all sources.
        profile: the name of its profile in the config file.
        config: the path of the config file, which need not exist.
    """

    settings: Settings
    profile: str
    config: Path

    @property
    def key(self) -> TokenKey:
        """The identity of the account.

        Raises:
            Unusable: a setting is missing; the message names all that are.
        """
        if self.settings.missing:
            self._refuse((*self.settings.missing, *secrets.unset(self.settings, ask=True)))
        return self.settings.key

    @property
    def folder(self) -> str:
        """The folder of its token file.

        Raises:
            HomeUnknown: the folder would be in the home folder, which is not known.
        """
        return str(expanded(self.settings.token_dir or homes.state_folder()))

    @property
    def store(self) -> FileStore:
        """The store of its token; raises as `folder` does."""
        return _store(self.folder)

    def held(self, now: Instant) -> Snapshot:
        """The content of its token file; sends nothing."""
        return standing(self.store.load(self.key), now)

    def require_safe_url(self) -> None:
        """Check that secrets may be sent to its server.

        Raises:
            Unusable: base_url is not a URL, or would send them in plain text.
        """
        try:
            urls.checked(self.settings.base_url, what="base_url")
        except ValueError as error:
            raise Unusable(str(error)) from None

    def manager(self, *, ask: bool = True, password: bool = True) -> TokenManager:
        """A manager for it. Secrets are read now, in the main thread, which Ctrl-C can interrupt.

        Args:
            ask: prompt for secrets that no setting gives.
            password: read the password now; a revocation needs none.

        Raises:
            Unusable: a setting or a secret is missing or wrong.
        """
        self.require_safe_url()
        key = self.key
        unset = secrets.unset(self.settings, ask=ask)
        if len(unset) > 1 and password:
            self._refuse(unset)
        read = functools.partial(secrets.read, self.settings, ask=ask)
        try:
            grant = grants.grant_of(self.settings, key, read, password=password)
        except ValueError as error:
            raise Unusable(str(error)) from None
        except Unusable as error:
            raise Unusable(f"{error.message} (profile {self.profile} of {self.config})") from None
        from evertoken.engine.manager import TokenManager  # noqa: PLC0415  not needed if the file has a token

        return TokenManager(grant, store=self.store, policy=POLICY)

    def _refuse(self, missing: Iterable[str]) -> NoReturn:
        names = tuple(missing)
        options = (f"--{name.replace('_', '-')}" for name in names if name in IDENTITY)
        given = f"give {' and '.join(options)}, " if set(names) & {*IDENTITY} else ""
        variables = " and ".join(f"SQUADRUN_{name.upper()}" for name in names)
        raise Unusable(
            f"no {' and no '.join(names)}: {given}set {variables}, or run `evertoken login`, which "
            f"writes [{self.profile}] in {self.config}"
        )


@functools.cache
def _store(directory: str) -> FileStore:
    """The only store of `directory`, so that a command logs each problem once."""
    return FileStore(directory)


def load(options: Mapping[str, str | None], *, new: bool = False) -> Account:
    """The account given by `options`, the environment and the config file.

    Args:
        options: the command line options, by setting name, with `profile` and `config`.
        new: the profile and the config file need not exist yet.

    Raises:
        Unusable: one of them is wrong.
        HomeUnknown: the config file would be in the home folder, which is not known.
    """
    named = options.get("config") or os.environ.get("SQUADRUN_CONFIG")
    profile = options.get("profile") or os.environ.get("SQUADRUN_PROFILE")
    path = _config(named, needed=new or bool(profile))
    table = {} if path is config.UNKNOWN else _profile(path, profile, new=new, given=bool(named))
    try:
        stored, request = checked(table), request_options.read(table)
    except ValueError as error:
        raise Unusable(f"{error} (profile {profile or config.DEFAULT} of {path})") from None
    try:
        settings = merged(options=options, environ=os.environ, profile=stored)
    except ValueError as error:
        raise Unusable(str(error)) from None
    return Account(replace(settings, request=request), profile or config.DEFAULT, path)


def standing(entry: Entry | None, now: Instant) -> Snapshot:
    """The snapshot of a manager that has loaded `entry` at `now`."""
    fraction = process.jitter_fraction()
    snapshot, token = state.EMPTY, None if entry is None else entry.token
    if entry is not None and entry.login is not None:
        snapshot = replace(snapshot, entry=Entry(login=entry.login))
    if token is not None and token.plausible(now):
        snapshot = state.with_token(snapshot, token, now, POLICY, jitter_fraction=fraction)
    for failure in () if entry is None else entry.failures:
        # A newer token shows that a refusal was of other credentials. The newest failure counts: an
        # older refusal may be of other credentials, too.
        newer = token is not None and token.generation > failure.generation
        if POLICY.in_force(failure, token, now) and not (failure.refused and newer):
            return state.with_failure(snapshot, failure, now, POLICY)
    return snapshot


def _config(named: str | None, *, needed: bool) -> Path:
    if named:
        return expanded(named).absolute()
    try:
        return config.default_path()
    except HomeUnknown:
        # the config file is optional: options and variables may give every setting
        if needed:
            raise
    return config.UNKNOWN


def _profile(path: Path, name: str | None, *, new: bool, given: bool) -> Mapping[str, object]:
    try:
        profiles = config.read(path)
    except FileNotFoundError:
        if (given or name) and not new:
            raise Unusable(f"{path} does not exist: `evertoken login` writes it") from None
        return {}
    if name and name not in profiles and not new:
        known = ", ".join(profiles) or "none"
        raise Unusable(f"{path} has no profile {name!r}; it has: {known}")
    return profiles.get(name or config.DEFAULT, {})
