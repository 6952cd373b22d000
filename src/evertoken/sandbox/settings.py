"""The Django settings of a sandbox with the given options."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from evertoken.sandbox.options import Options

_PBKDF2: Final = "django.contrib.auth.hashers.PBKDF2PasswordHasher"
_MD5: Final = "django.contrib.auth.hashers.MD5PasswordHasher"
_SESSION: Final = "rest_framework.authentication.SessionAuthentication"
_BEARER: Final = "oauth2_provider.contrib.rest_framework.OAuth2Authentication"


def django_settings(options: Options, database: Path, base_url: str) -> dict[str, object]:
    """All settings, as keyword arguments of `django.conf.settings.configure`."""
    return {
        "ALLOWED_HOSTS": ["*"],
        "DATABASES": {"default": _database(database)},
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "oauth2_provider",
            "evertoken.sandbox",
        ],
        "LOGGING_CONFIG": None,  # the serving process configures logging
        "MIDDLEWARE": [
            "evertoken.sandbox.middleware.count_calls",
            "django.middleware.common.CommonMiddleware",  # 301 if the trailing slash is missing
        ],
        "OAUTH2_PROVIDER": _oauth2_provider(options, base_url),
        "PASSWORD_HASHERS": [_MD5 if options.fast_hashing else _PBKDF2],
        "REST_FRAMEWORK": _rest_framework(options),
        "ROOT_URLCONF": "evertoken.sandbox.urls",
        "SECRET_KEY": secrets.token_urlsafe(),
        "TIME_ZONE": "UTC",
        "USE_I18N": False,
        "USE_TZ": True,
    }


def _oauth2_provider(options: Options, base_url: str) -> dict[str, object]:
    page = f"{base_url}/sandbox/device/"
    return {
        "ACCESS_TOKEN_EXPIRE_SECONDS": options.expires_in,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": options.grace,
        "REFRESH_TOKEN_REUSE_PROTECTION": options.refresh_rotation,
        "OAUTH_DEVICE_VERIFICATION_URI": page,
        "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": lambda code: f"{page}?user_code={code}",
        "OAUTH2_VALIDATOR_CLASS": "evertoken.sandbox.validator._Validator",
        "DEVICE_FLOW_INTERVAL": 1,
    }


def _database(path: Path) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        # each thread keeps its connection open: opening one per call takes twice as long
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            # A transaction that first reads and then writes fails at once while another one writes
            # ("database is locked", a 500 for parallel refreshes). One begun as a writer waits.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }


def _rest_framework(options: Options) -> dict[str, object]:
    # the first class decides: session authentication has no challenge, so DRF answers 403
    first = [_SESSION] if options.auth_failure == 403 else []  # noqa: PLR2004 - an HTTP status
    rate = None if options.rate_limit is None else f"{options.rate_limit}/min"
    return {
        "DEFAULT_AUTHENTICATION_CLASSES": [*first, _BEARER],
        "DEFAULT_PERMISSION_CLASSES": [
            "oauth2_provider.contrib.rest_framework.TokenHasReadWriteScope"
        ],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_THROTTLE_CLASSES": ["evertoken.sandbox.throttling.BusinessThrottle"],
        "DEFAULT_THROTTLE_RATES": {"business": rate},
    }
