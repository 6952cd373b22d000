"""The child process of `serve()`, which ends when its standard input is closed."""

from __future__ import annotations

import json
import os
import signal
import sys
from threading import Thread

from evertoken.sandbox.errors import SandboxError
from evertoken.sandbox.foreground import run
from evertoken.sandbox.options import Options


def main() -> None:
    """Serve. If it cannot start, print one line on standard error and exit with status 1."""
    Thread(target=_end_with_parent, daemon=True).start()
    chosen = json.loads(sys.argv[1]) if sys.argv[1:] else {}
    try:
        run(Options(**chosen))
    except SandboxError as error:
        sys.exit(str(error))


def _end_with_parent() -> None:
    # not sys.stdin: a daemon thread that reads it aborts the interpreter's exit
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
