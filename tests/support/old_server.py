"""A site with an old Django OAuth Toolkit, run by the Python of a virtual environment.

It prints its port, then a line per request with its path.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment


class Quiet(WSGIRequestHandler):
    """Logs nothing. The default would log after the answer, when the client may already count."""

    def log_message(self, *_: object) -> None:
        pass


def configure(database: str, expires_in: int) -> None:
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
        # redirects to the URL with its trailing slash
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        OAUTH2_PROVIDER={"ACCESS_TOKEN_EXPIRE_SECONDS": expires_in},
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF="old_urls",
        SECRET_KEY="of-a-test",
        USE_TZ=True,
    )
    django.setup()


def create_account(client_id: str, client_secret: str, username: str, password: str) -> None:
    apps.get_model("auth", "User").objects.create_user(username, password=password)
    apps.get_model("oauth2_provider", "Application").objects.create(
        client_id=client_id,
        client_secret=client_secret,
        client_type="confidential",
        authorization_grant_type="password",
    )


def main(database: str, expires_in: str, *account: str) -> None:
    configure(database, int(expires_in))
    call_command("migrate", verbosity=0)
    create_account(*account)
    site = get_wsgi_application()

    def told(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        print(environ["REQUEST_METHOD"], environ["PATH_INFO"], flush=True)  # noqa: T201
        return site(environ, start_response)

    with make_server("127.0.0.1", 0, told, handler_class=Quiet) as server:
        print(server.server_port, flush=True)  # noqa: T201  told to who started it
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
