"""From options, variables and a profile to settings: which source wins (pure)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evertoken.token import TokenKey

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE_URL = "https://app.squadrun.co"
"""As in `evertoken.squadrun`, which loads an HTTP client: a token in a file needs none."""

TOKEN_PATH = "/oauth/token/"  # noqa: S105  a path

PLAIN = ("base_url", "client_id", "username", "token_dir")
SECRET = ("client_secret", "password")


class Kind(enum.Enum):
    """Where a secret is, by the ending of the setting that says so."""

    TEXT = ""
    FILE = "_file"
    COMMAND = "_command"
    KEYRING = "_keyring"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a secret is; `value` is the secret itself, a path, or a command."""

    kind: Kind
    value: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Whose token, and where it is kept; None: nobody said.

    Attributes:
        secrets: where `client_secret` and `password` are, as far as anybody said.
    """

    base_url: str = BASE_URL
    client_id: str | None = None
    username: str | None = None
    token_dir: str | None = None
    secrets: Mapping[str, Source] = field(default_factory=dict)

    @property
    def missing(self) -> str | None:
        """The setting without which there is no identity."""
        names = ("client_id", "username")
        return next((name for name in names if not getattr(self, name)), None)

    @property
    def key(self) -> TokenKey:
        """The identity under which `evertoken.squadrun` keeps the same account's token.

        Raises:
            ValueError: one of its parts is missing.
        """
        if not (self.client_id and self.username):
            raise ValueError(f"no {self.missing}")
        return TokenKey(self.base_url + TOKEN_PATH, self.client_id, self.username)


def merged(
    *, options: Mapping[str, str | None], environ: Mapping[str, str], profile: Mapping[str, object]
) -> Settings:
    """The settings: an option wins over its `SQUADRUN_*` variable, that over the profile.

    An empty variable counts as none. A source of a secret is taken from one layer alone: a
    variable with a password hides a command in the profile.

    Raises:
        ValueError: a profile has a setting that is none, a secret in it, or a value that is no
            text; or one layer names two sources of one secret.
    """
    named = {
        f"{name}{kind.value}" for name in SECRET for kind in (Kind.TEXT, Kind.FILE, Kind.COMMAND)
    }
    variables = {name: environ.get(f"SQUADRUN_{name.upper()}", "") for name in {*PLAIN, *named}}
    stored = _checked(profile)
    plain = {name: options.get(name) or variables[name] or stored.get(name) for name in PLAIN}
    found = {name: _source(name, variables) or _source(name, stored) for name in SECRET}
    return Settings(
        base_url=(plain["base_url"] or BASE_URL).rstrip("/"),
        client_id=plain["client_id"],
        username=plain["username"],
        token_dir=plain["token_dir"],
        secrets={name: source for name, source in found.items() if source is not None},
    )


def _source(name: str, layer: Mapping[str, str]) -> Source | None:
    found = [kind for kind in Kind if kind is not Kind.KEYRING and layer.get(name + kind.value)]
    if len(found) > 1:
        both = " and ".join(name + kind.value for kind in found)
        raise ValueError(f"{both} are both set: keep one of them")
    if found:
        return Source(found[0], layer[name + found[0].value])
    return Source(Kind.KEYRING) if layer.get("keyring") else None


def _checked(profile: Mapping[str, object]) -> dict[str, str]:
    known = {*PLAIN, *(name + kind.value for name in SECRET for kind in (Kind.FILE, Kind.COMMAND))}
    checked: dict[str, str] = {}
    for name, value in profile.items():
        if name == "keyring":
            if not isinstance(value, bool):
                raise ValueError("keyring must be true or false")
            checked[name] = "yes" if value else ""
        elif name in SECRET:
            raise ValueError(
                f"{name} does not belong in there: name a {name}_file or a {name}_command"
            )
        elif name not in known:
            raise ValueError(f"there is no setting {name!r}: {', '.join(sorted(known))}, keyring")
        elif not isinstance(value, str):
            raise ValueError(f"{name} must be text in quotes")
        else:
            checked[name] = value
    return checked
