"""Which URLs may receive a secret, and which origin a URL belongs to."""

from __future__ import annotations

import pytest

from evertoken import InsecureURL
from evertoken.urls import checked, is_loopback, is_plain_loopback, origin

WHAT = "token_url"


@pytest.mark.parametrize(
    "url",
    [
        "https://app.squadrun.co/oauth/token/",
        "https://app.squadrun.co",
        "HTTPS://APP.SQUADRUN.CO/oauth/token/",
        "https://app.squadrun.co:8443/oauth/token/?tenant=7&empty=",
        "https://[2001:db8::1]/oauth/token/",
        "http://localhost/oauth/token/",
        "http://localhost:8000/oauth/token/",
        "http://127.0.0.1:8000/oauth/token/",
        "http://127.9.9.9/",
        "http://[::1]:8000/oauth/token/",
    ],
)
def test_https_and_loopback_are_accepted(url: str) -> None:  # S1, S8, S30
    assert checked(url, what=WHAT) is url


@pytest.mark.parametrize(
    "url",
    [
        "http://app.squadrun.co/oauth/token/",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://[2001:db8::1]/",
        "http://example.com/?host=localhost",
        "ftp://app.squadrun.co/",
        "file:///etc/passwd",
        "//app.squadrun.co/oauth/token/",
        "app.squadrun.co/oauth/token/",
        "https:///oauth/token/",
        "https://",
        "",
    ],
)
def test_a_url_that_would_expose_a_secret_is_rejected(url: str) -> None:  # S8, S30
    with pytest.raises(InsecureURL, match=WHAT) as caught:
        checked(url, what=WHAT)
    assert isinstance(caught.value, ValueError)


def test_http_beyond_loopback_must_be_allowed() -> None:  # S8
    url = "http://tokens.internal/oauth/token/"
    assert checked(url, what=WHAT, allow_http=True) is url
    with pytest.raises(InsecureURL):
        checked("ftp://tokens.internal/", what=WHAT, allow_http=True)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("https://user:s3cr3t-pass@app.squadrun.co/", "as arguments"),
        ("https://s3cr3t-pass@app.squadrun.co/", "as arguments"),
        ("https://:s3cr3t-pass@app.squadrun.co/", "as arguments"),
        ("https://app.squadrun.co/#s3cr3t-pass", "no fragment"),
        ("https://app.squadrun.co/#", "no fragment"),
        ("https://app.squadrun.co:s3cr3t-pass/", "not a valid URL"),
        ("https://app.squadrun.co:99999/s3cr3t-pass", "not a valid URL"),
        ("https://[::1/s3cr3t-pass", "not a valid URL"),
    ],
)
def test_logins_fragments_and_invalid_urls_are_rejected_without_being_quoted(  # S1, S46
    url: str, remedy: str
) -> None:
    with pytest.raises(ValueError, match=remedy) as caught:
        checked(url, what=WHAT)
    assert WHAT in str(caught.value)
    assert "s3cr3t-pass" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com/a/b?c=d", "https://api.example.com"),
        ("https://API.Example.COM:443/", "https://api.example.com"),
        ("HTTPS://api.example.com", "https://api.example.com"),
        ("https://api.example.com:/", "https://api.example.com"),
        ("https://api.example.com:8443/", "https://api.example.com:8443"),
        ("http://api.example.com:80/", "http://api.example.com"),
        ("http://api.example.com:443/", "http://api.example.com:443"),
        ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]"),
        ("https://[::1]:8443/", "https://[::1]:8443"),
        ("https://user:pass@api.example.com/", "https://api.example.com"),
        ("https://api.example.com?q", "https://api.example.com"),
        ("mailto:someone", "mailto://"),
        ("https://b\u00fccher.example/", "https://xn--bcher-kva.example"),
        ("https://B\u00dcCHER.example:443/", "https://xn--bcher-kva.example"),
        ("https://XN--Bcher-KVA.example/", "https://xn--bcher-kva.example"),
        # not "strasse.example", which is another domain
        ("https://stra\u00dfe.example/", "https://xn--strae-oqa.example"),
        ("https://[2001:DB8:0:0:0:0:0:1]/", "https://[2001:db8::1]"),
        ("https://[2001:db8::0001]:8443/", "https://[2001:db8::1]:8443"),
        ("https://[FE80::1%25eth0]/", "https://[fe80::1%eth0]"),
        ("https://[fe80:0::1%eth0]/", "https://[fe80::1%eth0]"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, expected: str) -> None:  # S29
    assert origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com.evil.example/",
        "https://api.example.com@evil.example/",
        "https://api.example.com:443@evil.example/",
        "https://evil.example/https://api.example.com/",
        "https://evil.example#@api.example.com/",
        "https://evil.example?@api.example.com/",
        "https://evilapi.example.com/",
        "https://api.example.com:444/",
        "http://api.example.com/",
        "https://api.example.co/",
        "https://api.example.com%2eevil.example/",
        "https://\u0430pi.example.com/",  # a Cyrillic letter
        "https://api.example.com./",
        "https://api.ex\u00e4mple.com/",
    ],
)
def test_another_origin_never_matches_however_it_is_written(url: str) -> None:  # S29
    assert origin(url) != "https://api.example.com"


def test_the_origin_of_an_invalid_url_raises_without_quoting_it() -> None:
    for url in ("https://[s3cr3t", "https://s3cr3t\u0378.example", "https://\u00fcs3cr3t..example"):
        with pytest.raises(ValueError, match=r"not (a )?valid") as caught:
            origin(url)
        assert "s3cr3t" not in str(caught.value)
        assert caught.value.__context__ is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.255.254", "::1"])
def test_loopback_is_recognised_by_name_or_address(host: str) -> None:
    assert is_loopback(host) is True


@pytest.mark.parametrize("host", ["example.com", "localhost.", "10.0.0.1", "::2", "127.1", ""])
def test_anything_else_is_not_loopback(host: str) -> None:
    assert is_loopback(host) is False


@pytest.mark.parametrize(
    "url", ["http://localhost/", "http://127.1.2.3:80", "HTTP://[::1]:8000/a", "http://LOCALHOST?q"]
)
def test_plain_loopback_is_http_to_this_machine(url: str) -> None:  # S54
    assert is_plain_loopback(url) is True


@pytest.mark.parametrize(
    "url", ["https://localhost/", "http://example.com/localhost", "http://localhost.example/", ""]
)
def test_tls_and_other_machines_are_not_plain_loopback(url: str) -> None:  # F26
    assert is_plain_loopback(url) is False
