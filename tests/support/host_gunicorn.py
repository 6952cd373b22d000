"""The command line of gunicorn."""

from __future__ import annotations

import sys


def gunicorn(port: int, worker_class: str, *options: str, workers: int) -> list[str]:
    """Serves `host_app` at `port`, imported before the workers are forked."""
    command = [sys.executable, "-m", "gunicorn", "--preload", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", str(workers), "--threads", "2", "--worker-class", worker_class]
    return [*command, "--no-control-socket", *options, "support.host_app:application"]
