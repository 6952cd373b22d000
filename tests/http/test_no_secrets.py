"""No secret is printed, logged, raised, shown or pickled (RFC 6819 section 4.6.7)."""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import pickle
import pprint
import traceback
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, quote_plus

import pytest
import requests

from evertoken import (
    BearerAuth,
    FileStore,
    MemoryStore,
    PasswordGrant,
    RefreshPolicy,
    TokenError,
    TokenManager,
)
from evertoken.core.state import Snapshot
from evertoken.grants.answer import Answer as Parsed
from evertoken.grants.response import parse
from evertoken.testing import Answer, Cut, Delay, Drip, EarlyHints, Endless, Hang, Raw, Reset
from evertoken.testing import TokenServer as Server
from support.planted import (
    ACCESS_TOKEN,
    CLIENT_SECRET,
    LATER_TOKEN,
    PASSWORD,
    REFRESH_TOKEN,
    SCANNER,
)
from support.scanner import Scanner, reachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evertoken.events import Event
    from evertoken.testing import Behaviour
    from evertoken.testing.answers import Json
    from support.http_clients import Authority

ECHO = f"{PASSWORD} {CLIENT_SECRET} {quote_plus(PASSWORD)} {quote_plus(CLIENT_SECRET)}"
HELD = f"{ACCESS_TOKEN} {LATER_TOKEN} {REFRESH_TOKEN}"


def password() -> str:
    """A callable, so that a grant may be pickled."""
    return PASSWORD


def client_secret() -> str:
    return CLIENT_SECRET


def leaky() -> str:
    raise LookupError(f"the vault said {PASSWORD}")


class Everything:
    """All output, by its source."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.errors: list[TokenError] = []
        self.events: list[Event] = []
        self.shown: list[str | bytes] = []

    def show(self, *objects: object) -> None:
        """Show a value as a debugger, a log, a pickle or a crash report would."""
        for it in objects:
            self.shown += [str(it), repr(it), f"{it}", pprint.pformat(it)]
            try:
                self.shown.append(pickle.dumps(it))
                self.shown.append(repr(pickle.loads(pickle.dumps(it))))  # noqa: S301  our own
                self.shown.append(repr(copy.deepcopy(it)))
            except (TypeError, pickle.PicklingError) as error:
                self.shown += [str(error), repr(error)]

    def fail(self, call: Callable[[], object]) -> TokenError:
        with pytest.raises(TokenError) as caught:
            call()
        error = caught.value
        self.errors.append(error)
        self.shown += traceback.format_exception(error)
        self.show(error, vars(error), error.args)
        return error


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> Iterator[Everything]:
    """Capture the root logger and urllib3's at DEBUG, with all attributes of a record."""
    out = Everything()
    handler = logging.StreamHandler(out.log)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s %(exc_text)s"))
    root = logging.getLogger()
    for logger in (root, logging.getLogger("urllib3"), logging.getLogger("evertoken")):
        monkeypatch.setattr(logger, "level", logging.DEBUG)
        logger.manager._clear_cache()  # type: ignore[attr-defined]  # levels are cached
    root.addHandler(handler)
    yield out
    root.removeHandler(handler)
    root.manager._clear_cache()  # type: ignore[attr-defined]  # likewise


TOKEN: dict[str, Json] = {
    "access_token": ACCESS_TOKEN,
    "refresh_token": REFRESH_TOKEN,
    "token_type": "Bearer",
    "expires_in": 36000,
    "scope": "read",
}
TROUBLE: dict[str, Behaviour] = {
    "refused": Answer.error("invalid_grant", description=ECHO),
    "refused in HTML": Answer(403, {"Content-Type": "text/html"}, ECHO.encode()),
    "an error in the secret": Answer.error(PASSWORD, description=CLIENT_SECRET),
    "500": Answer(500, {"Content-Type": "text/plain"}, ECHO.encode()),
    "503": Answer(503, {"Retry-After": "1"}, ECHO.encode()),
    "429": Answer.error("slow_down", status=429, description=ECHO),
    "not to be read": Answer(200, {"Content-Type": "text/html"}, f"{ECHO} {HELD}".encode()),
    "a list": Answer.json([PASSWORD, ACCESS_TOKEN]),
    "a bad token": Answer.json({**TOKEN, "access_token": f"{ACCESS_TOKEN}\r\nX: y"}),
    "a bad type": Answer.json({**TOKEN, "token_type": ACCESS_TOKEN}),
    "a bad lifetime": Answer.json({**TOKEN, "expires_in": PASSWORD}),
    "a bad type in a list": Answer.json({**TOKEN, "token_type": [ACCESS_TOKEN, PASSWORD]}),
    "twice the token": Answer(
        200, (), json.dumps(TOKEN).encode()[:-1] + f', "access_token": "{ACCESS_TOKEN}"}}'.encode()
    ),
    "half a token": Answer(200, (), json.dumps(TOKEN).encode()[:60]),
    "an error and a token": Answer.json({**TOKEN, "error": ECHO}),
    "another status": Answer.json(TOKEN, status=304),
    "a page": Answer(403, {"Content-Type": "text/html"}, f"<html>{ECHO} {HELD}".encode()),
    "a redirect": Answer.redirect(f"/oauth/?password={quote_plus(PASSWORD)}&t={ACCESS_TOKEN}"),
    "too large": Endless(),
    "cut": Cut("body", then=Answer.json(TOKEN)),
    "cut in the headers": Cut("head", then=Answer.json(TOKEN)),
    "reset": Reset(),
    "no HTTP": Raw(f"{ECHO}\r\n{ACCESS_TOKEN}\r\n\r\n".encode()),
    "103": EarlyHints(Answer.json(TOKEN)),
    "hang": Hang(),
    "drip": Drip(0.05, then=Answer.json(TOKEN)),
}


ODD: dict[str, Behaviour] = {
    "a bad scope": Answer.json({**TOKEN, "scope": f'"{PASSWORD}"'}),
    "a list of scopes": Answer.json({**TOKEN, "scope": [PASSWORD, CLIENT_SECRET]}),
    "a bad refresh token": Answer.json({**TOKEN, "refresh_token": REFRESH_TOKEN + "\n"}),
    "an odd type": Answer.json({**TOKEN, "token_type": " BearerToken"}, status=201),
    "no time at all": Answer.json({**TOKEN, "expires_in": 0, "error": None}),
}


def grant_for(
    server: Server, client_auth: Literal["body", "basic"] = "body", **options: object
) -> PasswordGrant:
    return PasswordGrant(
        server.token_url,
        **{  # type: ignore[arg-type]  # options of several types
            "client_id": server.client_id,
            "client_secret": client_secret,
            "username": server.username,
            "password": password,
            "revoke_url": server.revoke_url,
            "client_auth": client_auth,
            "timeout": 0.4,
            "deadline": 0.6,
            **options,
        },
    )


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(client_secret=CLIENT_SECRET, password=PASSWORD) as server:
        server.extra = {key: value for key, value in TOKEN.items() if "token" in key}
        yield server


def show_state(out: Everything, manager: TokenManager) -> None:
    """Show the public objects, and those that a crash report shows."""
    auth = BearerAuth(manager)
    out.show(manager, auth, manager.grant, manager.grant.key, manager.policy, manager.store)
    out.show(manager.status(), *out.events)
    # a crash report shows the engine's objects and values too
    values = [it for it in reachable(manager) if type(it).__module__.startswith("evertoken.")]
    assert {"Snapshot", "Entry", "MemoryStore"} <= {type(it).__name__ for it in values}
    out.shown += map(repr, values)


def use_and_renew(out: Everything, server: Server, manager: TokenManager) -> None:
    """Make a grant, a call, a 401 with a replay, a permanent 401, and a renewal."""
    auth = BearerAuth(manager, retry_statuses=(401, 403))
    server.api.answer_always(Answer(200))
    assert requests.get(server.api_url, auth=auth, timeout=5).status_code == 200
    server.extra = {**server.extra, "access_token": LATER_TOKEN}
    server.api.answer_next(Answer(401, {"WWW-Authenticate": f"Bearer {ACCESS_TOKEN}"}))
    assert requests.get(server.api_url, auth=auth, timeout=5).history
    server.api.answer_always(Answer(403, (), HELD.encode()))
    assert requests.get(server.api_url, auth=auth, timeout=5).status_code == 403
    requests.get(server.api_url, auth=auth, timeout=5, headers={"Authorization": "own"})
    with Server() as foreign:
        requests.get(foreign.api_url, auth=auth, timeout=5)
    show_state(out, manager)


def revoke(out: Everything, server: Server, manager: TokenManager) -> None:
    """Let a revocation fail with the tokens echoed, then grant again and revoke."""
    for answer in (
        Answer.error("invalid_request", description=f"{REFRESH_TOKEN} {CLIENT_SECRET}"),
        Answer.error("invalid_request", description=f"neither {LATER_TOKEN}"),
        Answer(503, (), HELD.encode()),
        Reset(),
        Answer.redirect(f"/?token={ACCESS_TOKEN}"),
    ):
        server.revocation_endpoint.answer_always(answer)
        manager.token()
        out.fail(manager.revoke)
        show_state(out, manager)
    server.revocation_endpoint.recover()
    manager.token()
    manager.revoke()
    show_state(out, manager)


def meet_trouble(out: Everything, server: Server, manager: TokenManager) -> None:
    """Let a renewal fail in every way: fresh, remembered, and waited for."""
    for name, behaviour in TROUBLE.items():
        server.token_endpoint.answer_always(behaviour)
        out.fail(manager.refresh)
        out.shown.append(name)
        show_state(out, manager)
    for behaviour in ODD.values():
        server.token_endpoint.answer_always(behaviour)
        manager.refresh()
        show_state(out, manager)
    server.token_endpoint.answer_always(TROUBLE["refused"])
    fresh = TokenManager(manager.grant, memory=MemoryStore(), on_event=out.events.append)
    out.fail(fresh.token)
    out.fail(fresh.token)
    out.fail(lambda: requests.get(server.api_url, auth=BearerAuth(fresh), timeout=5))
    server.token_endpoint.answer_always(Delay(0.3, Answer(500)))
    out.fail(lambda: manager.refresh(timeout=0.05))
    show_state(out, fresh)


@pytest.mark.parametrize("client_auth", ["body", "basic"])
def test_no_secret_appears_in_any_output(
    everything: Everything,
    server: Server,
    authority: Authority,
    *,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    client_auth: Literal["body", "basic"],
) -> None:  # S46
    out = everything
    manager = TokenManager(
        grant_for(server, client_auth),
        memory=MemoryStore(),
        store=FileStore(tmp_path / "tokens"),
        policy=RefreshPolicy(recheck=0),
        timeout=5,
        on_event=out.events.append,
    )

    use_and_renew(out, server, manager)
    revoke(out, server, manager)
    meet_trouble(out, server, manager)
    with ExitStack() as stack:
        distrusted = stack.enter_context(Server(ssl_context=authority.context()))
        out.fail(grant_for(distrusted, client_auth).request)
    out.fail(grant_for(distrusted, client_auth).request)
    out.fail(grant_for(server, client_auth, password=leaky).request)
    out.fail(grant_for(server, client_auth, password=lambda: PASSWORD + "\udcff").request)
    literal = grant_for(server, client_auth, password=PASSWORD, client_secret=CLIENT_SECRET)
    out.show(literal, TokenManager(literal, memory=MemoryStore()))

    logged = out.log.getvalue()
    assert "urllib3.connectionpool" in logged
    assert "evertoken no new token" in logged
    assert len(out.errors) > len(TROUBLE)
    assert {type(event).__name__ for event in out.events} >= {
        "TokenRenewed",
        "RenewalFailed",
        "TokenRefused",
        "TokenRevoked",
        "Replayed",
    }
    assert SCANNER.found_in(logged, *capfd.readouterr(), *out.shown) == []
    assert SCANNER.found_on(*out.errors, *out.events, manager.status()) == []


def test_an_error_references_nothing_of_requests(everything: Everything, server: Server) -> None:
    for behaviour in TROUBLE.values():
        server.token_endpoint.answer_always(behaviour)
        error = everything.fail(grant_for(server).request)

        kinds = {type(it).__module__.partition(".")[0] for it in reachable(vars(error))}
        assert not kinds & {"requests", "urllib3", "http", "socket"}
        assert error.__cause__ is error.__context__ is None


def test_crash_reports_do_not_show_secret_values() -> None:
    answer = Parsed(
        url="https://api.example.com/",
        status=200,
        headers={"content-type": "application/json"},
        body=json.dumps(TOKEN).encode(),
    )
    values = [answer, parse(answer), Snapshot(header=f"Bearer {ACCESS_TOKEN}")]

    assert SCANNER.found_in(*map(repr, values)) == []


# --- the scanner itself, since a blind one finds nothing either -------------------------------


@pytest.mark.parametrize("secret", [PASSWORD, CLIENT_SECRET, ACCESS_TOKEN, REFRESH_TOKEN])
@pytest.mark.parametrize("before", ["", "x", "xy", "id:"])
def test_the_scanner_finds_encoded_secrets(secret: str, before: str) -> None:
    whole = f"{before}{secret} and more"
    scanner = Scanner(secret=secret)
    for form in (
        whole,
        repr(whole),
        repr(whole.encode()),
        json.dumps(whole),
        quote(whole),
        quote_plus(whole),
        quote(whole, safe="").replace("%C3", "%c3"),
        base64.b64encode(whole.encode()).decode(),
        base64.urlsafe_b64encode(whole.encode()),
        base64.b64encode(quote_plus(whole).encode()),
        whole.encode().hex(),
    ):
        assert scanner.found_in("nothing", form), form
    assert scanner.found_in("nothing at all", before) == []


def test_the_scanner_searches_everything_an_exception_references() -> None:
    request = requests.Request("POST", "https://x/", data={"password": PASSWORD}).prepare()
    error = TokenError("failed")
    error.__context__ = requests.ConnectionError("inner", request=request)

    assert "password (form, plain)" in SCANNER.found_on(error)
    assert SCANNER.found_on(TokenError("failed")) == []


def test_the_scanner_rejects_secrets_that_could_appear_by_chance() -> None:
    with pytest.raises(ValueError, match="too short"):
        Scanner(password="short")
