"""After a redirect the token stays within its origins (RFC 6750 section 5.3)."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from evertoken import BearerAuth
from evertoken.testing import Answer, TokenServer
from support.http_clients import WAIT, grant_of, manager_of
from support.http_proxy import Proxy
from support.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import Response

    from evertoken import TokenManager
    from evertoken.testing import Exchange
    from evertoken.testing.answers import Step
    from support.http_clients import Authority

SECURE = "https://api.example.com"
CLEAR = "http://api.example.com"
PATH = "/api/v4/leads/"
FOREIGN = ["evil.example", "api.example.com.evil.example", "sub.api.example.com"]
KINDS = [302, 307]  # one continues with GET, one with the same method
DENIED = Answer(401, (), b"denied")


@dataclass(frozen=True)
class Net:
    """Host names that lead to servers on loopback through a proxy.

    Attributes:
        secure: `https://api.example.com`.
        clear: `http://api.example.com`.
        thief: every other host and port.
        session: uses the proxy and trusts the CA.
        bundle: the CA bundle for all of them.
    """

    secure: TokenServer
    clear: TokenServer
    thief: TokenServer
    session: requests.Session
    bundle: str

    def sign_in(self, origin: str, *others: str) -> TokenManager:
        """Make the session send that origin's token to it and to the `others`."""
        server = self.secure if origin == SECURE else self.clear
        manager = manager_of(server, grant=grant_of(server, verify=self.bundle))
        self.session.auth = BearerAuth(manager, origins=[origin, *others], allow_http=True)
        return manager

    def get(self, origin: str) -> Response:
        return self.session.get(origin + PATH, timeout=WAIT)


@pytest.fixture
def net(authority: Authority) -> Iterator[Net]:
    context = authority.context(None, "api.example.com", *FOREIGN)
    with ExitStack() as stack:
        secure, thief = (stack.enter_context(TokenServer(ssl_context=context)) for _ in range(2))
        clear = stack.enter_context(TokenServer())
        proxy = stack.enter_context(
            Proxy(
                {
                    "api.example.com:443": port_of(secure),
                    "api.example.com:80": port_of(clear),
                    "api.example.com:8443": port_of(thief),
                    "api.example.com:8080": port_of(clear),
                    **{f"{host}:443": port_of(thief) for host in FOREIGN},
                }
            )
        )
        session = stack.enter_context(requests.Session())
        session.proxies.update(proxy.everything)
        session.verify = authority.bundle
        yield Net(secure, clear, thief, session, authority.bundle)


def port_of(server: TokenServer) -> int:
    port = urlsplit(server.base_url).port
    assert port
    return port


def carried(server: TokenServer) -> list[str | None]:
    """The `Authorization` of each request to its API."""
    return [request.headers.get("Authorization") for request in server.api.requests]


def learned(server: TokenServer, owner: TokenServer) -> list[str]:
    """Which of the owner's secrets `server` received in any form."""
    scanner = Scanner(**{f"secret{n}": secret for n, secret in enumerate(owner.secrets)})
    told = [
        f"{it.path}?{it.query} {dict(it.headers)} {it.body.decode('latin-1')}"
        for it in (*server.api.requests, *server.elsewhere.requests)
    ]
    return scanner.found_in(*told)


@pytest.mark.parametrize("replayed", [False, True], ids=["at once", "after a replay"])
@pytest.mark.parametrize("status", KINDS)
@pytest.mark.parametrize(
    "location",
    [
        *(f"https://{host}{PATH}" for host in FOREIGN),
        f"https://api.example.com:8443{PATH}",
        f"//evil.example{PATH}",
        f"https://api.example.com@evil.example{PATH}",
        f"https://evil.example/?next={SECURE}",
        f"http://api.example.com{PATH}",
        f"http://api.example.com:8080{PATH}",
    ],
)
def test_no_token_leaves_its_origin(
    net: Net, location: str, status: int, *, replayed: bool
) -> None:  # S29
    net.sign_in(SECURE)
    net.secure.api.answer_next(*[DENIED] * replayed, Answer.redirect(location, status=status))

    net.get(SECURE)

    arrived = [*net.thief.requests, *net.clear.requests]
    assert len(arrived) == 1, "the redirect was not followed at all"
    assert learned(net.thief, net.secure) == learned(net.clear, net.secure) == []
    assert "Authorization" not in arrived[0].headers or "@" in location
    assert net.secure.grants == 1 + replayed


@pytest.mark.parametrize("replayed", [False, True], ids=["at once", "after a replay"])
@pytest.mark.parametrize("status", KINDS)
@pytest.mark.parametrize(
    "location",
    [
        SECURE + PATH,
        f"https://api.example.com:443{PATH}",
        f"HTTPS://API.example.com{PATH}",
        f" https://api.example.com{PATH}",
    ],
)
def test_no_token_is_sent_on_an_upgrade_to_https(
    net: Net, location: str, status: int, *, replayed: bool
) -> None:  # S29
    net.sign_in(CLEAR)
    net.clear.api.answer_next(*[DENIED] * replayed, Answer.redirect(location, status=status))

    response = net.get(CLEAR)

    assert response.status_code == 401
    assert carried(net.secure) == [None]
    assert learned(net.secure, net.clear) == []
    assert net.clear.grants == 1 + replayed


def test_an_upgrade_is_logged_once_and_the_history_shows_what_was_sent(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:  # S29
    caplog.set_level(logging.WARNING)
    manager = net.sign_in(CLEAR)
    net.clear.api.answer_always(Answer.redirect(SECURE + PATH))

    answers = [net.get(CLEAR) for _ in range(2)]

    assert [it.getMessage() for it in caplog.records] == [
        f"no token is sent from {CLEAR} to https://: add the https:// origin"
    ]
    for answer in answers:
        (redirect,) = answer.history
        assert redirect.request.headers["Authorization"] == manager.header()
        assert "Authorization" not in answer.request.headers


def test_an_upgrade_that_is_left_to_the_caller_carries_no_token(net: Net) -> None:  # S29
    net.sign_in(CLEAR)
    net.clear.api.answer_always(Answer.redirect(SECURE + PATH))

    following = net.session.get(CLEAR + PATH, allow_redirects=False, timeout=WAIT).next

    assert following is not None
    assert following.url == SECURE + PATH
    assert "Authorization" not in following.headers


def test_an_upgrade_to_an_invalid_url_carries_no_token(net: Net) -> None:  # S29
    net.sign_in(CLEAR)
    net.clear.api.answer_always(Answer.redirect("https://["))

    with pytest.raises(ValueError, match="IPv6"):
        net.get(CLEAR)

    assert net.secure.requests == ()


def test_a_prepared_request_that_was_upgraded_can_be_sent_again(net: Net) -> None:  # S29, F24
    net.sign_in(CLEAR)
    net.clear.api.answer_always(Answer.redirect(SECURE + PATH))
    request = net.session.prepare_request(requests.Request("GET", CLEAR + PATH))

    statuses = [net.session.send(request, timeout=WAIT).status_code for _ in range(2)]

    assert statuses == [401, 401]
    assert carried(net.secure) == [None, None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_token_stays_within_its_origins_on_every_kind_of_redirect(
    net: Net, status: int
) -> None:  # S29
    net.sign_in(CLEAR)
    for location in (f"https://evil.example{PATH}", SECURE + PATH):
        net.clear.api.answer_next(Answer.redirect(location, status=status))
        net.get(CLEAR)

    assert carried(net.thief) == carried(net.secure) == [None]


@pytest.mark.parametrize("replayed", [False, True], ids=["at once", "after a replay"])
@pytest.mark.parametrize("status", KINDS)
@pytest.mark.parametrize("origin", [SECURE, CLEAR])
@pytest.mark.parametrize("location", ["/api/moved/", "{origin}/api/moved/", "moved/?a=b"])
def test_a_redirect_within_the_origin_carries_the_current_token(
    net: Net, origin: str, location: str, status: int, *, replayed: bool
) -> None:  # S29
    manager = net.sign_in(origin)
    server = net.secure if origin == SECURE else net.clear
    redirect = Answer.redirect(location.format(origin=origin), status=status)
    server.api.answer_next(*[DENIED] * replayed, redirect)

    response = net.get(origin)

    assert response.status_code == 200
    assert carried(server)[-2:] == [manager.header()] * 2
    assert server.grants == 1 + replayed


def test_a_hop_inside_the_origin_is_replayed_too(net: Net) -> None:  # S29, S31
    manager = net.sign_in(SECURE)
    net.secure.api.answer_next(Answer.redirect("/api/moved/", status=307), DENIED)

    response = net.session.post(SECURE + PATH, data=b"lead", timeout=WAIT)

    assert response.status_code == 200
    paths = [(it.path, it.body) for it in net.secure.api.requests]
    assert paths == [(PATH, b"lead"), ("/api/moved/", b"lead"), ("/api/moved/", b"lead")]
    assert carried(net.secure)[-1] == manager.header()
    assert net.secure.grants == 2


@pytest.mark.parametrize("replayed", [False, True], ids=["at once", "after a replay"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("other", [f"https://{FOREIGN[2]}", "https://api.example.com:8443"])
def test_a_redirect_between_two_named_origins_keeps_the_token(
    net: Net, other: str, status: int, *, replayed: bool
) -> None:  # S61
    manager = net.sign_in(SECURE, other)
    net.thief.api.answer_always(Answer(200))
    redirect = Answer.redirect(f"{other}{PATH}", status=status)
    net.secure.api.answer_next(*[DENIED] * replayed, redirect)

    response = net.get(SECURE)

    assert response.status_code == 200
    assert carried(net.thief) == [manager.header()]
    sent_to = [it.request.url for it in (*response.history, response)]
    assert sent_to == [SECURE + PATH, other + PATH]


@pytest.mark.parametrize(
    ("origin", "other"), [(SECURE, CLEAR), (CLEAR, SECURE)], ids=["downgrade", "upgrade"]
)
def test_a_change_of_scheme_keeps_the_token_if_both_origins_are_named(
    net: Net, origin: str, other: str
) -> None:  # S61
    manager = net.sign_in(origin, other)
    here, there = (net.secure, net.clear) if origin == SECURE else (net.clear, net.secure)
    here.api.answer_next(Answer.redirect(other + PATH))
    there.api.answer_next(Answer(200))

    assert net.get(origin).status_code == 200
    assert carried(there) == [manager.header()]


def test_a_named_origin_does_not_redirect_the_token_to_another(net: Net) -> None:  # S29, S61
    manager = net.sign_in(SECURE, CLEAR)
    net.secure.api.answer_next(Answer.redirect(CLEAR + PATH))
    net.clear.api.answer_next(Answer.redirect(f"https://evil.example{PATH}"))

    net.get(SECURE)

    assert carried(net.clear) == [manager.header()]
    assert carried(net.thief) == [None]


def test_a_redirect_to_a_named_origin_that_is_left_to_the_caller_has_the_token(
    net: Net,
) -> None:  # S61
    manager = net.sign_in(SECURE, CLEAR)
    net.secure.api.answer_always(Answer.redirect(CLEAR + PATH))
    request = net.session.prepare_request(requests.Request("GET", SECURE + PATH))

    answers = [net.session.send(request, allow_redirects=False, timeout=WAIT) for _ in range(2)]

    for answer in answers:
        assert answer.url == SECURE + PATH
        assert answer.next is not None
        assert answer.next.headers["Authorization"] == manager.header()
    assert carried(net.secure) == [manager.header()] * 2


def test_a_401_after_a_redirect_to_a_named_origin_is_replayed_there(net: Net) -> None:  # S31, S61
    manager = net.sign_in(SECURE, CLEAR)
    net.secure.api.answer_next(Answer.redirect(CLEAR + PATH, status=307))
    net.clear.api.answer_next(DENIED, Answer(200))

    response = net.session.post(SECURE + PATH, data=b"lead", timeout=WAIT)

    assert response.status_code == 200
    assert carried(net.clear)[-1] == manager.header()
    assert [it.body for it in net.clear.api.requests] == [b"lead", b"lead"]


@dataclass(frozen=True)
class RenewAndDeny:
    """Denies a request while another caller renews, so that a replay would cost no grant."""

    manager: TokenManager

    def steps(self, exchange: Exchange) -> Iterator[Step]:
        self.manager.refresh()
        return DENIED.steps(exchange)


def test_a_call_has_one_replay_for_all_its_hops(net: Net) -> None:  # S31
    manager = net.sign_in(SECURE)
    net.secure.api.answer_next(DENIED, Answer.redirect("/api/moved/"), RenewAndDeny(manager))

    response = net.get(SECURE)

    assert (response.status_code, response.text) == (401, "denied")
    assert len(net.secure.api.requests) == 3


def test_a_request_sent_again_has_its_own_replay(net: Net) -> None:  # F24
    manager = net.sign_in(SECURE)
    request = net.session.prepare_request(requests.Request("GET", SECURE + PATH))
    net.secure.api.answer_next(Answer.redirect("/api/moved/"), RenewAndDeny(manager))
    first = net.session.send(request, timeout=WAIT)
    net.secure.api.answer_next(RenewAndDeny(manager))

    second = net.session.send(request, timeout=WAIT)

    assert (first.status_code, second.status_code) == (200, 200)
    assert [it.status_code for it in second.history] == [401]


def test_a_401_from_another_origin_is_not_replayed(net: Net) -> None:  # S29
    net.sign_in(SECURE)
    net.secure.api.answer_next(Answer.redirect(f"https://evil.example{PATH}"))
    net.thief.api.answer_always(DENIED)

    response = net.get(SECURE)

    assert (response.status_code, response.text) == (401, "denied")
    assert carried(net.thief) == [None]
    assert net.secure.grants == 1


def test_a_401_from_another_origin_with_a_netrc_login_gets_no_token(
    net: Net, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # S29, F26
    netrc = tmp_path / "netrc"
    netrc.write_text("machine evil.example login ann password planted\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    net.sign_in(SECURE)
    net.secure.api.answer_next(Answer.redirect(f"https://evil.example{PATH}"))
    net.thief.api.answer_always(DENIED)

    assert net.get(SECURE).status_code == 401
    assert carried(net.thief) == ["Basic YW5uOnBsYW50ZWQ="]
    assert learned(net.thief, net.secure) == []


def test_a_token_dropped_on_a_redirect_is_not_added_again(net: Net) -> None:  # S29
    net.sign_in(SECURE)
    net.secure.api.answer_next(Answer.redirect(f"https://evil.example{PATH}"))
    net.thief.api.answer_always(Answer.redirect(SECURE + PATH))

    response = net.get(SECURE)

    assert response.status_code == 401
    assert carried(net.secure)[1:] == carried(net.thief) == [None]
    assert net.secure.grants == 1


def test_a_netrc_login_on_a_redirect_is_replaced_by_the_replay(
    net: Net, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # F26
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.example.com login ann password planted\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    manager = net.sign_in(SECURE)
    net.secure.api.answer_next(Answer.redirect("/api/moved/"))

    response = net.get(SECURE)

    assert response.status_code == 200
    assert carried(net.secure) == [
        manager.header(),
        "Basic YW5uOnBsYW50ZWQ=",
        manager.header(),
    ]
    assert net.secure.grants == 1
