"""The sandbox answers like SquadRun's server, and starts, counts and ends as documented."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Literal, TypedDict

import pytest
import requests

from evertoken.sandbox import MissingExtra, Options, Sandbox, SandboxError, Stats, run, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CLIENT = {"client_id": "test_client_id", "client_secret": "test_client_secret"}
USER = {"username": "test_api_user", "password": "test_api_password"}
PASSWORD_GRANT = {"grant_type": "password", **CLIENT, **USER}
HOW_TO_INSTALL = r'in the clone of evertoken, run pip install -e "\.\[sandbox\]"$'
LEAD = {"lead_id": "L1", "phone_number": "+911234567890", "contact_name": "Ada"}


class Pair(TypedDict):
    access_token: str
    refresh_token: str


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with serve(fast_hashing=True) as served:
        yield served


@pytest.fixture(scope="module")
def forbidding() -> Iterator[Sandbox]:
    with serve(fast_hashing=True, auth_failure=403) as served:
        yield served


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parent of temporary directories of servers started by this test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def ask(sandbox: Sandbox, form: dict[str, str], path: str = "/oauth/token/") -> requests.Response:
    return requests.post(f"{sandbox.base_url}{path}", data=form, timeout=30, allow_redirects=False)


def granted(sandbox: Sandbox, **changes: str) -> Pair:
    response = ask(sandbox, PASSWORD_GRANT | changes)
    assert response.status_code == 200, response.text
    pair: Pair = response.json()
    return pair


def refresh(sandbox: Sandbox, pair: Pair) -> requests.Response:
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"], **CLIENT}
    return ask(sandbox, form)


def revoke(sandbox: Sandbox, form: dict[str, str]) -> requests.Response:
    return ask(sandbox, form, "/oauth/revoke_token/")


def read(
    sandbox: Sandbox, pair: Pair | None, query: str = "", campaign: str = "7"
) -> requests.Response:
    headers = {"Authorization": f"Bearer {pair['access_token']}"} if pair else {}
    url = f"{sandbox.base_url}/api/v4/leads/responses/{campaign}/{query}"
    return requests.get(url, headers=headers, timeout=30)


def send(
    sandbox: Sandbox, pair: Pair, leads: object, call: str = "create", campaign: str = "7"
) -> requests.Response:
    return requests.post(
        f"{sandbox.base_url}/api/v4/leads/{call}/{campaign}/",
        data=leads if isinstance(leads, str) else json.dumps(leads),
        headers={
            "Authorization": f"Bearer {pair['access_token']}",
            "Content-Type": "application/json",
        },
        timeout=30,
    )


def wait_until(holds: Callable[[], bool], *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def listens(base_url: str) -> bool:
    host, port = base_url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


class TestGrant:
    def test_a_valid_one_returns_five_members_and_forbids_caching(self, sandbox: Sandbox) -> None:
        response = ask(sandbox, PASSWORD_GRANT)

        answer = response.json()
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert len(answer.pop("access_token")) == 30
        assert len(answer.pop("refresh_token")) == 30
        assert answer == {"token_type": "Bearer", "expires_in": 36000, "scope": "read write"}

    @pytest.mark.parametrize(
        "wrong", [{"password": "wrong"}, {"username": "nobody"}, {"username": "nul\0"}]
    )
    def test_with_wrong_credentials_is_an_invalid_grant(
        self, sandbox: Sandbox, wrong: dict[str, str]
    ) -> None:
        response = ask(sandbox, PASSWORD_GRANT | wrong)

        assert response.status_code == 400
        assert response.json() == {
            "error": "invalid_grant",
            "error_description": "Invalid credentials given.",
        }

    @pytest.mark.parametrize("wrong", [{"client_id": "other"}, {"client_secret": "wrong"}])
    def test_of_a_wrong_client_is_401_with_a_challenge(
        self, sandbox: Sandbox, wrong: dict[str, str]
    ) -> None:
        response = ask(sandbox, PASSWORD_GRANT | wrong)

        assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_client"'

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({}, "unsupported_grant_type"),
            ({"grant_type": "magic", **CLIENT, **USER}, "unsupported_grant_type"),
            ({"grant_type": "password", **CLIENT, "password": "p"}, "invalid_request"),
            ({"grant_type": "client_credentials", **CLIENT}, "unauthorized_client"),
            (PASSWORD_GRANT | {"scope": "all"}, "invalid_scope"),
        ],
    )
    def test_that_is_malformed_is_400_with_its_code(
        self, sandbox: Sandbox, form: dict[str, str], error: str
    ) -> None:
        response = ask(sandbox, form)

        assert (response.status_code, response.json()["error"]) == (400, error)

    def test_takes_the_client_by_http_basic_too(self, sandbox: Sandbox) -> None:
        response = requests.post(
            f"{sandbox.base_url}/oauth/token/",
            data={"grant_type": "password", **USER},
            auth=("test_client_id", "test_client_secret"),
            timeout=30,
        )

        assert response.status_code == 200

    def test_with_credentials_in_the_query_is_json_labelled_as_html(
        self, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
    ) -> None:
        # urllib3 would log the query
        caplog.set_level("INFO", "urllib3")
        response = requests.post(
            f"{sandbox.base_url}/oauth/token/", params=PASSWORD_GRANT, timeout=30
        )

        assert response.status_code == 400
        assert response.headers["Content-Type"].startswith("text/html")
        assert response.json()["error"] == "invalid_request"

    def test_by_get_is_405_and_empty(self, sandbox: Sandbox) -> None:
        response = requests.get(f"{sandbox.base_url}/oauth/token/", timeout=30)

        assert (response.status_code, response.text) == (405, "")

    @pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke_token"])
    def test_without_the_trailing_slash_is_redirected(self, sandbox: Sandbox, path: str) -> None:
        response = ask(sandbox, PASSWORD_GRANT, path)

        assert (response.status_code, response.headers["Location"]) == (301, f"{path}/")

    def test_leaves_an_earlier_token_valid(self, sandbox: Sandbox) -> None:
        earlier, later = granted(sandbox), granted(sandbox)

        assert earlier["access_token"] != later["access_token"]
        assert read(sandbox, earlier).status_code == 200
        assert read(sandbox, later).status_code == 200


class TestRefresh:
    def test_gives_a_new_pair_and_kills_the_old_access_token_at_once(
        self, sandbox: Sandbox
    ) -> None:
        old = granted(sandbox)
        new: Pair = refresh(sandbox, old).json()

        assert read(sandbox, old).status_code == 401
        assert read(sandbox, new).status_code == 200

    def test_with_a_used_token_is_refused(self, sandbox: Sandbox) -> None:
        pair = granted(sandbox)
        refresh(sandbox, pair)
        again = refresh(sandbox, pair)

        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")

    def test_in_parallel_is_never_a_server_error(self, sandbox: Sandbox) -> None:
        pairs = [granted(sandbox) for _ in range(4)]

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda pair: refresh(sandbox, pair).status_code, pairs * 8))

        assert set(answers) <= {200, 400}
        assert answers.count(200) >= 4


class TestRevocation:
    @pytest.mark.parametrize("named", ["access_token", "refresh_token"])
    def test_of_either_token_kills_both_and_answers_an_empty_page(
        self, sandbox: Sandbox, named: Literal["access_token", "refresh_token"]
    ) -> None:
        pair = granted(sandbox)

        response = revoke(sandbox, CLIENT | {"token": pair[named]})

        assert (response.status_code, response.text) == (200, "")
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert read(sandbox, pair).status_code == 401
        assert refresh(sandbox, pair).json()["error"] == "invalid_grant"

    def test_of_an_unknown_token_succeeds(self, sandbox: Sandbox) -> None:
        assert revoke(sandbox, CLIENT | {"token": "unknown"}).status_code == 200

    def test_by_a_wrong_client_is_401(self, sandbox: Sandbox) -> None:
        response = revoke(sandbox, {"client_id": "other", "token": "unknown"})

        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")

    def test_of_nothing_is_400(self, sandbox: Sandbox) -> None:
        response = revoke(sandbox, CLIENT)

        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


UNKNOWN: Pair = {"access_token": "unknown", "refresh_token": "unknown"}


class TestAuthentication:
    @pytest.mark.parametrize("pair", [None, UNKNOWN])
    def test_failing_is_401_with_a_challenge(self, sandbox: Sandbox, pair: Pair | None) -> None:
        response = read(sandbox, pair)

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith('Bearer realm="api"')
        assert list(response.json()) == ["detail"]

    def test_failing_with_an_unknown_token_says_that_it_is_invalid(self, sandbox: Sandbox) -> None:
        challenge = read(sandbox, UNKNOWN).headers["WWW-Authenticate"]

        assert 'error="invalid_token"' in challenge

    @pytest.mark.parametrize("pair", [None, UNKNOWN])
    def test_failing_is_403_without_a_challenge_if_configured(
        self, forbidding: Sandbox, pair: Pair | None
    ) -> None:
        response = read(forbidding, pair)

        assert response.status_code == 403
        assert "WWW-Authenticate" not in response.headers
        assert list(response.json()) == ["detail"]

    def test_succeeds_with_403_configured_too(self, forbidding: Sandbox) -> None:
        assert read(forbidding, granted(forbidding)).status_code == 200

    def test_with_an_insufficient_scope_is_forbidden(self, sandbox: Sandbox) -> None:
        reader = granted(sandbox, scope="read")

        refused = send(sandbox, reader, [LEAD])

        assert read(sandbox, reader).status_code == 200
        assert refused.status_code == 403
        assert refused.json() == {"detail": "You do not have permission to perform this action."}

    @pytest.mark.parametrize("status", [401, 403])
    def test_ends_with_the_lifetime_and_expired_tokens_are_counted_separately(
        self, status: Literal[401, 403]
    ) -> None:
        with serve(fast_hashing=True, expires_in=1, auth_failure=status) as sandbox:
            pair = granted(sandbox)
            wait_until(lambda: read(sandbox, pair).status_code == status)
            read(sandbox, UNKNOWN)
            read(sandbox, None)
            stats = sandbox.stats()

        assert stats.api_calls[status] == 3
        assert stats.expired_tokens == 1


class TestRefreshTokens:
    @pytest.mark.parametrize("protected", [False, True])
    def test_end_the_whole_login_on_reuse_where_that_is_chosen(self, *, protected: bool) -> None:
        with serve(fast_hashing=True, refresh_rotation=protected) as sandbox:
            first = granted(sandbox)
            second: Pair = refresh(sandbox, first).json()
            assert refresh(sandbox, first).status_code == 400
            assert refresh(sandbox, second).status_code == (400 if protected else 200)

    def test_are_taken_again_within_the_grace_period(self) -> None:
        with serve(fast_hashing=True, refresh_rotation=True, grace=60) as sandbox:
            first = granted(sandbox)
            answers = [refresh(sandbox, first) for _ in range(2)]
            newest: Pair = answers[-1].json()
            assert [each.status_code for each in answers] == [200, 200]
            assert refresh(sandbox, newest).status_code == 200

    def test_never_come_to_a_service(self, sandbox: Sandbox) -> None:
        secret = {"client_id": "test_service_id", "client_secret": "test_service_secret"}
        answer = ask(sandbox, {"grant_type": "client_credentials", **secret})
        assert answer.status_code == 200
        assert "refresh_token" not in answer.json()
        assert read(sandbox, answer.json()).status_code == 200


class TestDevices:
    def test_are_connected_by_the_user_s_code(self, sandbox: Sandbox) -> None:
        client = {"client_id": "test_device_id"}
        begun = ask(sandbox, client, "/oauth/device-authorization/").json()
        poll = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": begun["device_code"],
            **client,
        }
        pending = ask(sandbox, poll)
        assert begun["verification_uri"] == f"{sandbox.base_url}/sandbox/device/"
        assert (pending.status_code, pending.json()["error"]) == (400, "authorization_pending")
        assert requests.get(begun["verification_uri_complete"], timeout=30).status_code == 200
        assert requests.get(begun["verification_uri_complete"], timeout=30).status_code == 404
        pair: Pair = ask(sandbox, poll).json()
        assert read(sandbox, pair).status_code == 200
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"], **client}
        assert ask(sandbox, form).status_code == 200


class TestLeads:
    def test_are_stored_and_read_back_with_all_their_members(self, sandbox: Sandbox) -> None:
        pair = granted(sandbox)
        lead = LEAD | {"contact_name": "Ada Lövelace", "city": "Łódź", "tags": [1, None]}

        created = send(sandbox, pair, [lead, LEAD | {"lead_id": "L2"}], campaign="stored")
        found = read(sandbox, pair, "?lead_id=L1&page_size=10", campaign="stored")

        assert created.status_code == 201
        assert found.json() == {
            "count": 1,
            "next": None,
            "previous": None,
            "results": [{**lead, "is_disabled": False}],
        }

    def test_belong_to_their_campaign(self, sandbox: Sandbox) -> None:
        pair = granted(sandbox)
        send(sandbox, pair, [LEAD], campaign="mine")

        assert read(sandbox, pair, campaign="mine").json()["count"] == 1
        assert read(sandbox, pair, campaign="theirs").json()["count"] == 0

    def test_come_in_pages(self, sandbox: Sandbox) -> None:
        pair = granted(sandbox)
        leads = [LEAD | {"lead_id": str(number)} for number in range(5)]
        send(sandbox, pair, leads, campaign="paged")

        first = read(sandbox, pair, "?page_size=2", campaign="paged").json()
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        second = requests.get(first["next"], headers=headers, timeout=30).json()

        assert first["count"] == 5
        assert [lead["lead_id"] for lead in first["results"]] == ["0", "1"]
        assert [lead["lead_id"] for lead in second["results"]] == ["2", "3"]
        assert second["previous"]

    def test_are_disabled_by_their_ids(self, sandbox: Sandbox) -> None:
        pair = granted(sandbox)
        send(sandbox, pair, [LEAD, LEAD | {"lead_id": "L2"}], campaign="disabled")

        answer = send(
            sandbox, pair, [{"lead_id": "L2"}, {"lead_id": "no"}], "disable", campaign="disabled"
        )

        leads = read(sandbox, pair, campaign="disabled").json()["results"]
        assert (answer.status_code, answer.json()) == (200, {"disabled": 1})
        assert [(lead["lead_id"], lead["is_disabled"]) for lead in leads] == [
            ("L1", False),
            ("L2", True),
        ]

    @pytest.mark.parametrize(
        "bad",
        [
            "{",
            "NaN",
            LEAD,
            [],
            [7],
            [[LEAD]],
            [{"lead_id": "L1"}],
            [LEAD | {"lead_id": ""}],
            [LEAD | {"lead_id": ["L1"]}],
            [LEAD | {"lead_id": "\ud800"}],
            [LEAD | {"contact_name": "x" * 256}],
            [LEAD | {"city": "\ud800"}],
            '[{"lead_id": "L1", "phone_number": "1", "city": 1e400}]',
            [LEAD] * 1001,
        ],
    )
    def test_that_are_invalid_are_rejected_with_a_reason_and_none_is_stored(
        self, sandbox: Sandbox, bad: object
    ) -> None:
        pair = granted(sandbox)
        before = sandbox.stats().leads

        response = send(sandbox, pair, bad)

        assert response.status_code == 400
        assert response.json()
        assert sandbox.stats().leads == before

    def test_with_one_invalid_among_them_are_not_stored(self, sandbox: Sandbox) -> None:
        pair = granted(sandbox)
        before = sandbox.stats().leads

        assert send(sandbox, pair, [LEAD, {"lead_id": "L2"}]).status_code == 400
        assert sandbox.stats().leads == before


class TestRateLimit:
    def test_rejects_api_calls_and_token_requests_beyond_it(self) -> None:
        with serve(fast_hashing=True, rate_limit=3) as sandbox:
            pair = granted(sandbox)
            allowed = [read(sandbox, pair).status_code for _ in range(2)]
            refused = [
                read(sandbox, pair),
                ask(sandbox, PASSWORD_GRANT),
                revoke(sandbox, CLIENT | {"token": pair["access_token"]}),
            ]
            stats = sandbox.stats()

        assert allowed == [200, 200]
        assert [response.status_code for response in refused] == [429] * 3
        assert all(0 < int(response.headers["Retry-After"]) <= 60 for response in refused)
        assert all("throttled" in response.json()["detail"] for response in refused)
        assert stats.api_calls == {200: 2, 429: 1}
        assert (stats.grants, stats.refused_grants) == ({"password": 1}, {"429": 1})
        assert stats.revocations == 0


class TestStats:
    def test_count_the_requests(self) -> None:
        with serve(fast_hashing=True) as sandbox:
            pair = granted(sandbox)
            ask(sandbox, PASSWORD_GRANT | {"password": "wrong"})
            ask(sandbox, PASSWORD_GRANT | {"client_id": "other"})
            requests.get(f"{sandbox.base_url}/oauth/token/", timeout=30)
            for path in ("token", "revoke_token"):
                options = requests.options(f"{sandbox.base_url}/oauth/{path}/", timeout=30)
                assert options.status_code == 200, "it is not a request for a token"
            new: Pair = refresh(sandbox, pair).json()
            send(sandbox, new, [LEAD, LEAD])
            send(sandbox, new, [])
            read(sandbox, new)
            read(sandbox, pair)
            send(sandbox, granted(sandbox, scope="read"), [LEAD])
            revoke(sandbox, CLIENT | {"token": new["access_token"]})
            revoke(sandbox, {"token": new["access_token"]})
            stats = sandbox.stats()

        assert stats.longest_grant > 0
        assert replace(stats, longest_grant=0.0) == Stats(
            grants={"password": 2, "refresh_token": 1},
            refused_grants={"invalid_grant": 1, "invalid_client": 1, "405": 1},
            revocations=1,
            api_calls={201: 1, 400: 1, 200: 1, 401: 1, 403: 1},
            expired_tokens=0,
            leads=2,
            longest_grant=0.0,
        )

    def test_lose_nothing_under_parallel_calls(self) -> None:
        with serve(fast_hashing=True) as sandbox:

            def work(_: int) -> set[int]:
                pair = granted(sandbox)
                calls = [send(sandbox, pair, [LEAD]), read(sandbox, pair), read(sandbox, None)]
                return {call.status_code for call in calls}

            with ThreadPoolExecutor(16) as pool:
                answers = set().union(*pool.map(work, range(64)))
            stats = sandbox.stats()

        assert answers == {200, 201, 401}
        assert stats.grants == {"password": 64}
        assert stats.api_calls == {201: 64, 200: 64, 401: 64}
        assert stats.leads == 64


class TestServe:
    def test_provides_the_settings_for_a_client(self, sandbox: Sandbox) -> None:
        assert sandbox.environment == {
            "SQUADRUN_BASE_URL": sandbox.base_url,
            "SQUADRUN_CLIENT_ID": "test_client_id",
            "SQUADRUN_CLIENT_SECRET": "test_client_secret",
            "SQUADRUN_USERNAME": "test_api_user",
            "SQUADRUN_PASSWORD": "test_api_password",
        }

    def test_gives_tokens_the_configured_lifetime_even_beyond_2038(self) -> None:
        century = 3_155_760_000
        with serve(fast_hashing=True, expires_in=century) as sandbox:
            answer = ask(sandbox, PASSWORD_GRANT).json()
            status = read(sandbox, answer).status_code

        assert (answer["expires_in"], status) == (century, 200)

    def test_grants_also_if_warnings_are_errors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONWARNINGS", "error")

        with serve(fast_hashing=True) as sandbox:
            assert granted(sandbox)

    def test_stops_listening_and_leaves_nothing_behind(self, temporary: Path) -> None:
        with serve(fast_hashing=True) as sandbox:
            granted(sandbox)
            during = list(temporary.iterdir())

        assert [path.name.startswith("evertoken-sandbox-") for path in during] == [True]
        assert not listens(sandbox.base_url)
        assert list(temporary.iterdir()) == []

    def test_keeps_leads_and_tokens_in_a_data_directory(self, tmp_path: Path) -> None:
        kept = tmp_path / "new" / "kept"
        with serve(fast_hashing=True, data=kept) as sandbox:
            pair = granted(sandbox)
            send(sandbox, pair, [LEAD])

        with serve(fast_hashing=False, data=kept) as again:
            found = read(again, pair)
            assert granted(again)

        assert found.json()["count"] == 1

    @pytest.mark.parametrize(("fast", "algorithm"), [(True, "md5"), (False, "pbkdf2_sha256")])
    def test_hashes_password_and_client_secret_as_django_does_or_fast(
        self, tmp_path: Path, algorithm: str, *, fast: bool
    ) -> None:
        with serve(fast_hashing=fast, data=tmp_path):
            pass

        with closing(sqlite3.connect(tmp_path / "sandbox.sqlite3")) as database:
            hashes = database.execute(
                "SELECT password FROM auth_user"
                " UNION ALL SELECT client_secret FROM oauth2_provider_application"
            ).fetchall()
        # those of the user, the client and the service; a device has none
        used = [encoded.partition("$")[0] for (encoded,) in hashes if encoded]
        assert used == [algorithm] * 3

    def test_ends_a_server_that_hangs(
        self, temporary: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("evertoken.sandbox.process._ENDED_WITHIN", 0.1)

        with serve(fast_hashing=True) as sandbox:
            os.kill(sandbox.pid, signal.SIGSTOP)

        assert not listens(sandbox.base_url)
        assert len(list(temporary.iterdir())) == 1  # a killed server cannot delete its directory

    def test_of_a_taken_port_names_the_port(self, sandbox: Sandbox) -> None:
        port = int(sandbox.base_url.rpartition(":")[2])

        with (
            pytest.raises(SandboxError, match=rf"^cannot listen on port {port} of 127\.0\.0\.1 "),
            serve(port=port),
        ):
            pytest.fail("two servers on one port")

    @pytest.mark.parametrize("content", [b"no database" * 100, None])
    def test_of_an_unusable_directory_names_it(self, tmp_path: Path, content: bytes | None) -> None:
        unusable = tmp_path / "data"
        if content is None:
            unusable.write_bytes(b"a file")
        else:
            unusable.mkdir()
            (unusable / "sandbox.sqlite3").write_bytes(content)

        with (
            pytest.raises(SandboxError, match=rf"^{unusable}.* cannot be used"),
            serve(fast_hashing=True, data=unusable),
        ):
            pytest.fail("served from no database")

    def test_on_an_unknown_host_names_it(self) -> None:
        with (
            pytest.raises(SandboxError, match=r"^cannot listen on port 0 of no\.such\.invalid \("),
            serve(host="no.such.invalid"),
        ):
            pytest.fail("served where nobody is")

    def test_without_the_extra_says_how_to_install_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "waitress", None)

        with pytest.raises(MissingExtra, match=HOW_TO_INSTALL), serve():
            pytest.fail("served by nothing")
        with pytest.raises(MissingExtra, match=HOW_TO_INSTALL):
            run(Options())

    @pytest.mark.parametrize(
        "wrong",
        [
            {"port": -1},
            {"port": 65536},
            {"expires_in": 0},
            {"expires_in": 3_155_760_001},
            {"auth_failure": 404},
            {"rate_limit": 0},
        ],
    )
    def test_rejects_an_option_out_of_range_by_name(self, wrong: dict[str, int]) -> None:
        [name] = wrong

        with pytest.raises(ValueError, match=rf"^{name} is .*, not {wrong[name]}$"):
            Options(**wrong)  # type: ignore[arg-type] # a wrong type is what is tested

    def test_and_the_import_load_no_django(self) -> None:
        program = (
            "import sys, evertoken.sandbox as s\n"
            "with s.serve(fast_hashing=True) as b: b.stats()\n"
            "print([m for m in ('django', 'rest_framework', 'waitress') if m in sys.modules])"
        )

        done = subprocess.run(  # noqa: S603 - this interpreter
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
        )

        assert done.stdout == "[]\n"


@contextmanager
def own_process(**chosen: object) -> Iterator[subprocess.Popen[str]]:
    """A sandbox in its own process, ready to serve, with open streams."""
    with subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-m", "evertoken.sandbox", json.dumps({"fast_hashing": True, **chosen})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def settings_of(process: subprocess.Popen[str]) -> dict[str, str]:
    lines = [stream_of(process.stdout).readline().rstrip() for _ in range(5)]
    return dict(line.split("=", 1) for line in lines)


def stream_of(stream: IO[str] | None) -> IO[str]:
    assert stream
    return stream


class TestProcess:
    def test_prints_its_settings_when_it_is_ready_and_nothing_else(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
        with own_process() as process:
            settings = settings_of(process)
            sandbox = Sandbox(settings["SQUADRUN_BASE_URL"], process.pid)
            pair = granted(sandbox)
            statuses = [
                read(sandbox, pair).status_code,
                read(sandbox, UNKNOWN).status_code,
                send(sandbox, pair, "{").status_code,
                ask(sandbox, PASSWORD_GRANT, "/nowhere/").status_code,
            ]
            process.terminate()
            printed, noise = process.communicate(timeout=30)

        assert settings == sandbox.environment
        assert statuses == [200, 401, 400, 404]
        assert (printed, noise) == ("", "")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_ends_cleanly_by_a_signal(self, temporary: Path, number: signal.Signals) -> None:
        with own_process() as process:
            granted(Sandbox(settings_of(process)["SQUADRUN_BASE_URL"], process.pid))
            process.send_signal(number)
            _, noise = process.communicate(timeout=30)

        assert (process.returncode, noise) == (0, "")
        assert list(temporary.iterdir()) == []

    def test_ends_cleanly_by_a_signal_before_it_is_ready(self, temporary: Path) -> None:
        with own_process(fast_hashing=False) as process:
            wait_until(lambda: any(temporary.rglob("sandbox.sqlite3")))
            process.terminate()
            _, noise = process.communicate(timeout=30)

        assert (process.returncode, noise) == (0, "")
        assert list(temporary.iterdir()) == []

    def test_ends_when_its_parent_is_killed(self, temporary: Path) -> None:
        program = (
            "from evertoken.sandbox import serve\n"
            "with serve(fast_hashing=True) as sandbox:\n"
            "    print(sandbox.base_url, flush=True)\n"
            "    input()"
        )
        with subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as parent:
            base_url = stream_of(parent.stdout).readline().strip()
            listening = listens(base_url)
            parent.kill()

        assert listening
        wait_until(lambda: not listens(base_url))
        wait_until(lambda: list(temporary.iterdir()) == [])

    def test_outlives_a_ctrl_c_that_its_parent_is_still_handling(self) -> None:
        program = (
            "import time\n"
            "from evertoken.sandbox import serve\n"
            "with serve(fast_hashing=True) as sandbox:\n"
            "    try:\n"
            "        print('ready', flush=True)\n"
            # a signal that arrives just before a sleep is handled at its end
            "        for _ in range(600): time.sleep(0.1)\n"
            "    except KeyboardInterrupt:\n"
            "        print(sandbox.stats().leads)"
        )
        with subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # in its own process group, like a terminal's job
        ) as parent:
            stream_of(parent.stdout).readline()
            os.killpg(parent.pid, signal.SIGINT)
            said, _ = parent.communicate(timeout=30)

        assert said == "0\n"

    def test_logs_requests_if_configured_but_never_their_query(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        # urllib3 would log it
        caplog.set_level("INFO", "urllib3")
        with own_process(verbose=True) as process:
            url = settings_of(process)["SQUADRUN_BASE_URL"]
            requests.post(f"{url}/oauth/token/", params=PASSWORD_GRANT, timeout=30)
            process.terminate()
            _, logged = process.communicate(timeout=30)

        assert "POST /oauth/token/ 400" in logged
        assert "test_client_secret" not in logged
        assert "test_api_password" not in logged
