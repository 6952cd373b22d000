"""How an account stands, for a person and for a program."""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import click

from evertoken.cli.exits import NO_TOKEN, REFUSED
from evertoken.cli.wording import duration, next_try
from evertoken.runtime import clock
from evertoken.status import Counters, Status, status_of

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken.cli.account import Account

MEANING = {
    "fresh": "fresh",
    "stale": "usable, and due to be renewed",
    "expired": "expired",
    "none": "no token",
    "cooling": "no token: the last try failed",
    "refused": "no token: the credentials were refused",
}


@dataclass(frozen=True, slots=True)
class Report:
    """An account at one moment, by its token file alone.

    Attributes:
        account: whose it is.
        status: how it stands.
        file: where its token is kept.
        mode: that of the file; None: there is no file.
    """

    account: Account
    status: Status
    file: Path
    mode: int | None

    @classmethod
    def of(cls, account: Account) -> Self:
        """How `account` stands now.

        Raises:
            Unusable: a part of its identity is not set.
        """
        now = clock.now()
        status = status_of(account.held(now), now, Counters(), renewing=False)
        file = account.store.path(account.key)
        return cls(account, status, file, _mode(file))

    @property
    def usable(self) -> bool:
        """Whether there is a token that may be sent."""
        return self.status.seconds_left > 0

    @property
    def exit_code(self) -> int:
        """0 with a usable token."""
        if self.usable:
            return 0
        return REFUSED if self.status.state == "refused" else NO_TOKEN

    def print_json(self) -> None:
        """One object, on one line."""
        click.echo(json.dumps(self._members()))

    def print_table(self) -> None:
        """A line for each thing to know, however long: a path is to be copied, and for grep."""
        for name, value in self._rows().items():
            click.echo(f"{name:12}{value}")

    def _members(self) -> dict[str, object]:
        settings, status = self.account.settings, self.status
        return {
            "profile": self.account.profile,
            "base_url": settings.base_url,
            "client_id": settings.client_id,
            "username": settings.username,
            "state": status.state,
            "usable": self.usable,
            "seconds_left": round(status.seconds_left, 3),
            "issued_at": status.issued_at,
            "expires_at": status.expires_at,
            "scope": status.scope,
            "file": str(self.file),
            "mode": None if self.mode is None else f"{self.mode:04o}",
            "retry_at": status.retry_at,
            "last_error": None if status.last_error is None else str(status.last_error),
        }

    def _rows(self) -> dict[str, str]:
        settings, status = self.account.settings, self.status
        rows = {
            "account": f"{settings.username} at {settings.base_url}",
            "client": settings.client_id or "",
            "profile": f"{self.account.profile} ({_place(self.account.config)})",
            "state": MEANING[status.state],
        }
        if self.usable:
            rows["time left"] = f"{duration(status.seconds_left)}, until {_on_clock(status)}"
        if status.scope:
            rows["scope"] = status.scope
        rows["token file"] = str(self.file)
        rows["its mode"] = "there is no such file" if self.mode is None else f"{self.mode:04o}"
        if status.last_error is not None:
            rows["last error"] = str(status.last_error)
        if status.retry_at is not None:
            left = status.retry_at - time.time()
            rows["next try"] = next_try(left, refused=status.state == "refused")
        return rows


def _place(config: Path) -> str:
    return str(config) if config.exists() else f"there is no {config}"


def _mode(file: Path) -> int | None:
    try:
        return stat.S_IMODE(os.lstat(file).st_mode)
    except OSError:
        return None


def _on_clock(status: Status) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.expires_at))
