"""Which URLs may receive a secret, and which origin a URL belongs to (pure)."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from evertoken.errors import InsecureURL

_DEFAULT_PORTS = {"http": 80, "https": 443}


def checked(url: str, *, what: str, allow_http: bool = False) -> str:
    """`url`, if it may receive a secret: https, or http if on loopback or allowed.

    Raises:
        InsecureURL: it may not.
        ValueError: it has a fragment (RFC 6749 section 3.2), a login or an invalid port.
    """
    parts = _split(url, what)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InsecureURL(f"{what} must be an absolute https:// URL")
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname)):
        raise InsecureURL(f"{what} must be https://: http:// would send secrets in plain text")
    # if there is only a password, the user name is empty
    if parts.username is not None:
        raise ValueError(f"{what} must not hold a login: give the credentials as arguments")
    if "#" in url:
        raise ValueError(f"{what} must have no fragment (#…)")
    return url


def origin(url: str) -> str:
    """`scheme://host[:port]` of `url`, normalised for comparison.

    The default port is left out, a host name is in ASCII (IDNA 2008, RFC 5891), and an IPv6 address
    has its shortest form (RFC 5952).

    Raises:
        ValueError: `url` is not a valid URL. The error does not quote it.
    """
    parts = _split(url, "the URL")
    host = _normalised(parts.hostname or "")
    usual = parts.port in (None, _DEFAULT_PORTS.get(parts.scheme))
    return f"{parts.scheme}://{host}" + ("" if usual else f":{parts.port}")


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback address. Without DNS."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_plain_loopback(url: str) -> bool:
    """Whether `url` is http:// on loopback, so that a proxy would expose what is sent to it."""
    parts = _split(url, "the URL")
    return parts.scheme == "http" and is_loopback(parts.hostname or "")


def _normalised(host: str) -> str:
    if ":" in host:
        return f"[{_shortest(host)}]"
    return host if host.isascii() else _ascii(host)


def _shortest(address: str) -> str:
    # a zone begins with %, or percent-encoded (RFC 6874) with %25
    try:
        return str(ipaddress.ip_address(address.replace("%25", "%", 1)))
    except ValueError:
        return address


def _ascii(host: str) -> str:
    import idna  # noqa: PLC0415  few hosts need it

    try:
        # like `requests`: the standard library's codec maps some names to different hosts
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        pass
    # outside the except block: its error quotes the host
    raise ValueError("the URL is not valid")


def _split(url: str, what: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        invalid = True
    else:
        invalid = False
    if invalid:
        # outside the except block: urllib's error quotes the URL
        raise ValueError(f"{what} is not a valid URL")
    return parts
