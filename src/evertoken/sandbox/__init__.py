"""A local SquadRun server: Django OAuth Toolkit on SQLite, for tests, trials and the demo."""

from __future__ import annotations

from evertoken.sandbox.errors import MissingExtra, SandboxError
from evertoken.sandbox.foreground import run
from evertoken.sandbox.options import Options
from evertoken.sandbox.process import Sandbox, serve
from evertoken.sandbox.stats import Stats

__all__ = ["MissingExtra", "Options", "Sandbox", "SandboxError", "Stats", "run", "serve"]
