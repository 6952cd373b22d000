"""One account as the command line sees it: its settings, its token file, its manager."""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from evertoken import clock, policy, process
from evertoken.cli import config, secrets
from evertoken.cli.exits import Unusable
from evertoken.cli.settings import Settings, merged
from evertoken.stores.file import FileStore
from evertoken.token import Refusal, token_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evertoken.instant import Instant
    from evertoken.manager import TokenManager
    from evertoken.policy import Snapshot
    from evertoken.token import Entry, Token, TokenKey

_log = logging.getLogger("evertoken.cli")

POLICY = policy.RefreshPolicy()


@dataclass(frozen=True, slots=True)
class Account:
    """Whose token a command is about.

    Attributes:
        settings: merged from all sources.
        profile: its name in the file of profiles.
        config: that file, whether it is there or not.
    """

    settings: Settings
    profile: str
    config: Path

    @property
    def key(self) -> TokenKey:
        """Its identity.

        Raises:
            Unusable: a part of it is not set.
        """
        if name := self.settings.missing:
            raise Unusable(
                f"no {name}: give --{name.replace('_', '-')}, set SQUADRUN_{name.upper()}, or run "
                f"`evertoken login`, which writes [{self.profile}] in {self.config}"
            )
        return self.settings.key

    @property
    def store(self) -> FileStore:
        """Where its token is kept."""
        given = self.settings.token_dir
        return FileStore(given or platformdirs.user_state_path("evertoken", appauthor=False))

    def held(self, now: Instant) -> Snapshot:
        """What the token file says, without asking anybody."""
        return standing(self.store.load(self.key), now)

    def manager(self, *, ask: bool = True, password: bool = True) -> TokenManager:
        """Its manager, with its secrets read now, in the thread that may be interrupted.

        Args:
            ask: prompt for secrets that nothing else tells.
            password: read it; a revocation needs none.

        Raises:
            Unusable: a setting or a secret is missing or wrong.
        """
        # it loads requests, which a token in a file does not need
        from evertoken import squadrun  # noqa: PLC0415

        key = self.key
        read = functools.partial(secrets.read, self.settings, ask=ask)
        try:
            return squadrun.manager(
                base_url=self.settings.base_url,
                client_id=key.client_id,
                username=key.username,
                client_secret=read("client_secret"),
                password=read("password") if password else functools.partial(read, "password"),
                store=self.store,
                policy=POLICY,
            )
        except ValueError as error:
            raise Unusable(str(error)) from None


def load(options: Mapping[str, str | None], *, new: bool = False) -> Account:
    """The account that `options`, the environment and the file of profiles name.

    Args:
        options: of the command line, by the names of the settings, `profile` and `config`.
        new: a profile or a file that is named need not exist yet.

    Raises:
        Unusable: one of them is wrong.
    """
    named = options.get("config") or os.environ.get("SQUADRUN_CONFIG")
    path = Path(named).expanduser().absolute() if named else config.default_path()
    profile = options.get("profile") or os.environ.get("SQUADRUN_PROFILE")
    table = _profile(path, profile, new=new, given=bool(named))
    try:
        settings = merged(options=options, environ=os.environ, profile=table)
    except ValueError as error:
        where = f"profile {profile or config.DEFAULT} of {path}, and the variables"
        raise Unusable(f"{error} ({where})") from None
    return Account(settings, profile or config.DEFAULT, path)


def obtain(account: Account) -> Token:
    """A usable token: the one in the file where that is fresh, else one that is granted.

    One in its last minutes is renewed first, since this process ends before a renewal in the
    background would; where that fails, it serves.

    Raises:
        TokenError: there is none to be had.
        Unusable: a setting or a secret is missing or wrong.
    """
    now = clock.now()
    held = account.held(now)
    if held.token is not None and held.usable(now):
        return held.token if not held.due(now) else _renewed(account, held.token)
    return account.manager().token()


def _renewed(account: Account, token: Token) -> Token:
    from evertoken.errors import RefreshTimeout  # noqa: PLC0415  it loads requests

    try:
        manager = account.manager(ask=False)
        latest = manager.token()
        # not refresh(), which passes over a back-off: a shell loop would hammer the endpoint
        manager.tend()
        if (flight := manager.renewer.flight) is not None:
            landing = flight.wait(until=clock.since_boot() + manager.timeout)
            latest = landing.snapshot.token or latest
            if landing.outcome.error is not None:
                _log.warning("the token was not renewed yet: %s", landing.outcome.error)
    except (Unusable, RefreshTimeout):
        return token
    return latest


def standing(entry: Entry | None, now: Instant) -> Snapshot:
    """What `entry` of a token file means at `now`."""
    token = token_of(entry)
    if isinstance(entry, Refusal) and entry.error is None:
        entry = token
    if entry is None or (token is not None and not token.plausible(now)):
        return policy.EMPTY
    return policy.landed(policy.EMPTY, entry, now, POLICY, draw=process.lot())


def _profile(path: Path, name: str | None, *, new: bool, given: bool) -> Mapping[str, object]:
    try:
        profiles = config.read(path)
    except FileNotFoundError:
        if (given or name) and not new:
            raise Unusable(f"there is no {path}: `evertoken login` writes it") from None
        return {}
    if name and name not in profiles and not new:
        known = ", ".join(profiles) or "none"
        raise Unusable(f"there is no profile {name!r} in {path}, which has: {known}")
    return profiles.get(name or config.DEFAULT, {})
