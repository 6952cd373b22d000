"""Clients that keep a host busy over HTTP."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import requests

from support.host_report import Load

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = 4

PACE = 0.03
"""Seconds between two requests of a client."""

ANSWERED_WITHIN = 10.0
"""Seconds after which a client gives up on a request: more than twice the timeout of a call."""


@contextmanager
def under_load(port: int) -> Iterator[Load]:
    """Keep the host busy with clients until the end of the block."""
    load, stop = Load(), threading.Event()
    clients = [threading.Thread(target=_ask, args=(port, load, stop)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield load
    finally:
        stop.set()
        for client in clients:
            client.join()


def _ask(port: int, load: Load, stop: threading.Event) -> None:
    while not stop.is_set():
        load.asked += 1
        try:
            answer = requests.get(f"http://127.0.0.1:{port}/", timeout=ANSWERED_WITHIN)
        except requests.RequestException as error:
            load.lost.append(type(error).__name__)
        else:
            if answer.status_code != 200:
                load.lost.append(str(answer.status_code))
        stop.wait(PACE)
