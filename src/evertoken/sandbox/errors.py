"""Errors of a sandbox that cannot start; each message also says what to do."""

from __future__ import annotations

from importlib.util import find_spec

from evertoken.runtime.extras import how_to_install

_NEEDED = ("django", "oauth2_provider", "rest_framework", "waitress")


class SandboxError(Exception):
    """The sandbox could not start. The message can be shown to a user."""


class MissingExtra(SandboxError, ImportError):
    """The packages that the sandbox needs are not installed."""


def require_extra() -> None:
    """Check that the extra `sandbox` is installed, without importing it.

    Raises:
        MissingExtra: it is not; the message has the command that installs it.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"the sandbox needs {', '.join(missing)}, not installed here: "
            f"{how_to_install('sandbox')}"
        )
