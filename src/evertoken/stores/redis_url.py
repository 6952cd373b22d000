"""Checks the URL of a Redis server without quoting it, and finds a password in it (pure)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

_SCHEMES = ("redis://", "rediss://", "unix://")


def checked(url: str) -> str:
    """`url`, if redis-py will parse the intended host and login from it.

    A `/`, `#` or `?` in a password that is not percent-encoded ends the host early. The rest of the
    password would be taken for a port, a host or a path, and would appear in errors.

    Raises:
        ValueError: the scheme is unknown, the port is invalid, or the login is misplaced.
    """
    if not url.startswith(_SCHEMES):
        raise ValueError(f"the Redis URL needs one of the schemes {', '.join(_SCHEMES)}")
    if not _is_sound(url):
        # outside the except block: urllib's error quotes the URL
        raise ValueError(
            "the Redis URL is malformed: check the port, and percent-encode all but letters and "
            "digits in the user name and the password"
        )
    return url


def has_password(url: str) -> bool:
    """Whether `url` has a password, in its login or as a parameter."""
    parts = urlsplit(url)
    names = [name for name, _ in parse_qsl(parts.query)]
    return parts.password is not None or any("password" in name for name in names)


def _is_sound(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    # a socket's path may contain any character
    path = "" if parts.scheme == "unix" else parts.path
    names = [each.partition("=")[0] for each in parts.query.split("&")]
    return not any("@" in each for each in (path, parts.fragment, *names))
