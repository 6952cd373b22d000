"""The SquadRun site as a WSGI application; configures Django, once per process."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import Error

from evertoken.sandbox.database import prepare
from evertoken.sandbox.errors import SandboxError
from evertoken.sandbox.settings import django_settings

if TYPE_CHECKING:
    from pathlib import Path

    from django.core.handlers.wsgi import WSGIHandler

    from evertoken.sandbox.options import Options


def application(options: Options, database: Path, base_url: str) -> WSGIHandler:
    """Configure Django, prepare the database, load the site.

    Raises:
        SandboxError: the database cannot be used.
    """
    # The toolkit warns at each password grant that RFC 9700 discourages it. This server exists to
    # answer those, and under -W error the warning would turn them into a 500.
    warnings.filterwarnings("ignore", message=".*RFC 9700", category=DeprecationWarning)
    settings.configure(**django_settings(options, database, base_url))
    django.setup()
    try:
        prepare()
    except Error as error:
        raise SandboxError(
            f"{database} cannot be used ({error}): delete it, or choose another directory"
        ) from error
    import_module("evertoken.sandbox.urls")  # else the first request would wait for this import
    return get_wsgi_application()
