"""Serves a sandbox in this process until a signal ends it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Never

from evertoken.sandbox.environment import environment
from evertoken.sandbox.errors import SandboxError, require_extra
from evertoken.stores import private_folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from evertoken.sandbox.options import DataDirectory, Options

# More than any test or demo has clients: a call that waits for a thread would look like a slow
# token.
_THREADS: Final = 32
_CONNECTIONS: Final = 1000


def run(options: Options) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM; either ends the process with status 0.

    Once the server is ready, its settings are printed on standard output, one `NAME=value` per line
    or as one JSON object. Requests in progress at the end get 5 s to finish. Call it only in the
    main thread and once per process: Django can be configured only once, and the two signals stay
    ignored afterwards, so that nothing interrupts the exit.

    Raises:
        MissingExtra: the extra `sandbox` is not installed.
        SandboxError: the port is taken, or the data directory cannot be used.
        SystemExit: with status 0, if the signal came before the server was ready.
    """
    require_extra()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR)
    with _workspace(options.data) as directory, _ended_by_signals(), _listen(options) as listener:
        _serve(options, directory / "sandbox.sqlite3", listener)


def _serve(options: Options, database: Path, listener: socket.socket) -> None:
    # imported here: they belong to the extra, and the parent of a server does not need them
    from waitress.server import create_server  # noqa: PLC0415  the extra

    from evertoken.sandbox.site import application  # noqa: PLC0415  likewise

    server = create_server(
        application(options, database, _base_url(options, listener)),
        sockets=[listener],
        threads=_THREADS,
        connection_limit=_CONNECTIONS,
        asyncore_use_poll=True,  # select() ends at descriptor 1024
        log_socket_errors=False,  # a client that disconnects is not an error of the server
    )
    _announce(options, listener)
    server.run()


def _base_url(options: Options, listener: socket.socket) -> str:
    host = options.host
    authority = f"[{host}]" if ":" in host else host
    return f"http://{authority}:{listener.getsockname()[1]}"


def _announce(options: Options, listener: socket.socket) -> None:
    settings = environment(_base_url(options, listener))
    lines = [f"{name}={value}\n" for name, value in settings.items()]
    sys.stdout.write(f"{json.dumps(settings)}\n" if options.as_json else "".join(lines))
    sys.stdout.flush()


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family)
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (while")  # the rest is the address again
        raise SandboxError(
            f"cannot listen on port {options.port} of {options.host} ({reason}): "
            "choose another port, or 0 for any free one"
        ) from error


@contextmanager
def _workspace(data: DataDirectory | None) -> Iterator[Path]:
    if data is None:
        # a request that takes longer than its 5 s may still write while the directory is deleted
        with TemporaryDirectory(prefix="evertoken-sandbox-", ignore_cleanup_errors=True) as made:
            os.chmod(made, 0o700)  # a umask may have removed the owner's permissions
            yield Path(made)
        return
    kept = Path(data)
    try:
        private_folders.make(kept)
    except OSError as error:
        raise SandboxError(
            f"{kept} cannot be used ({error.strerror}): choose another directory"
        ) from error
    yield kept


def _end(_number: int, _frame: FrameType | None) -> Never:
    sys.exit(0)  # waitress stops serving on a SystemExit


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    both = (signal.SIGINT, signal.SIGTERM)
    for number in both:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for (
            number
        ) in both:  # a second Ctrl-C would interrupt the removal of the temporary directory
            signal.signal(number, signal.SIG_IGN)
