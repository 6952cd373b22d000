"""Arguments that are easily confused: the error names the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from evertoken import (
    BearerAuth,
    FileStore,
    MemoryStore,
    PasswordGrant,
    RefreshPolicy,
    TokenManager,
    TokenManagers,
    squadrun,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

URL = "https://id.example.com/oauth/token/"


def grant() -> PasswordGrant:
    return PasswordGrant(URL, client_id="c", username="ann", password="planted-password")


def manager(**options: Any) -> TokenManager:
    return TokenManager(grant(), memory=MemoryStore(), **options)


def called_with(auth: object) -> object:
    """The outcome of a request with `auth=`; nothing is sent."""
    session = requests.Session()
    session.auth = auth  # type: ignore[assignment]  # the mistake
    return session.prepare_request(requests.Request("GET", URL))


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "a path as store=": (
        lambda: manager(store="planted-folder"),
        ("store must be a store, not text: use FileStore(path), or RedisStore(url)"),
    ),
    "a path as the store of a preset": (
        lambda: squadrun.auth(store="planted-folder"),  # type: ignore[arg-type]
        ("store must be a store, not text: use FileStore(path), or RedisStore(url)"),
    ),
    "a class as store=": (
        lambda: manager(store=FileStore),
        ("store must be a store, not the class FileStore: give an instance of it"),
    ),
    "a store as memory=": (
        lambda: TokenManager(grant(), memory=FileStore("folder")),  # type: ignore[arg-type]
        "memory must be a MemoryStore, not an object of type FileStore: give it as store=",
    ),
    "a class as policy=": (
        lambda: manager(policy=RefreshPolicy),
        "policy must be a RefreshPolicy, not the class RefreshPolicy: give an instance of it",
    ),
    "a manager in place of a grant": (
        lambda: TokenManager(manager()),  # type: ignore[arg-type]
        (
            "grant must be a grant, such as PasswordGrant(…), not an object of type TokenManager: "
            "use that manager itself"
        ),
    ),
    "a class in place of a grant": (
        lambda: TokenManager(PasswordGrant),  # type: ignore[arg-type]
        (
            "grant must be a grant, such as PasswordGrant(…), not the class PasswordGrant: give an "
            "instance of it"
        ),
    ),
    "a URL in place of a grant": (
        lambda: TokenManager(URL),  # type: ignore[arg-type]
        "grant must be a grant, such as PasswordGrant(…), not text",
    ),
    "a grant in place of a manager": (
        lambda: BearerAuth(grant()),  # type: ignore[arg-type]
        (
            "manager must be a TokenManager, not an object of type PasswordGrant: use "
            "TokenManager(grant)"
        ),
    ),
    "an auth in place of a manager": (
        lambda: BearerAuth(BearerAuth(manager())),  # type: ignore[arg-type]
        "manager must be a TokenManager, not an object of type BearerAuth: use that auth itself",
    ),
    "a manager as auth=": (
        lambda: called_with(manager()),
        "auth= must be an auth, not a TokenManager: use BearerAuth(manager)",
    ),
    "a class as auth=": (
        lambda: called_with(BearerAuth),
        (
            "manager must be a TokenManager, not an object of type PreparedRequest: give auth= an "
            "instance, BearerAuth(manager), not the class"
        ),
    ),
    "a store in place of a path": (
        lambda: FileStore(FileStore("folder")),  # type: ignore[arg-type]
        (
            "directory must be the path of a folder, not an object of type FileStore: use that "
            "store itself"
        ),
    ),
    "a manager in place of a factory": (
        lambda: TokenManagers(manager()),  # type: ignore[arg-type]
        (
            "factory must be a function that takes the name of an account, not an object of type "
            "TokenManager: use a function that makes the manager of the account it is given"
        ),
    ),
    "a factory that returns a grant": (
        lambda: TokenManagers(lambda _: grant())["acme"],  # type: ignore[arg-type, return-value]
        (
            "manager must be a TokenManager, not an object of type PasswordGrant: use "
            "TokenManager(grant)"
        ),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_common_mistake_is_named_with_its_remedy(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, sentence = MISTAKES[mistake]
    with pytest.raises(TypeError) as caught:
        make()
    assert str(caught.value) == sentence
    assert "planted" not in sentence
    assert list(tmp_path.iterdir()) == []
