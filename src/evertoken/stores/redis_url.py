"""URLs of a Redis server: refused without a word of them, and searched for a password (pure)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

_SCHEMES = ("redis://", "rediss://", "unix://")


def checked(url: str) -> str:
    """`url`, if redis-py finds the host and the login in it that were meant.

    A password with `/`, `#` or `?` that is not percent-encoded ends the host early, and what is
    left of it would be taken for a port, a host or a path: and told as such.

    Raises:
        ValueError: another scheme, no port that is one, or a login in the wrong place.
    """
    if not url.startswith(_SCHEMES):
        raise ValueError(f"the Redis URL needs one of the schemes {', '.join(_SCHEMES)}")
    if not _is_sound(url):
        # outside of the handler: the error of urllib quotes the URL
        raise ValueError(
            "the Redis URL is malformed: check the port, and percent-encode all but letters and "
            "digits in the user name and the password"
        )
    return url


def has_password(url: str) -> bool:
    """Whether a password is in `url`, as a part of the login or as a parameter."""
    parts = urlsplit(url)
    names = [name for name, _ in parse_qsl(parts.query)]
    return parts.password is not None or any("password" in name for name in names)


def _is_sound(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    # the path of a socket may have any character
    path = "" if parts.scheme == "unix" else parts.path
    names = [each.partition("=")[0] for each in parts.query.split("&")]
    return not any("@" in each for each in (path, parts.fragment, *names))
