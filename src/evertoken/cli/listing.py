"""The status of every account in a token folder, read from its files, without credentials."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import click

from evertoken.cli import report
from evertoken.cli.account import standing
from evertoken.cli.exits import NO_TOKEN, REFUSED, Unusable
from evertoken.engine.naming import phrase
from evertoken.runtime import clock
from evertoken.status import Counters, Status, status_of
from evertoken.stores.token_folder import TokenFile, token_files

if TYPE_CHECKING:
    from evertoken.cli.account import Account

UNNAMED = "not named: an older version wrote the file; the next renewal adds the name"


@dataclass(frozen=True, slots=True)
class Found:
    """One account of the folder.

    Attributes:
        file: its token file.
        status: its status; None if the file cannot be used.
    """

    file: TokenFile
    status: Status | None

    @property
    def exit_code(self) -> int:
        """0 with a usable token."""
        return NO_TOKEN if self.status is None else report.exit_code(self.status)

    def members(self) -> dict[str, object]:
        """The members of a JSON object."""
        owner = self.file.owner
        return {
            "token_url": None if owner is None else owner.token_url,
            "client_id": None if owner is None else owner.client_id,
            "username": None if owner is None else owner.username,
            **({} if self.status is None else report.members(self.status)),
            "file": self.file.path,
            "flaw": self.file.flaw or None,
        }

    def rows(self) -> dict[str, str]:
        """The lines of a table."""
        owner = self.file.owner
        rows = {"account": UNNAMED}
        if owner is not None:
            account = owner.username or owner.client_id
            rows["account"] = phrase({"account": account, "token_url": owner.token_url})
            rows["client"] = owner.client_id or ""
        if self.status is None:
            # it does not name an account
            rows = {"state": f"not used: {self.file.flaw}"}
        else:
            rows |= report.rows(self.status, command="`evertoken refresh` with its profile")
        return {**rows, "token file": self.file.path}


@dataclass(frozen=True, slots=True)
class Listing:
    """The accounts of a token folder.

    Attributes:
        folder: its path.
        found: the accounts, in the order of their file names.
        only: whose accounts these are, in words; empty: all.
    """

    folder: str
    found: tuple[Found, ...]
    only: str

    @classmethod
    def of(cls, account: Account, *, every: bool) -> Self:
        """The accounts in the token folder of `account`.

        Args:
            account: its settings give the folder, and perhaps a client or a user.
            every: list the accounts of other clients and users too.

        Raises:
            HomeUnknown: the folder is in the home folder, which is not known.
            Unusable: the folder cannot be read.
        """
        try:
            files = [it for it in token_files(account.folder) if every or _belongs(it, account)]
        except FileNotFoundError:
            files = []
        except OSError as error:
            raise Unusable(f"{account.folder} cannot be read: {error.strerror}") from None
        only = "" if every else _selection(account)
        return cls(account.folder, tuple(map(_found, files)), only)

    @property
    def exit_code(self) -> int:
        """0 if every account has a usable token, `REFUSED` if the server refuses one of them."""
        codes = {each.exit_code for each in self.found} or {NO_TOKEN}
        return next((code for code in (REFUSED, NO_TOKEN) if code in codes), 0)

    def print_json(self) -> None:
        """Print one JSON object on one line."""
        accounts = [each.members() for each in self.found]
        click.echo(json.dumps({"folder": self.folder, "accounts": accounts}))

    def print_table(self) -> None:
        """Print a block of lines for each account."""
        if not self.found:
            others = "; --all shows the others" if self.only else ""
            click.echo(f"no token file{self.only} in {self.folder}{others}")
        for number, each in enumerate(self.found):
            if number:
                click.echo()
            report.print_rows(each.rows())


def _found(file: TokenFile) -> Found:
    if file.entry is None:
        return Found(file, None)
    now = clock.now()
    status = status_of(standing(file.entry, now), now, Counters(), renewing=False)
    return Found(file, status)


def _selection(account: Account) -> str:
    wanted = account.settings
    client = f" of client {wanted.client_id}" if wanted.client_id else ""
    return client + (f" of user {wanted.username}" if wanted.username else "")


def _belongs(file: TokenFile, account: Account) -> bool:
    """Whether `file` is of the client and the user in the settings, as far as these are set."""
    wanted = account.settings
    if file.owner is None:
        return not (wanted.client_id or wanted.username)
    return (wanted.client_id in {None, "", file.owner.client_id}) and (
        wanted.username in {None, "", file.owner.username}
    )
