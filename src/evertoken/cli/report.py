"""The status of an account, as a table and as JSON."""

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
from evertoken.engine.naming import describe
from evertoken.runtime import clock
from evertoken.status import Counters, Status, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    """The status of an account, read from its token file.

    Attributes:
        account: the account.
        status: its status.
        file: the path of its token file.
        mode: the mode of that file; None if it does not exist.
    """

    account: Account
    status: Status
    file: Path
    mode: int | None

    @classmethod
    def of(cls, account: Account) -> Self:
        """The status of `account` now.

        Raises:
            Unusable: a setting is missing.
        """
        now = clock.now()
        status = status_of(account.held(now), now, Counters(), renewing=False)
        file = account.store.path(account.key)
        return cls(account, status, file, _mode(file))

    @property
    def usable(self) -> bool:
        """Whether it has a token that may be sent."""
        return self.status.seconds_left > 0

    @property
    def exit_code(self) -> int:
        """0 with a usable token."""
        return exit_code(self.status)

    def print_json(self) -> None:
        """Print one JSON object on one line."""
        click.echo(json.dumps(self._members()))

    def print_table(self) -> None:
        """Print one line for each attribute."""
        print_rows(self._rows())

    def _members(self) -> dict[str, object]:
        settings = self.account.settings
        return {
            "profile": self.account.profile,
            "base_url": settings.base_url,
            "client_id": settings.client_id,
            "username": settings.username,
            **members(self.status),
            "file": str(self.file),
            "mode": None if self.mode is None else f"{self.mode:04o}",
        }

    def _rows(self) -> dict[str, str]:
        settings = self.account.settings
        return {
            "account": describe(self.account.key),
            "client": settings.client_id or "",
            "profile": f"{self.account.profile} ({_place(self.account.config)})",
            **rows(self.status),
            "token file": str(self.file),
            "its mode": "the file does not exist" if self.mode is None else f"{self.mode:04o}",
        }


def exit_code(status: Status) -> int:
    """0 with a usable token."""
    if status.seconds_left > 0:
        return 0
    return REFUSED if status.state == "refused" else NO_TOKEN


def members(status: Status) -> dict[str, object]:
    """`status` as the members of a JSON object."""
    return {
        "state": status.state,
        "usable": status.seconds_left > 0,
        "seconds_left": round(status.seconds_left, 3),
        "issued_at": status.issued_at,
        "expires_at": status.expires_at,
        "scope": status.scope,
        "login_expires_at": status.login_expires_at,
        "last_error": None if status.last_error is None else str(status.last_error),
        "failed_at": status.failed_at,
        "retry_at": status.retry_at,
    }


def rows(status: Status, *, command: str = "`evertoken refresh`") -> dict[str, str]:
    """`status` as the lines of a table.

    Args:
        status: of an account.
        command: what asks for a token of that account at once.
    """
    found = {"state": MEANING[status.state]}
    if status.seconds_left > 0:
        found["time left"] = f"{duration(status.seconds_left)}, until {_clock(status.expires_at)}"
    if status.scope:
        found["scope"] = status.scope
    if status.login_expires_at is not None:
        found["login ends"] = _clock(status.login_expires_at)
    if status.last_error is not None:
        found["last error"] = str(status.last_error)
        found["since"] = _clock(status.failed_at)
    if status.retry_at is not None:
        found["since"] += f", until {_clock(status.retry_at)}"
        left = status.retry_at - time.time()
        found["next try"] = next_try(left, command, refused=status.state == "refused")
    return found


def print_rows(found: Mapping[str, str]) -> None:
    """Print one line for each, never wrapped, so that paths can be copied and grep works."""
    for name, value in found.items():
        click.echo(f"{name:12}{value}")


def _place(config: Path) -> str:
    return str(config) if config.exists() else f"{config} does not exist"


def _mode(file: Path) -> int | None:
    try:
        return stat.S_IMODE(os.lstat(file).st_mode)
    except OSError:
        return None


def _clock(moment: float | None) -> str:
    # with the offset: logs of servers are often in UTC
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(moment))
