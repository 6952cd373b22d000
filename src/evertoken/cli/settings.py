"""Settings from options, variables and a profile, and which source wins (pure)."""

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
"""As in `evertoken.squadrun`, which loads more than a token in a file needs."""

TOKEN_PATH = "/oauth/token/"  # noqa: S105  a path
DEVICE_PATH = "/oauth/device-authorization/"
REVOCATION_PATH = "/oauth/revoke_token/"

GRANTS = ("password", "refresh_token", "client_credentials")
"""How a token is obtained: the values of the setting `grant`."""

IDENTITY = ("client_id", "username")
PLAIN = ("base_url", "client_id", "username", "token_dir")
SECRET = ("client_secret", "password")


class Kind(enum.Enum):
    """The kind of source of a secret: the suffix of its setting."""

    TEXT = ""
    FILE = "_file"
    COMMAND = "_command"
    KEYRING = "_keyring"


_NAMED = (Kind.TEXT, Kind.FILE, Kind.COMMAND)
_SOURCES = tuple(name + kind.value for name in SECRET for kind in _NAMED)
_STORED = ({*PLAIN, *_SOURCES} - {*SECRET}) | {"keyring", "grant"}
"""The settings that a profile may have."""

SECRET_VARIABLES = frozenset(f"SQUADRUN_{name.upper()}" for name in _SOURCES)
"""The environment variables that hold a secret or name its source."""


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a secret; `value` is the secret itself, a path, or a command."""

    kind: Kind
    value: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of an account; None for what is not set.

    Attributes:
        secrets: the sources of `client_secret` and `password` that are set.
        request: options of the token request.
        grant: one of `GRANTS`.
    """

    base_url: str = BASE_URL
    client_id: str | None = None
    username: str | None = None
    token_dir: str | None = None
    secrets: Mapping[str, Source] = field(default_factory=dict)
    request: RequestOptions = field(default_factory=RequestOptions)
    grant: str = "password"

    @property
    def missing(self) -> tuple[str, ...]:
        """The settings of the identity that are not set."""
        names = IDENTITY[:1] if self.grant == "client_credentials" else IDENTITY
        return tuple(name for name in names if not getattr(self, name))

    @property
    def needed(self) -> tuple[str, ...]:
        """The secrets that a grant needs; the client of a refresh token may be a public one."""
        return {"password": SECRET, "client_credentials": ("client_secret",)}.get(self.grant, ())

    @property
    def key(self) -> TokenKey:
        """The identity that `evertoken.squadrun` uses for the same account.

        Raises:
            ValueError: a setting is missing.
        """
        if self.missing:
            raise ValueError(f"no {' and no '.join(self.missing)}")
        return additions.key_of(
            self.base_url + TOKEN_PATH,
            client_id=self.client_id,
            username=None if self.grant == "client_credentials" else self.username,
            extra=tuple(self.request.extra.items()),
            headers=self.request.headers.items(),
        )


def merged(
    *, options: Mapping[str, str | None], environ: Mapping[str, str], profile: Mapping[str, str]
) -> Settings:
    """The settings: an option wins over its `SQUADRUN_*` variable, and that over the profile.

    An empty variable counts as unset. The source of a secret comes from one layer: a variable with
    a password hides a command in the profile.

    Args:
        options: the options, by setting name.
        environ: the environment variables.
        profile: the profile, as `checked` returns it.

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
        grant=profile.get("grant") or "password",
        secrets={name: source for name, source in found.items() if source is not None},
    )


def checked(profile: Mapping[str, object]) -> dict[str, str]:
    """The settings of a profile, without `RequestOptions`; `keyring` becomes text.

    Raises:
        ValueError: a setting is unknown, is a secret or is not text, or a secret has two sources.
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
        raise ValueError(f"{name} must not be in a profile: set {name}_file or {name}_command")
    if name not in _STORED:
        known = ", ".join((*sorted(_STORED), *request_options.NAMES))
        raise ValueError(f"unknown setting {name!r}; known are {known}")
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text in quotes")  # noqa: TRY004  as all the others
    if name == "grant" and value not in GRANTS:
        raise ValueError(f"grant must be {', '.join(GRANTS[:-1])} or {GRANTS[-1]}")
    return value


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
