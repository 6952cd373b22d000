"""Authlib's authorization server on loopback: the password grant, and revocation."""

from __future__ import annotations

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    OAuth2Request,
    ResourceOwnerPasswordCredentialsGrant,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

USERNAME, PASSWORD = "ann", "pässword&+ of ann"
METHODS = ("client_secret_basic", "client_secret_post")


class Client(ClientMixin):  # type: ignore[misc]  # Authlib has no types
    """A client that authenticates by one method."""

    def __init__(self, client_id: str, secret: str, method: str) -> None:
        self.client_id, self.secret, self.method = client_id, secret, method

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_client_secret(self, secret: str) -> bool:
        return secret == self.secret

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == self.method

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "password"


class Issued:
    """A token as it was issued."""

    def __init__(self, client: Client) -> None:
        self.client, self.revoked = client, False

    def check_client(self, client: Client) -> bool:
        return client is self.client


class _Request(OAuth2Request):  # type: ignore[misc]  # likewise
    def __init__(self, path: str, headers: Mapping[str, str], form: dict[str, str]) -> None:
        super().__init__("POST", f"http://127.0.0.1{path}", headers=headers)
        self.payload, self._form = BasicOAuth2Payload(form), form

    @property
    def form(self) -> dict[str, str]:
        return self._form


class _Password(ResourceOwnerPasswordCredentialsGrant):  # type: ignore[misc]  # likewise
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def authenticate_user(self, username: str, password: str) -> object:
        return "ann" if (username, password) == (USERNAME, PASSWORD) else None


class _Server(AuthorizationServer):  # type: ignore[misc]  # likewise
    def __init__(self, clients: Mapping[str, Client], issued: dict[str, Issued]) -> None:
        super().__init__()
        self._clients, self._issued = clients, issued
        self.register_token_generator("default", BearerTokenGenerator(_value, _value))
        self.register_grant(_Password)
        self.register_endpoint(_revocation(self, issued))

    def query_client(self, client_id: str) -> Client | None:
        return self._clients.get(client_id)

    def save_token(self, token: dict[str, str], request: Any) -> None:
        for name in ("access_token", "refresh_token"):
            self._issued[token[name]] = Issued(request.client)

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_response(self, *answer: Any) -> tuple[Any, ...]:
        return answer

    def send_signal(self, *_: object, **__: object) -> None:
        """Ignore the signal."""


def _revocation(server: _Server, issued: dict[str, Issued]) -> object:
    class Revocation(RevocationEndpoint):  # type: ignore[misc]  # likewise
        CLIENT_AUTH_METHODS = METHODS

        def query_token(self, token: str, _hint: str) -> Issued | None:
            return issued.get(token)

        def revoke_token(self, token: Issued, _request: object) -> None:
            token.revoked = True

    return Revocation(server)


def _value(**_: object) -> str:
    return secrets.token_urlsafe(24)


class AuthlibServer(ThreadingHTTPServer):
    """Serves `/token` and `/revoke` with Authlib.

    Attributes:
        issued: by the value of the token.
    """

    daemon_threads = True

    def __init__(self, *clients: Client) -> None:
        self.issued: dict[str, Issued] = {}
        self.server = _Server({each.client_id: each for each in clients}, self.issued)
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: AuthlibServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        request = _Request(
            self.path, dict(self.headers), dict(parse_qsl(body, keep_blank_values=True))
        )
        server = self.server.server
        status, document, headers = (
            server.create_token_response(request)
            if self.path == "/token"
            else server.create_endpoint_response("revocation", request)
        )
        content = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        """Log nothing."""
