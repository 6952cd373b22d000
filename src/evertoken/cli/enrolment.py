"""Adds an account: asks for it, requests a token, and writes its profile if that succeeds."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from evertoken.cli import config, device, secrets
from evertoken.cli.exits import Unusable
from evertoken.cli.settings import PLAIN, SECRET, Kind, Settings, Source
from evertoken.cli.wording import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evertoken.cli.account import Account

_ELSEWHERE = "name a client_secret_file and a password_file (or …_command) in the profile"


def _remedy(obstacle: str, homeless: Iterable[str]) -> str:
    variables = " and ".join(f"SQUADRUN_{name.upper()}" for name in homeless)
    return f"The secrets are not kept: {obstacle}. Set {variables}, or {_ELSEWHERE}."


def enrol(account: Account, *, plain_keyring: bool, way: str | None = None) -> None:
    """Ask for the missing settings, request a token, and write the profile.

    Args:
        account: as given by options, variables and the profile.
        plain_keyring: use a keyring that keeps secrets in plain text, without asking.
        way: one of `settings.GRANTS`, for tokens from now on; None: as the profile says.

    Raises:
        TokenError: the request failed; nothing was written.
        Unusable: a setting is missing and there is no terminal, or the file cannot be written.
    """
    account.require_safe_url()
    way = way or account.settings.grant
    account = replace(account, settings=replace(account.settings, grant=way))
    _require_terminal(account.settings)
    settings = _identified(account)
    # the client of a refresh token may be a public one
    wanted = settings.needed
    if not wanted and secrets.has(settings, "client_secret"):
        wanted = ("client_secret",)
    values = {name: _secret(settings, name) for name in wanted}
    homeless = {name: value for name, value in values.items() if not _has_home(settings, name)}
    file = _plain_file() if homeless else None
    declined = "" if file is None or plain_keyring else _declined(file)
    given = {name: Source(Kind.TEXT, value) for name, value in values.items()}
    account = replace(account, settings=replace(settings, secrets=given))
    granted = (device.log_in(account) if way == "refresh_token" else account.manager()).refresh()

    obstacle = declined or _kept(settings, homeless)
    keyring = {"keyring": True if homeless and not obstacle else None}
    # an older profile of another kind may be what is replaced
    kind = {} if way == "password" and not _stored(account, "grant") else {"grant": way}
    plain = {name: value for name in PLAIN if (value := getattr(settings, name))}
    if settings.token_dir:
        # a relative path in the file would start from the file's folder, not from this one
        plain["token_dir"] = os.path.abspath(account.folder)
    config.write(account.config, account.profile, {**plain, **kind, **keyring})

    click.echo(f"got a token, valid for {duration(granted.lifetime)}", err=True)
    click.echo(f"wrote [{account.profile}] to {account.config}", err=True)
    if obstacle:
        click.echo(_remedy(obstacle, homeless), err=True)
    elif file is not None:
        click.echo(f"the keyring keeps the secrets in plain text in {file}", err=True)


def _plain_file() -> str | None:
    with contextlib.suppress(Unusable):
        return secrets.plain_file()
    # `secrets.keep` reports a missing keyring
    return None


def _declined(file: str) -> str:
    """Ask whether secrets may be kept in plain text in `file`; why not, or an empty text.

    Raises:
        Unusable: there is no terminal.
    """
    what = f"the keyring of this system keeps secrets in plain text in {file}"
    if not sys.stdin.isatty():
        raise Unusable(f"{what}: allow that by --plain-keyring, or {_ELSEWHERE}")
    agreed = click.confirm(f"{what[0].upper()}{what[1:]}. Keep them there?", err=True)
    return "" if agreed else "you declined to keep them in plain text"


def _kept(settings: Settings, values: dict[str, str]) -> str:
    """Put `values` into the keyring; why that failed, or an empty text."""
    try:
        if values:
            secrets.keep(settings, values)
    except Unusable as error:
        return error.message
    return ""


def _require_terminal(settings: Settings) -> None:
    """Check that there is a terminal to ask on, or nothing to ask for.

    Raises:
        Unusable: neither; the message names all that is missing.
    """
    missing = (*settings.missing, *secrets.unset(settings, ask=True))
    if missing and not sys.stdin.isatty():
        sources = map(_source, missing)
        raise Unusable(
            f"no {', '.join(missing)}, and no terminal to ask on: give {', '.join(sources)}"
        )


def _source(name: str) -> str:
    return f"SQUADRUN_{name.upper()}" if name in SECRET else f"--{name.replace('_', '-')}"


def _identified(account: Account) -> Settings:
    client_id = _told(account, "client_id", "Client id")
    if account.settings.grant == "client_credentials":
        return replace(account.settings, client_id=client_id, username=None)
    question = "Name of the account" if account.settings.grant == "refresh_token" else "User name"
    username = _told(account, "username", question)
    return replace(account.settings, client_id=client_id, username=username)


def _told(account: Account, name: str, question: str) -> str:
    """The value of an option or variable; a value of the profile is the default of a prompt."""
    value: str | None = getattr(account.settings, name)
    if value and not (sys.stdin.isatty() and value == _stored(account, name)):
        return value
    return str(click.prompt(question, default=value or None, err=True))


def _stored(account: Account, name: str) -> object:
    try:
        profiles = config.read(account.config)
    except FileNotFoundError:
        return None
    return profiles.get(account.profile, {}).get(name)


def _secret(settings: Settings, name: str) -> str:
    source = settings.secrets.get(name)
    if source is None or source.kind is not Kind.KEYRING:
        return secrets.read(settings, name, ask=True)
    # the secret in the keyring may be outdated
    if sys.stdin.isatty():
        return secrets.prompt(name)
    if not secrets.has(settings, name):
        raise Unusable(f"no {name} in the keyring, and no terminal to ask on: set {_source(name)}")
    return secrets.read(settings, name, ask=False)


def _has_home(settings: Settings, name: str) -> bool:
    """Whether a file or a command provides the secret."""
    source = settings.secrets.get(name)
    return source is not None and source.kind in {Kind.FILE, Kind.COMMAND}
