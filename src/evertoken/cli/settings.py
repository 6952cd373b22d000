"""From options, variables and a profile to settings: which source wins (pure)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evertoken.cli import request_options
from evertoken.cli.request_options import RequestOptions
from evertoken.grants import additions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evertoken.core.token import TokenKey

BASE_URL = "https://app.squadrun.co"
"""As in `evertoken.squadrun`, which loads an HTTP client: a token in a file needs none."""

TOKEN_PATH = "/oauth/token/"  # noqa: S105  a path

IDENTITY = ("client_id", "username")
PLAIN = ("base_url", "client_id", "username", "token_dir")
SECRET = ("client_secret", "password")


class Kind(enum.Enum):
    """Where a secret is, by the ending of the setting that says so."""

    TEXT = ""
    FILE = "_file"
    COMMAND = "_command"
    KEYRING = "_keyring"


_NAMED = (Kind.TEXT, Kind.FILE, Kind.COMMAND)
_SOURCES = tuple(name + kind.value for name in SECRET for kind in _NAMED)
_STORED = ({*PLAIN, *_SOURCES} - {*SECRET}) | {"keyring"}
"""What a profile may have."""

SECRET_VARIABLES = frozenset(f"SQUADRUN_{name.upper()}" for name in _SOURCES)
"""The environment variables that hold a secret, or say where it is."""


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
        request: how the token endpoint is asked.
    """

    base_url: str = BASE_URL
    client_id: str | None = None
    username: str | None = None
    token_dir: str | None = None
    secrets: Mapping[str, Source] = field(default_factory=dict)
    request: RequestOptions = field(default_factory=RequestOptions)

    @property
    def missing(self) -> tuple[str, ...]:
        """The settings without which there is no identity."""
        return tuple(name for name in IDENTITY if not getattr(self, name))

    @property
    def key(self) -> TokenKey:
        """The identity under which `evertoken.squadrun` keeps the same account's token.

        Raises:
            ValueError: one of its parts is missing.
        """
        if not (self.client_id and self.username):
            raise ValueError(f"no {' and no '.join(self.missing)}")
        return additions.key_of(
            self.base_url + TOKEN_PATH,
            client_id=self.client_id,
            username=self.username,
            extra=tuple(self.request.extra.items()),
            headers=self.request.headers.items(),
        )


def merged(
    *, options: Mapping[str, str | None], environ: Mapping[str, str], profile: Mapping[str, str]
) -> Settings:
    """The settings: an option wins over its `SQUADRUN_*` variable, that over the profile.

    An empty variable counts as none. A source of a secret is taken from one layer alone: a
    variable with a password hides a command in the profile.

    Args:
        options: by the names of the settings.
        environ: the variables.
        profile: as `checked` returns it.

    Raises:
        ValueError: the variables name two sources of one secret.
    """
    variables = {name: environ.get(_variable(name), "") for name in (*PLAIN, *_SOURCES)}
    _require_one_source(variables, spelled=_variable)
    plain = {name: options.get(name) or variables[name] or profile.get(name) for name in PLAIN}
    found = {name: _source(name, variables) or _source(name, profile) for name in SECRET}
    return Settings(
        base_url=(plain["base_url"] or BASE_URL).rstrip("/"),
        client_id=plain["client_id"],
        username=plain["username"],
        token_dir=plain["token_dir"],
        secrets={name: source for name, source in found.items() if source is not None},
    )


def checked(profile: Mapping[str, object]) -> dict[str, str]:
    """The settings of a profile; `keyring`, where it is true, as text. Without `RequestOptions`.

    Raises:
        ValueError: one is none, is a secret or is no text, or there are two sources of one secret.
    """
    others = {name: it for name, it in profile.items() if name not in request_options.NAMES}
    stored = {name: _text(name, value) for name, value in others.items()}
    _require_one_source(stored, spelled=str)
    return stored


def _text(name: str, value: object) -> str:
    if name == "keyring":
        if not isinstance(value, bool):
            raise ValueError("keyring must be true or false")
        return "yes" if value else ""
    if name in SECRET:
        raise ValueError(f"{name} does not belong in there: name a {name}_file or a {name}_command")
    if name not in _STORED:
        known = ", ".join((*sorted(_STORED), *request_options.NAMES))
        raise ValueError(f"there is no setting {name!r}; there are {known}")
    if isinstance(value, str):
        return value
    raise ValueError(f"{name} must be text in quotes")


def _source(name: str, layer: Mapping[str, str]) -> Source | None:
    for kind in _NAMED:
        if value := layer.get(name + kind.value):
            return Source(kind, value)
    return Source(Kind.KEYRING) if layer.get("keyring") else None


def _require_one_source(layer: Mapping[str, str], *, spelled: Callable[[str], str]) -> None:
    for secret in SECRET:
        found = [name for kind in _NAMED if layer.get(name := secret + kind.value)]
        if len(found) > 1:
            raise ValueError(f"{' and '.join(map(spelled, found))} are both set: keep one of them")


def _variable(name: str) -> str:
    return f"SQUADRUN_{name.upper()}"
