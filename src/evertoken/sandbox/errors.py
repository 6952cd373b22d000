"""Why a sandbox did not start, each in one sentence that also says what to do."""

from __future__ import annotations

from importlib.util import find_spec

from evertoken.runtime.extras import how_to_install

_NEEDED = ("django", "oauth2_provider", "rest_framework", "waitress")


class SandboxError(Exception):
    """The sandbox could not start; the message is fit to be shown to a user as it is."""


class MissingExtra(SandboxError, ImportError):
    """What the sandbox is built on is not installed."""


def require_extra() -> None:
    """Check that the extra `sandbox` is installed, without importing any of it.

    Raises:
        MissingExtra: with the command that installs it.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"the sandbox needs {', '.join(missing)}, not installed here: "
            f"{how_to_install('sandbox')}"
        )
