"""The SquadRun presets: its URLs, its behaviour, and credentials from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import (
    ConfigurationError,
    FileStore,
    InsecureURL,
    MemoryStore,
    PasswordGrant,
    RefreshPolicy,
    TokenManager,
    squadrun,
)
from evertoken.squadrun import Variable
from support.core_values import NOW, issued
from support.values import pickled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evertoken import BearerAuth
    from evertoken.runtime.waiters import Flow
    from evertoken.testing import TokenServer

CREDENTIALS = {
    "SQUADRUN_CLIENT_ID": "client-1",
    "SQUADRUN_CLIENT_SECRET": "planted-secret",
    "SQUADRUN_USERNAME": "agent-7",
    "SQUADRUN_PASSWORD": "planted-password",
}
ARGUMENTS = {name.removeprefix("SQUADRUN_").lower(): name for name in CREDENTIALS}
SETTINGS = ("SQUADRUN_BASE_URL", "SQUADRUN_TOKEN_DIR")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The four credentials are set, the two settings are not."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def grant_of(manager: TokenManager) -> PasswordGrant:
    assert isinstance(manager.grant, PasswordGrant)
    return manager.grant


# -- credentials -----------------------------------------------------------------------------------


def test_the_environment_is_enough() -> None:
    key = squadrun.manager().grant.key
    assert (key.client_id, key.username) == ("client-1", "agent-7")


def test_the_environment_is_read_at_each_grant(environment: pytest.MonkeyPatch) -> None:  # S10
    grant = squadrun.manager().grant
    before = grant.key, grant.credentials_tag(b"salt")
    environment.setenv("SQUADRUN_USERNAME", "agent-8")
    environment.setenv("SQUADRUN_PASSWORD", "rotated")
    assert grant.key.username == "agent-8"
    assert (grant.key, grant.credentials_tag(b"salt")) != before


def test_what_is_given_beats_the_environment() -> None:
    from_environment = squadrun.manager().grant.credentials_tag(b"salt")
    for made in (squadrun.manager, lambda **given: squadrun.auth(**given).manager):
        key = made(client_id="given-client", username=lambda: "given-agent").grant.key
        assert (key.client_id, key.username) == ("given-client", "given-agent")
        for grant in (made(password="given").grant, made(client_secret="given").grant):
            assert grant.credentials_tag(b"salt") != from_environment


def test_nothing_need_be_set_before_the_first_grant(environment: pytest.MonkeyPatch) -> None:
    for name in CREDENTIALS:
        environment.delenv(name)
    auth = squadrun.auth()
    for name, value in CREDENTIALS.items():
        environment.setenv(name, value)
    assert auth.manager.grant.key.username == "agent-7"


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_a_missing_credential_names_its_argument_and_its_variable(
    argument: str, value: str | None, environment: pytest.MonkeyPatch
) -> None:
    name = ARGUMENTS[argument]
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        # reads all four, as a grant does, and asks nobody
        squadrun.manager().grant.credentials_tag(b"salt")
    assert str(caught.value) == f"no {argument}: set {name}, or give the argument"
    assert "planted" not in repr(vars(caught.value))
    assert caught.value.__context__ is None
    # whoever sets it need not wait for the longest pause
    assert caught.value.transient


def test_all_that_is_missing_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    for name in CREDENTIALS:
        environment.delenv(name)
    auth = squadrun.auth(username="agent-7")
    with pytest.raises(ConfigurationError) as caught:
        auth.manager.token()
    assert str(caught.value) == (
        "agent-7 at https://app.squadrun.co/oauth/token/: no client_id, client_secret, password: "
        "set SQUADRUN_CLIENT_ID, SQUADRUN_CLIENT_SECRET, SQUADRUN_PASSWORD, or give the arguments"
    )
    assert isinstance(caught.value, ValueError)


def test_a_missing_setting_is_a_requests_error_when_it_leaves_requests(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.delenv("SQUADRUN_PASSWORD")
    with pytest.raises(requests.RequestException) as caught:
        requests.get(f"{squadrun.BASE_URL}/", auth=squadrun.auth(), timeout=5)
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize("argument", ["client_id", "username", "password"])
def test_an_empty_credential_is_refused_at_once(argument: str) -> None:
    with pytest.raises(ConfigurationError, match=argument):
        squadrun.manager(**{argument: ""})  # type: ignore[arg-type]  # one name of the signature


def test_all_that_is_empty_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"^username and password are empty: "):
        squadrun.manager(username="", password="")


def test_no_repr_shows_a_credential() -> None:  # S46
    auth = squadrun.auth(password="planted-password", client_secret="planted-secret")
    for each in (auth, auth.manager, auth.manager.grant, Variable("SQUADRUN_PASSWORD", "password")):
        assert "planted" not in repr(each)


# -- URLs ------------------------------------------------------------------------------------------


def urls_of(manager: TokenManager) -> tuple[str, str | None]:
    return grant_of(manager).token_url, grant_of(manager).revoke_url


@pytest.mark.parametrize(
    ("given", "variable", "base"),
    [
        (None, None, "https://app.squadrun.co"),
        (None, "", "https://app.squadrun.co"),
        (None, "https://app.squadiq.in", "https://app.squadiq.in"),
        (None, "https://app.squadiq.in/", "https://app.squadiq.in"),
        ("http://127.0.0.1:8000", "https://app.squadiq.in", "http://127.0.0.1:8000"),
        ("https://h.example:8443/tenant//", None, "https://h.example:8443/tenant"),
    ],
)
def test_the_base_url_leads_to_all_others(
    given: str | None, variable: str | None, base: str, environment: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        environment.setenv("SQUADRUN_BASE_URL", variable)
    expected = (f"{base}/oauth/token/", f"{base}/oauth/revoke_token/")
    assert urls_of(squadrun.manager(base_url=given)) == expected
    auth = squadrun.auth(base_url=given)
    assert urls_of(auth.manager) == expected
    assert auth.origins == (base.removesuffix("/tenant"),)


@pytest.mark.parametrize("base_url", ["http://app.squadrun.co", "app.squadrun.co", "ftp://h/"])
def test_an_insecure_base_url_is_refused_at_construction(base_url: str) -> None:  # S8
    with pytest.raises(InsecureURL, match=r"^base_url must be "):
        squadrun.auth(base_url=base_url)
    with pytest.raises(InsecureURL, match=r"^base_url must be "):
        squadrun.manager(base_url=base_url)


def test_an_insecure_base_url_of_the_environment_is_refused_by_the_variables_name(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("SQUADRUN_BASE_URL", "app.squadrun.co")
    with pytest.raises(InsecureURL, match=r"^SQUADRUN_BASE_URL must be "):
        squadrun.auth()


# -- what goes out, and what it is answered --------------------------------------------------------


def signed(auth: BearerAuth, url: str) -> requests.PreparedRequest:
    return requests.Request("GET", url, auth=auth).prepare()


@pytest.fixture
def with_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every manager a token without a request."""

    def header_flow(_: TokenManager) -> Flow[str]:
        yield from ()
        return f"Bearer {issued(NOW).value}"

    monkeypatch.setattr(TokenManager, "header_flow", header_flow)


@pytest.mark.usefixtures("with_token")
def test_the_token_goes_to_the_base_url_alone() -> None:  # S29
    auth = squadrun.auth()
    ours = signed(auth, "https://app.squadrun.co/api/v4/leads/create/7/")
    assert ours.headers["Authorization"] == f"Bearer {issued(NOW).value}"
    for url in ("https://app.squadrun.co.evil.example/", "https://app.squadiq.in/api/"):
        assert "Authorization" not in signed(auth, url).headers


def test_a_401_and_a_403_mean_a_dead_token() -> None:  # S33
    assert squadrun.auth().retry_statuses == (401, 403)


# -- stores and options ----------------------------------------------------------------------------


def test_memory_alone_unless_a_store_is_given() -> None:  # S43
    assert squadrun.manager().store is None


def test_a_directory_in_the_environment_is_a_file_store(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("SQUADRUN_TOKEN_DIR", str(tmp_path))
    for manager in (squadrun.manager(), squadrun.auth().manager):
        assert isinstance(manager.store, FileStore)
        assert manager.store.directory == tmp_path


class EmptyStore(MemoryStore):
    """A store that counts what it holds, and holds nothing yet."""

    def __len__(self) -> int:
        return 0


def test_a_store_that_is_given_beats_the_environment(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("SQUADRUN_TOKEN_DIR", str(tmp_path))
    store = EmptyStore()
    assert squadrun.manager(store=store).store is store
    assert squadrun.auth(store=store).manager.store is store


def test_the_options_of_the_manager_pass_through() -> None:
    policy, memory = RefreshPolicy(recheck=7), MemoryStore()
    direct = squadrun.manager(policy=policy, memory=memory, timeout=5, on_event=print)
    through = squadrun.auth(policy=policy, memory=memory, timeout=5, on_event=print).manager
    for made in (direct, through):
        assert (made.policy, made.timeout, made.on_event) == (policy, 5, print)
        assert memory in made.renewer.stores
        assert not made.keep_fresh


@pytest.mark.parametrize("make", [squadrun.auth, squadrun.manager, squadrun.httpx_auth])
def test_a_misspelt_option_is_refused(make: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="there is no option keepfresh and no option verfy"):
        make(verfy="/ca.pem", keepfresh=True, timeout=5)


# -- travelling ------------------------------------------------------------------------------------


def test_with_its_credentials_in_the_environment_it_travels(tmp_path: Path) -> None:  # F7
    store = FileStore(tmp_path)
    manager = squadrun.manager(base_url="https://h.example", store=store, timeout=5)
    travelled = pickled(manager)
    assert urls_of(travelled) == urls_of(manager)
    assert travelled.timeout == 5
    assert isinstance(travelled.store, FileStore)
    assert travelled.store.directory == tmp_path
    assert travelled.grant.key == manager.grant.key
    auth = pickled(squadrun.auth(base_url="https://h.example"))
    assert auth.origins == ("https://h.example",)
    assert auth.retry_statuses == (401, 403)


def test_a_password_as_text_does_not_travel_and_the_error_names_the_remedy() -> None:  # F7
    with pytest.raises(TypeError, match="SQUADRUN_") as caught:
        pickled(squadrun.manager(password="planted-password"))
    assert "planted" not in str(caught.value)


# -- options ---------------------------------------------------------------------------------------


def test_the_options_of_the_grant_and_of_the_manager_reach_them() -> None:
    options = {"deadline": 7.0, "client_auth": "basic-raw", "default_lifetime": 60.0}
    made = squadrun.auth(
        **options,  # type: ignore[arg-type]  # three of several types
        extra={"audience": "a"},
        headers={"X-Tenant": "t"},
        proxies={"https": "http://proxy.example"},
        verify="/ca.pem",
        cert=("a", "b"),
        transport=requests.Session,
        lifetime=60,
        max_lifetime=50,
        scope="read",
        timeout=9.0,
    ).manager
    grant = grant_of(made)

    assert made.timeout == 9.0
    assert {name: getattr(grant, name) for name in options} == options
    endpoint = grant._endpoint
    assert (endpoint.timeout, endpoint.verify, endpoint.cert) == (10.0, "/ca.pem", ("a", "b"))
    assert endpoint.proxies == (("https", "http://proxy.example"),)
    assert endpoint.transport is requests.Session
    assert (endpoint.lifetime, endpoint.max_lifetime, grant.scope) == (60, 50, "read")
    assert dict(grant.key.extra)["audience"] == "a"
    assert [name for name, _ in grant.key.extra] == ["audience", "x-tenant:"]


# -- the refresh token -----------------------------------------------------------------------------


def test_the_refresh_grant_renews_with_the_refresh_token_and_falls_back_on_the_password(
    token_server: TokenServer, tmp_path: Path
) -> None:
    manager = squadrun.auth(
        base_url=token_server.base_url,
        client_id=token_server.client_id,
        client_secret=token_server.client_secret,
        username=token_server.username,
        password=token_server.password,
        store=FileStore(tmp_path),
        memory=MemoryStore(),
        grant="refresh",
    ).manager
    manager.token()
    manager.refresh()
    token_server.revoke_all()
    manager.refresh()
    kinds = [each.form["grant_type"][0] for each in token_server.token_endpoint.requests]
    assert kinds == ["password", "refresh_token", "refresh_token", "password"]


def test_the_refresh_grant_is_of_the_same_identity_as_the_password_grant() -> None:
    refreshing = squadrun.manager(grant="refresh", store=MemoryStore())
    assert refreshing.grant.key == squadrun.manager().grant.key


def test_the_refresh_grant_needs_a_store() -> None:
    with pytest.raises(ConfigurationError, match="needs a store"):
        squadrun.manager(grant="refresh")


def test_an_unknown_grant_is_refused() -> None:
    with pytest.raises(ValueError, match='grant must be "password" or "refresh"'):
        squadrun.manager(grant="magic")  # type: ignore[arg-type]  # what is refused
