"""A replayed body is byte for byte the first one, or there is no replay."""

from __future__ import annotations

import array
import io
import json
import mmap
import os
from typing import TYPE_CHECKING

import pytest
import requests

from evertoken import BearerAuth
from evertoken.testing import Answer
from support.http_clients import WAIT, manager_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from evertoken.testing import TokenServer

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def auth(token_server: TokenServer) -> BearerAuth:
    auth = BearerAuth(manager_of(token_server))
    auth.manager.token()
    token_server.expire_all()
    return auth


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "leads.bin"
    path.write_bytes(CONTENT)
    return path


def at(stream: io.IOBase, offset: int) -> io.IOBase:
    stream.seek(offset)
    return stream


REPEATABLE: dict[str, tuple[Callable[[Path], dict[str, Any]], bytes | None]] = {
    "nothing": (lambda _: {}, b""),
    "bytes": (lambda _: {"data": CONTENT}, CONTENT),
    "text": (lambda _: {"data": "é" * 5}, "é".encode() * 5),
    "JSON": (lambda _: {"json": [{"lead_id": "é"}]}, json.dumps([{"lead_id": "é"}]).encode()),
    "form": (lambda _: {"data": {"a": "b c", "d": "é"}}, b"a=b+c&d=%C3%A9"),
    "file": (lambda path: {"data": path.open("rb")}, CONTENT),
    "file from the middle": (lambda path: {"data": at(path.open("rb"), 1000)}, CONTENT[1000:]),
    "file at its end": (lambda path: {"data": at(path.open("rb"), len(CONTENT))}, b""),
    "buffer": (lambda _: {"data": io.BytesIO(CONTENT)}, CONTENT),
    "buffer from the middle": (lambda _: {"data": at(io.BytesIO(CONTENT), 77)}, CONTENT[77:]),
    "bytearray": (lambda _: {"data": bytearray(CONTENT)}, CONTENT),
    "empty bytearray": (lambda _: {"data": bytearray()}, b""),
    "memoryview": (lambda _: {"data": memoryview(CONTENT)[5:]}, CONTENT[5:]),
    "array": (lambda _: {"data": array.array("B", CONTENT)}, CONTENT),
    "multipart": (lambda path: {"files": {"file": path.open("rb")}, "data": {"a": "b"}}, None),
    "multipart from the middle": (lambda path: {"files": {"f": at(path.open("rb"), 9)}}, None),
}


@pytest.mark.parametrize("kind", REPEATABLE)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_that_can_be_sent_again_is_sent_again_exactly(
    token_server: TokenServer, auth: BearerAuth, file: Path, kind: str, method: str
) -> None:  # S35, F22
    make, expected = REPEATABLE[kind]
    options = make(file)

    response = requests.request(method, token_server.api_url, auth=auth, timeout=WAIT, **options)

    first, replay = token_server.api.requests
    assert response.status_code == 200
    assert replay.body == first.body
    if expected is not None:
        assert first.body == expected
    else:
        assert b"filename=" in first.body
    framing = ("Content-Type", "Content-Length", "Transfer-Encoding")
    assert [replay.headers.get(name) for name in framing] == [
        first.headers.get(name) for name in framing
    ]
    close(options)


def close(options: dict[str, Any]) -> None:
    for value in (options.get("data"), *(options.get("files") or {}).values()):
        if isinstance(value, io.IOBase):
            value.close()


class Unseekable(io.BytesIO):
    """Reports its position, but cannot seek once it was read."""

    was_read = False

    def read(self, size: int | None = -1, /) -> bytes:
        self.was_read = True
        return super().read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if self.was_read:
            raise OSError("gone")
        return super().seek(offset, whence)


class ClosedAtItsEnd(io.BytesIO):
    """A wrapper that closes its file at the end."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            self.close()
        return data


class NoPosition:
    """An iterable without the methods of a file."""

    def __iter__(self) -> Iterator[bytes]:
        yield CONTENT


def pipe() -> io.IOBase:
    reading, writing = os.pipe()
    os.write(writing, CONTENT[:4000])
    os.close(writing)
    return os.fdopen(reading, "rb")


GONE: dict[str, Callable[[], object]] = {
    "generator": lambda: (part for part in (CONTENT, b"the end")),
    "iterable": NoPosition,
    "pipe": pipe,
    "unseekable": lambda: Unseekable(CONTENT),
    "closed": lambda: ClosedAtItsEnd(CONTENT),
    # `requests` does not record its position, since it has no iterator
    "mapped memory": lambda: mmap.mmap(-1, 100),
}


@pytest.mark.parametrize("kind", GONE)
def test_a_consumed_body_is_not_sent_again_but_the_token_is_renewed(
    token_server: TokenServer, auth: BearerAuth, kind: str
) -> None:  # S35, F22
    body: Any = GONE[kind]()

    response = requests.post(token_server.api_url, data=body, auth=auth, timeout=WAIT)
    after = requests.get(token_server.api_url, auth=auth, timeout=WAIT)

    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided."}
    assert response.history == []
    assert (after.status_code, after.history) == (200, [])
    assert len(token_server.api.requests) == token_server.grants == 2
    close({"data": body})


def test_a_body_is_rewound_after_a_redirect_and_a_replay(
    token_server: TokenServer, auth: BearerAuth, file: Path
) -> None:  # S29, S35
    token_server.api.answer_next(
        Answer(401), Answer.redirect("/api/moved/", status=307), Answer(200)
    )
    with file.open("rb") as stream:
        stream.seek(10)
        response = requests.put(token_server.api_url, data=stream, auth=auth, timeout=WAIT)

    assert response.status_code == 200
    assert [request.body for request in token_server.api.requests] == [CONTENT[10:]] * 3
