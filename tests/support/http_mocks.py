"""The HTTP mocks of users' test suites. As a script, imports the library inside one of them.

The script takes a mock's name and a folder. It imports the whole library while the mock is active
and prints, after the mock is removed, a JSON list of what the library still holds of it.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import requests_mock
import responses
import vcr

import evertoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Mock = Callable[["Urls", Path], AbstractContextManager[object]]

TOKENS = ("the-first-mocked-token", "the-second-mocked-token")
"""The answer of a mock's token endpoint."""

STATUSES = (200, 401, 200)
"""The answer of a mock's API."""

NOWHERE = Path("/nonexistent")


class Urls(NamedTuple):
    """The URLs that a mock answers."""

    token: str
    api: str


def granting(token: str) -> dict[str, object]:
    return {"access_token": token, "token_type": "Bearer", "expires_in": 3600}


@contextmanager
def by_requests_mock(urls: Urls, _folder: Path) -> Iterator[None]:
    with requests_mock.Mocker() as mock:
        mock.post(urls.token, [{"json": granting(token)} for token in TOKENS])
        mock.get(urls.api, [{"status_code": status} for status in STATUSES])
        yield


@contextmanager
def by_responses(urls: Urls, _folder: Path) -> Iterator[None]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for token in TOKENS:
            mock.post(urls.token, json=granting(token))
        for status in STATUSES:
            mock.get(urls.api, status=status)
        yield


@contextmanager
def by_vcrpy(urls: Urls, folder: Path) -> Iterator[None]:
    tape = folder / "recorded.json"
    interactions = [
        *(_recorded("POST", urls.token, 200, json.dumps(granting(token))) for token in TOKENS),
        *(_recorded("GET", urls.api, status, "") for status in STATUSES),
    ]
    tape.write_text(json.dumps({"version": 1, "interactions": interactions}))
    with vcr.use_cassette(str(tape), serializer="json", record_mode="none"):
        yield


MOCKS: dict[str, Mock] = {
    "requests-mock": by_requests_mock,
    "responses": by_responses,
    "vcrpy": by_vcrpy,
}


def _recorded(method: str, url: str, status: int, body: str) -> dict[str, object]:
    return {
        "request": {"method": method, "uri": url, "body": "", "headers": {}},
        "response": {
            "status": {"code": status, "message": ""},
            "headers": {"Content-Type": ["application/json"]},
            "body": {"string": body},
        },
    }


def load_all() -> None:
    """Import each module of the library that can be imported here."""
    for found in pkgutil.walk_packages(evertoken.__path__, "evertoken.", onerror=lambda _: None):
        # some need Django's settings, or niquests, or start something when imported
        elsewhere = found.name.startswith(("evertoken.sandbox", "evertoken.clients.niquests"))
        if not elsewhere and not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def left_by_mocks() -> Iterator[str]:
    """The parts of mocks in the library: names in its modules, and bases of its classes."""
    roots = {kind.__module__.partition(".")[0] for kind in (vcr.VCR, responses.RequestsMock)}
    roots.add(requests_mock.Mocker.__module__.partition(".")[0])
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "evertoken":
            continue
        for attribute, value in list(vars(module).items()):
            kinds = value.__mro__ if isinstance(value, type) else (value,)
            homes = {str(getattr(each, "__module__", "")).partition(".")[0] for each in kinds}
            if homes & roots:
                yield f"{name}.{attribute}"


def main(mock: str, folder: str) -> None:
    with MOCKS[mock](Urls("https://api.test/token/", "https://api.test/"), Path(folder)):
        load_all()
    print(json.dumps(list(left_by_mocks())))  # noqa: T201  its answer


if __name__ == "__main__":
    main(*sys.argv[1:])
