"""The main use cases on Django OAuth Toolkit: processes and threads that share a token."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import pytest
import requests

from evertoken import (
    FileStore,
    GrantRefused,
    GrantUnavailable,
    MemoryStore,
    RefreshPolicy,
    squadrun,
)
from evertoken.sandbox import Sandbox, serve
from support.callers import Job, callers
from support.fleet import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken import BearerAuth, Token, TokenManager

pytestmark = pytest.mark.slow

LEAD = {"lead_id": "L1", "phone_number": "+911234567890", "contact_name": "Ada Lövelace"}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def sign_in(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point this process and its children at the sandbox."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)


def auth_of_its_own(
    *, client_secret: str | None = None, store: FileStore | None = None
) -> BearerAuth:
    """`auth=` as in another process: it shares a token only through `store`."""
    return squadrun.auth(client_secret=client_secret, store=store, memory=MemoryStore())


def read(sandbox: Sandbox, auth: BearerAuth | None = None, token: Token | None = None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token.value}"}
    url = f"{sandbox.base_url}/api/v4/leads/responses/7/"
    return requests.get(url, auth=auth, headers=headers, timeout=30).status_code


def end_behind_its_back(sandbox: Sandbox, token: Token) -> None:
    """Revoke `token` at the server without the managers' knowledge."""
    account = sandbox.environment
    form = {
        "client_id": account["SQUADRUN_CLIENT_ID"],
        "client_secret": account["SQUADRUN_CLIENT_SECRET"],
        "token": token.value,
    }
    url = f"{sandbox.base_url}/oauth/revoke_token/"
    assert requests.post(url, data=form, timeout=30).status_code == 200


def refusal_of(manager: TokenManager) -> GrantRefused:
    with pytest.raises(GrantRefused) as raised:
        manager.token()
    return raised.value


def signed_until_a_renewal_failed(auth: BearerAuth) -> set[str]:
    """The headers of the requests that were authorized until then."""
    headers: set[str] = set()

    def failed() -> bool:
        [url] = auth.origins
        request = requests.Request("GET", f"{url}/api/", auth=auth).prepare()
        headers.add(str(request.headers["Authorization"]))
        return auth.manager.status().last_error is not None

    eventually(failed)
    return headers


class TestAcrossLifetimes:
    def test_processes_and_threads_share_one_grant_a_lifetime_and_no_call_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expires_in = 3
        with serve(expires_in=expires_in, fast_hashing=True) as sandbox:
            sign_in(sandbox, monkeypatch)
            job = Job(base_url=sandbox.base_url, directory=str(tmp_path), threads=3)
            begun = time.monotonic()
            with callers(job, processes=3) as fleet:
                eventually(lambda: sandbox.stats().grants.get("password", 0) >= 4, within=40)
                calls = fleet.told_to_stop()
            # renewed after 11/16 of its lifetime at the earliest: a quarter early, plus jitter
            lifetimes = math.ceil((time.monotonic() - begun) / (expires_in * 11 / 16))
            stats = sandbox.stats()

        assert {(call.status, call.failure) for call in calls} == {(201, None)}
        # the fourth may have been granted while they stopped
        assert len({call.authorization for call in calls}) >= 3
        assert stats.api_calls == {201: len(calls)}
        assert stats.leads == len(calls)
        assert stats.expired_tokens == 0
        assert stats.grants.keys() == {"password"}
        assert stats.grants["password"] <= lifetimes + 1


class TestDeadToken:
    @pytest.mark.parametrize("status", [401, 403])
    def test_is_renewed_and_the_request_replayed_once(  # S31, S33
        self, status: Literal[401, 403], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serve(fast_hashing=True, auth_failure=status) as sandbox:
            sign_in(sandbox, monkeypatch)
            auth = auth_of_its_own()
            end_behind_its_back(sandbox, auth.manager.token())
            url = f"{sandbox.base_url}/api/v4/leads/create/7/"
            response = requests.post(url, json=[LEAD], auth=auth, timeout=30)
            stats = sandbox.stats()

        assert (response.status_code, response.json()[0]["contact_name"]) == (201, "Ada Lövelace")
        assert [answer.status_code for answer in response.history] == [status]
        assert stats.api_calls == {status: 1, 201: 1}
        assert stats.grants == {"password": 2}

    def test_once_revoked_is_rejected_and_sent_by_no_sibling_later_than_recheck(  # S41
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serve(fast_hashing=True) as sandbox:
            sign_in(sandbox, monkeypatch)
            auth = auth_of_its_own(store=FileStore(tmp_path))
            token = auth.manager.token()
            # without a replay only the store can inform the siblings
            job = Job(base_url=sandbox.base_url, directory=str(tmp_path), threads=2, replays=False)
            with callers(job, processes=2) as fleet:
                eventually(lambda: sandbox.stats().api_calls.get(201, 0) >= 8)
                auth.manager.revoke()
                revoked = time.time()
                dead_at_once = read(sandbox, token=token)
                noticed_by = revoked + RefreshPolicy().recheck
                eventually(lambda: time.time() > noticed_by)
                before = sandbox.stats().api_calls.get(201, 0)
                eventually(lambda: sandbox.stats().api_calls.get(201, 0) >= before + 8)
                calls = fleet.told_to_stop()
            stats = sandbox.stats()

        assert dead_at_once == 401
        sent = [call for call in calls if call.authorization == f"Bearer {token.value}"]
        assert any(call.status == 201 for call in sent)
        assert max(call.begun for call in sent) <= noticed_by
        assert {call.status for call in calls if call.begun > noticed_by} == {201}
        assert stats.grants == {"password": 2}


class TestRefusedCredentials:
    def test_are_tried_once_by_all_processes_and_lifted_by_the_right_ones(  # S48, F25
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serve(fast_hashing=True) as sandbox:
            sign_in(sandbox, monkeypatch)
            monkeypatch.setenv("SQUADRUN_PASSWORD", "wrong")
            job = Job(base_url=sandbox.base_url, directory=str(tmp_path), threads=4, limit=20)
            with callers(job, processes=2) as fleet:
                calls = fleet.done()
            refused = sandbox.stats()
            monkeypatch.setenv("SQUADRUN_PASSWORD", sandbox.environment["SQUADRUN_PASSWORD"])
            status = read(sandbox, auth_of_its_own(store=FileStore(tmp_path)))

        assert len(calls) == 2 * 4 * 20
        assert {call.failure for call in calls} == {("GrantRefused", "invalid_grant", 400)}
        assert refused.refused_grants == {"invalid_grant": 1}
        assert refused.api_calls == {}
        assert status == 200

    def test_of_a_client_have_their_own_error(self, monkeypatch: pytest.MonkeyPatch) -> None:  # S24
        with serve(fast_hashing=True) as sandbox:
            sign_in(sandbox, monkeypatch)
            manager = auth_of_its_own(client_secret="wrong").manager
            errors = [refusal_of(manager) for _ in range(3)]
            stats = sandbox.stats()

        assert [(error.error, error.status) for error in errors] == [("invalid_client", 401)] * 3
        assert stats.refused_grants == {"invalid_client": 1}


class TestRateLimit:
    def test_names_the_seconds_to_wait_and_is_not_a_refusal(  # F20
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serve(fast_hashing=True, rate_limit=1) as sandbox:
            sign_in(sandbox, monkeypatch)
            auth_of_its_own().manager.token()
            with pytest.raises(GrantUnavailable) as raised:
                auth_of_its_own().manager.token()
            stats = sandbox.stats()

        assert raised.value.status == 429
        assert raised.value.transient
        assert raised.value.retry_after is not None
        assert 0 < raised.value.retry_after <= 60
        assert stats.refused_grants == {"429": 1}


class TestOutage:
    def test_fails_no_call_while_a_token_is_usable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serve(expires_in=4, fast_hashing=True, data=tmp_path) as sandbox:
            sign_in(sandbox, monkeypatch)
            auth = auth_of_its_own()
            token = auth.manager.token()
            port = int(sandbox.base_url.rpartition(":")[2])
        # the server is down: the renewal that is due now fails, and each request still gets a token
        with ThreadPoolExecutor(4) as threads:
            signed = [threads.submit(signed_until_a_renewal_failed, auth) for _ in range(4)]
            headers = {header for each in signed for header in each.result(60)}
        error = auth.manager.status().last_error
        with serve(expires_in=4, fast_hashing=True, data=tmp_path, port=port) as sandbox:
            status = read(sandbox, auth)
            stats = sandbox.stats()

        assert headers == {f"Bearer {token.value}"}
        assert isinstance(error, GrantUnavailable)
        assert status == 200
        assert stats.api_calls == {200: 1}
