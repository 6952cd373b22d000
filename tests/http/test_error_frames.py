"""No frame of a raised error shows a secret, since error reporters send local variables (S46)."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from evertoken import (
    BearerAuth,
    FileStore,
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    PasswordGrant,
    RevocationFailed,
    TokenError,
    squadrun,
)
from evertoken.stores.redis import RedisStore
from evertoken.testing import Answer, Behaviour, Hang, Reset
from support.http_clients import grant_of, manager_of
from support.http_proxy import Proxy
from support.planted import ACCESS_TOKEN, CLIENT_SECRET, GRANTED, PASSWORD
from support.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from evertoken.testing import TokenServer

PROXY_PASSWORD = "planted-proxy-password"
REDIS_PASSWORD = "planted-redis-secret"
API_KEY = "planted-api-key-of-a-header"
ENCRYPTION_KEY = "planted-key-that-is-none-of-Fernets"

PLANTED = Scanner(
    **GRANTED,
    api_key=API_KEY,
    proxy_password=PROXY_PASSWORD,
    redis_password=REDIS_PASSWORD,
    # a part of the above, left when a URL is split at the wrong place
    redis_part="planted-redis",
    encryption_key=ENCRYPTION_KEY,
)

PROXIES = {"https": f"http://user:{PROXY_PASSWORD}@proxy.test:3128"}


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    if error is not None:
        yield error
        yield from chain_of(error.__cause__)
        yield from chain_of(error.__context__)


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """The frames of `error`, its causes and contexts, except the test's own."""
    for each in chain_of(error):
        entry = each.__traceback__
        while entry is not None:
            if entry.tb_frame.f_code.co_filename != __file__:
                yield entry.tb_frame
            entry = entry.tb_next


def shown_by(error: BaseException) -> list[str]:
    """The secrets shown by the error or by local variables of its frames, and where."""
    found = [f"the error: {secret}" for secret in PLANTED.found_on(error)]
    for frame in frames_of(error):
        for name, value in frame.f_locals.items():
            said = f"{value} {value!r}"
            where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}: {name}"
            found += [f"{where}: {secret}" for secret in PLANTED.found_in(said)]
    return found


def raised_by(call: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011  each test says which
        call()
    return caught.value


def password_grant(token_url: str = "https://api.test/token/", **changes: Any) -> PasswordGrant:
    options: dict[str, Any] = {
        "client_id": "id",
        "client_secret": CLIENT_SECRET,
        "username": "user",
        "password": PASSWORD,
        "proxies": PROXIES,
        "headers": {"X-Api-Key": API_KEY},
        **changes,
    }
    return PasswordGrant(token_url, **options)


@pytest.mark.parametrize(
    "changes",
    [
        {"token_url": f"https://user:{PASSWORD}@api.test/token/"},
        {"token_url": f"https://api.test:{PASSWORD}/token/"},
        {"token_url": f"http://api.test/?{PASSWORD}"},
        {"revoke_url": f"https://user:{PASSWORD}@api.test/revoke/"},
        {"client_id": ""},
        {"password": PASSWORD.encode()},
        {"client_secret": [CLIENT_SECRET]},
        {"scope": 'a "scope"'},
        {"client_auth": "digest"},
        {"timeout": -1},
        {"default_lifetime": 0},
        {"proxies": 42},
        {"no_such_option": 1},
        {"headers": {"X-Api-Key": f"{API_KEY}\n"}},
        {"headers": {"X-Api-Key": API_KEY.encode()}},
        {"headers": {"Authorization": API_KEY}},
        {"extra": {"otp": API_KEY.encode()}},
        {"extra": {"password": API_KEY}},
        {"transport": API_KEY},
    ],
    ids=[
        *("login", "port", "plain", "revoke_url", "client_id", "password", "client_secret"),
        *("scope", "client_auth", "timeout", "default_lifetime", "proxies", "no_such_option"),
        *("header's value", "header's type", "header's name", "extra's type", "extra's name"),
        "transport",
    ],
)
def test_of_a_grant_that_cannot_be_made(changes: dict[str, Any]) -> None:
    error = raised_by(partial(password_grant, **changes))

    assert isinstance(error, ValueError | TypeError | AttributeError)
    assert shown_by(error) == []


@pytest.mark.parametrize("make", [squadrun.auth, squadrun.manager])
@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": f"https://user:{PASSWORD}@api.test"},
        {"password": PASSWORD.encode()},
        {"timeout": -1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_of_a_preset_that_cannot_be_made(
    make: Callable[..., object], changes: dict[str, Any]
) -> None:
    given = {"client_id": "id", "client_secret": CLIENT_SECRET, "username": "user"}
    error = raised_by(partial(make, **{**given, "password": PASSWORD, **changes}))

    assert isinstance(error, ValueError | TypeError)
    assert shown_by(error) == []


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{REDIS_PASSWORD}@redis.test:port/0",
        f"redis://:{REDIS_PASSWORD}/1@redis.test:6379/0",
        f"redis://:{REDIS_PASSWORD}#1@redis.test:6379/0",
        f"redis://:{REDIS_PASSWORD}?1@redis.test:6379/0",
        f"redis://:4711/{REDIS_PASSWORD}@redis.test:6379/0",
        f"redis://:4711#{REDIS_PASSWORD}@redis.test:6379/0",
        f"redis://:4711?{REDIS_PASSWORD}@redis.test:6379/0",
        f"redis://:{REDIS_PASSWORD}[@redis.test:6379/0",
        f"redis://:{REDIS_PASSWORD}\N{ACCOUNT OF}@redis.test:6379/0",
        f"redis://redis.test?password={REDIS_PASSWORD}&db=first",
        f"redis://redis.test?password={REDIS_PASSWORD}&socket_timeout=short",
        f"http://:{REDIS_PASSWORD}@redis.test",
        f":{REDIS_PASSWORD}@redis.test",
    ],
    ids=[
        *("port", "slash", "number sign", "question mark", "digits and a slash"),
        *("digits and a number sign", "digits and a question mark", "bracket"),
        *("sign that decomposes", "db", "timeout", "scheme", "no scheme"),
    ],
)
def test_of_an_invalid_redis_url(url: str) -> None:
    error = raised_by(partial(RedisStore, url))

    assert isinstance(error, ValueError)
    assert shown_by(error) == []


@pytest.mark.parametrize(
    "options",
    [{"encryption_key": ENCRYPTION_KEY}, {"lease": 0}, {"prefix": "{}"}],
    ids=lambda options: next(iter(options)),
)
def test_of_a_redis_store_that_cannot_be_made(options: dict[str, Any]) -> None:
    url = f"redis://:{REDIS_PASSWORD}@redis.test"
    error = raised_by(partial(RedisStore, url, **options))

    assert isinstance(error, ValueError)
    assert shown_by(error) == []


def test_of_a_file_store_that_cannot_be_made(tmp_path: Path) -> None:
    error = raised_by(partial(FileStore, tmp_path, encryption_key=ENCRYPTION_KEY))

    assert isinstance(error, ValueError)
    assert shown_by(error) == []


def test_of_an_origin_with_a_login(token_server: TokenServer) -> None:
    origins = [f"https://user:{PASSWORD}@api.test"]
    error = raised_by(partial(BearerAuth, manager_of(token_server), origins=origins))

    assert isinstance(error, ValueError)
    assert shown_by(error) == []


@pytest.mark.parametrize(
    "thing",
    [
        password_grant(),
        password_grant(password=str, client_secret=None, headers=None),
        password_grant(password=str, client_secret=None, proxies=None),
        RedisStore(f"redis://:{REDIS_PASSWORD}@redis.test"),
        RedisStore(f"redis://redis.test?password={REDIS_PASSWORD}"),
        RedisStore(f"redis://redis.test?p%61ssword={REDIS_PASSWORD}"),
    ],
    ids=[
        "literals",
        "a proxy's login",
        "a header",
        "a login",
        "a parameter",
        "an encoded parameter",
    ],
)
def test_of_an_object_that_does_not_pickle(thing: object) -> None:
    error = raised_by(partial(pickle.dumps, thing))

    assert isinstance(error, TypeError)
    assert shown_by(error) == []


def session_with(api_key: str) -> requests.Session:
    session = requests.Session()
    session.headers["X-Api-Key"] = api_key
    return session


@pytest.mark.parametrize(
    "make",
    [
        password_grant,
        lambda: password_grant().read(),
        lambda: password_grant()._endpoint,
        lambda: password_grant()._endpoint._reach,
        lambda: password_grant(transport=partial(session_with, API_KEY))._endpoint,
        lambda: password_grant(transport=partial(session_with, API_KEY))._endpoint._reach,
        lambda: RedisStore(f"redis://:{REDIS_PASSWORD}@redis.test"),
        lambda: RedisStore(f"redis://redis.test?password={REDIS_PASSWORD}"),
        lambda: squadrun.manager(client_secret=CLIENT_SECRET, password=PASSWORD),
        lambda: squadrun.auth(client_secret=CLIENT_SECRET, password=PASSWORD),
    ],
    ids=[
        *("grant", "credentials", "endpoint", "reach", "transport", "reach with transport"),
        *("store", "parameter", "manager", "auth"),
    ],
)
def test_of_a_repr(make: Callable[[], object]) -> None:
    made = make()

    assert PLANTED.found_in(str(made), repr(made)) == []


def failing_callable() -> str:
    raise ValueError(PASSWORD)


ASKS: dict[str, Callable[[PasswordGrant, TokenServer], object]] = {
    "grant.request": lambda grant, _: grant.request(),
    "manager.token": lambda grant, server: manager_of(server, grant=grant).token(),
    "manager.header": lambda grant, server: manager_of(server, grant=grant).header(),
    "manager.refresh": lambda grant, server: manager_of(server, grant=grant).refresh(),
    "manager.replacement": lambda grant, server: manager_of(server, grant=grant).replacement(
        f"Bearer {ACCESS_TOKEN}"
    ),
    "requests": lambda grant, server: requests.get(
        server.api_url,
        auth=BearerAuth(manager_of(server, grant=grant), origins=[server.base_url]),
        timeout=5,
    ),
}

every_ask = pytest.mark.parametrize("ask", ASKS)


@every_ask
@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (
            Answer.json({"error": "invalid_grant", "error_description": PASSWORD}, status=400),
            GrantRefused,
        ),
        (Answer(503), GrantUnavailable),
        (Answer(200, body=b"<html>hello</html>"), InvalidTokenResponse),
        (Answer(302, headers={"Location": f"https://api.test/?{PASSWORD}"}), InvalidTokenResponse),
        (Answer.json({"access_token": f"{ACCESS_TOKEN}\n"}), InvalidTokenResponse),
        (Answer(200, body=b"x" * (1 << 21)), InvalidTokenResponse),
        (Answer(200, headers={"Content-Encoding": "gzip"}, body=b"plain"), InvalidTokenResponse),
        (Reset(), GrantUnavailable),
        (Hang(), GrantUnavailable),
    ],
    ids=[
        *("refused", "down", "garbage", "redirect", "no token", "too large", "unsound"),
        *("reset", "silent"),
    ],
)
def test_of_an_answer_without_a_token(
    ask: str, behaviour: Behaviour, kind: type[TokenError], token_server: TokenServer
) -> None:
    token_server.client_secret, token_server.password = CLIENT_SECRET, PASSWORD
    token_server.token_endpoint.answer_always(behaviour)
    grant = grant_of(token_server, deadline=0.5)

    error = raised_by(partial(ASKS[ask], grant, token_server))

    assert isinstance(error, kind)
    assert shown_by(error) == []


@every_ask
@pytest.mark.parametrize(
    "changes",
    [
        {"password": failing_callable},
        {"password": PASSWORD.encode},
        {"password": f"{PASSWORD}\udce9"},
        {"token_url": "https://127.0.0.1:1/token/"},
        {"token_url": "https://127.0.0.1:1/token/", "verify": "/no/such/bundle.pem"},
        {"token_url": "https://no-such-host.test/token/", "proxies": PROXIES},
        {
            "token_url": "https://no-such-host.test/token/",
            "proxies": {"https": f"http://user:{PROXY_PASSWORD}@proxy.test:port"},
        },
        {"headers": {"X-Api-Key": f"{API_KEY}\n".format}},
        {"headers": {"X-Api-Key": API_KEY.encode}},
        {"extra": {"otp": failing_callable}},
        {"transport": failing_callable},
        {"transport": API_KEY.format},
    ],
    ids=[
        *("raises", "no text", "no Unicode", "refused connection", "no bundle", "no proxy"),
        *("no proxy's URL", "header's value", "header's type", "extra raises"),
        *("transport raises", "transport's type"),
    ],
)
def test_of_a_request_that_cannot_be_sent(
    ask: str, changes: dict[str, Any], token_server: TokenServer
) -> None:
    given = {"client_secret": CLIENT_SECRET, "password": PASSWORD, **changes}
    grant = grant_of(token_server, **given)

    error = raised_by(partial(ASKS[ask], grant, token_server))

    assert isinstance(error, GrantUnavailable)
    assert shown_by(error) == []


@pytest.mark.parametrize("value", [f"{API_KEY}\n", 42], ids=["value", "type"])
def test_of_an_identity_that_cannot_be_read(value: object) -> None:
    def api_key() -> str:
        return value  # type: ignore[return-value]  # as a user's may do

    grant = password_grant(headers={"X-Api-Key": API_KEY.format, "X-Tenant": api_key})

    error = raised_by(lambda: grant.key)

    assert isinstance(error, GrantUnavailable)
    assert shown_by(error) == []


def test_of_a_proxy_that_wants_another_login(token_server: TokenServer) -> None:
    with Proxy(status=407) as proxy:
        url = proxy.url.replace("://", f"://user:{PROXY_PASSWORD}@")
        grant = password_grant("https://api.test/token/", proxies={"https": url})
        errors = [
            raised_by(grant.request),
            raised_by(manager_of(token_server, grant=grant).token),
        ]

    assert all("407" in str(error) for error in errors)
    assert [shown_by(error) for error in errors] == [[], []]


@pytest.mark.parametrize("status", [400, 503])
def test_of_a_revocation_that_is_not_confirmed(status: int, token_server: TokenServer) -> None:
    token_server.client_secret, token_server.password = CLIENT_SECRET, PASSWORD
    granted = Answer.json({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 60})
    token_server.token_endpoint.answer_next(granted)
    token_server.revocation_endpoint.answer_always(Answer(status))
    manager = manager_of(token_server)
    token = manager.token()

    errors = [
        raised_by(partial(manager.grant.revoke, token)),
        raised_by(manager.revoke),
    ]

    assert all(isinstance(error, RevocationFailed) for error in errors)
    assert [shown_by(error) for error in errors] == [[], []]
