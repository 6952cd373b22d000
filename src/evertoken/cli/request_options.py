"""The options of the token request in a profile: parameters, headers, lifetime (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from evertoken.core.token import LONGEST_LIFETIME
from evertoken.grants import additions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evertoken.grants.client_auth import ClientAuth

_METHODS = ("body", "basic", "basic-raw")

NAMES = ("client_auth", "extra", "headers", "lifetime")
"""The settings of a profile that this module reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """The options of `PasswordGrant` of these names."""

    client_auth: ClientAuth = "body"
    lifetime: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def read(profile: Mapping[str, object]) -> RequestOptions:
    """The options in `profile`; its other settings are ignored.

    Raises:
        ValueError: an option has an invalid value.
    """
    extra, headers = (_table(name, profile.get(name, {})) for name in ("extra", "headers"))
    # an invalid value is reported before the command does anything
    additions.parameters(extra)
    additions.fields(headers)
    return RequestOptions(
        client_auth=_method(profile.get("client_auth", "body")),
        lifetime=_lifetime(profile.get("lifetime")),
        extra=extra,
        headers=headers,
    )


def _table(name: str, value: object) -> dict[str, str]:
    if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
        return value
    raise ValueError(f"{name} must be a table of texts in quotes")


def _method(value: object) -> ClientAuth:
    if value in _METHODS:
        return cast("ClientAuth", value)
    raise ValueError('client_auth must be "body", "basic" or "basic-raw"')


def _lifetime(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("lifetime must be a number of seconds")  # noqa: TRY004  as all the others
    if not 0 < value <= LONGEST_LIFETIME:
        raise ValueError(f"lifetime must be above 0, at most {LONGEST_LIFETIME:.0f} seconds")
    return float(value)
