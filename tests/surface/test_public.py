"""The public names exist, with exactly these signatures, documentation and types."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.resources
import inspect
import re
from inspect import Parameter
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

import pytest
import requests

import evertoken
from evertoken import (
    BearerAuth,
    ClientCredentialsGrant,
    ConfigurationError,
    FileStore,
    FunctionGrant,
    GrantRefused,
    GrantUnavailable,
    InsecureURL,
    InvalidTokenResponse,
    MemoryStore,
    PasswordGrant,
    RefreshPolicy,
    RefreshTimeout,
    RevocationFailed,
    Status,
    Token,
    TokenError,
    TokenKey,
    TokenManager,
    ports,
    squadrun,
)
from evertoken.grants.options import EndpointOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    # positional parameters, then, after None, keyword-only ones; each with its default
    Signature = dict[str | None, object]

REQUIRED = Parameter.empty

SIGNATURES: dict[Callable[..., object], Signature] = {
    TokenManager: {
        "grant": REQUIRED,
        None: None,
        "store": None,
        "memory": None,
        "policy": RefreshPolicy(),
        "timeout": 30.0,
        "keep_fresh": False,
        "prove_credentials": False,
        "on_event": None,
    },
    TokenManager.token: {"self": REQUIRED, None: None, "timeout": None},
    TokenManager.refresh: {"self": REQUIRED, None: None, "timeout": None},
    TokenManager.invalidate: {"self": REQUIRED, "token": REQUIRED},
    TokenManager.revoke: {"self": REQUIRED},
    TokenManager.status: {"self": REQUIRED},
    TokenManager.close: {"self": REQUIRED},
    BearerAuth: {
        "manager": REQUIRED,
        None: None,
        "origins": None,
        "retry_statuses": (401,),
        "is_unauthorized": None,
        "scheme": "Bearer",
        "allow_http": False,
    },
    PasswordGrant: {
        "token_url": REQUIRED,
        None: None,
        "client_id": None,
        "client_secret": None,
        "username": REQUIRED,
        "password": REQUIRED,
        "scope": None,
        "extra": None,
        "headers": None,
        "revoke_url": None,
        "client_auth": "body",
        "timeout": 10.0,
        "deadline": 30.0,
        "default_lifetime": 300.0,
        "lifetime": None,
        "max_lifetime": None,
        "verify": True,
        "cert": None,
        "proxies": None,
        "transport": None,
        "allow_http": False,
    },
    ClientCredentialsGrant: {
        "token_url": REQUIRED,
        None: None,
        "client_id": REQUIRED,
        "client_secret": None,
        "client_assertion": None,
    },
    FunctionGrant: {
        "fetch": REQUIRED,
        None: None,
        "name": REQUIRED,
        "credentials": None,
        "revoke": None,
        "deadline": 30.0,
    },
    RefreshPolicy: {
        None: None,
        "refresh_before": 120.0,
        "expiry_margin": 10.0,
        "jitter": 0.25,
        "retry_after": 1.0,
        "retry_after_max": 60.0,
        "refusal_cooldown": 300.0,
        "refusal_cooldown_max": 3600.0,
        "recheck": 1.0,
        "activation_delay": 0.0,
    },
    MemoryStore: {"maxsize": 1024},
    FileStore: {"directory": REQUIRED, None: None, "encryption_key": None},
    ports.Grant.request: {"self": REQUIRED},
    ports.Grant.revoke: {"self": REQUIRED, "token": REQUIRED},
    ports.Grant.credentials_tag: {"self": REQUIRED, "salt": REQUIRED},
    ports.TokenStore.load: {"self": REQUIRED, "key": REQUIRED},
    ports.TokenStore.save: {"self": REQUIRED, "key": REQUIRED, "entry": REQUIRED},
    ports.TokenStore.lock: {"self": REQUIRED, "key": REQUIRED, None: None, "timeout": REQUIRED},
}

PRESET: Signature = {
    None: None,
    "client_id": None,
    "client_secret": None,
    "username": None,
    "password": None,
    "base_url": None,
    "store": None,
}

ERRORS = [
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    RefreshTimeout,
    RevocationFailed,
    InsecureURL,
    ConfigurationError,
]


def signature_of(called: Callable[..., object]) -> Signature:
    """A signature in the form of `SIGNATURES`, without `**options`."""
    found: Signature = {}
    for parameter in inspect.signature(called).parameters.values():
        if parameter.kind is Parameter.KEYWORD_ONLY:
            found.setdefault(None, None)
        if parameter.kind is not Parameter.VAR_KEYWORD:
            found[parameter.name] = parameter.default
    return found


class TestNames:
    def test_are_these_and_no_others(self) -> None:
        assert sorted(evertoken.__all__) == sorted(
            [
                *("TokenManager", "BearerAuth", "Token", "TokenKey", "RefreshPolicy", "Status"),
                *("PasswordGrant", "ClientCredentialsGrant", "FunctionGrant"),
                *("MemoryStore", "FileStore", "TokenManagers"),
                *("TokenError", "GrantRefused", "GrantUnavailable", "InvalidTokenResponse"),
                *("RefreshTimeout", "RevocationFailed", "InsecureURL", "ConfigurationError"),
                "squadrun",
            ]
        )

    def test_exist_and_are_listed(self) -> None:
        for name in evertoken.__all__:
            assert getattr(evertoken, name) is not None
        assert set(evertoken.__all__) <= set(dir(evertoken))

    def test_that_do_not_exist_raise_an_attribute_error(self) -> None:
        name = "TokenManger"

        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(evertoken, name)

    def test_are_the_same_wherever_they_are_imported_from(self) -> None:
        for name in evertoken.__all__:
            value = getattr(evertoken, name)
            home = importlib.import_module(
                value.__name__ if name == "squadrun" else value.__module__
            )
            assert value is home or value is getattr(home, name)


class TestSignatures:
    @pytest.mark.parametrize(
        ("called", "expected"),
        SIGNATURES.items(),
        ids=[called.__qualname__ for called in SIGNATURES],
    )
    def test_are_exactly_these(self, called: Callable[..., object], expected: Signature) -> None:
        found = signature_of(called)

        assert found == expected
        assert list(found) == list(expected)

    @pytest.mark.parametrize("preset", [squadrun.manager, squadrun.auth])
    def test_of_a_preset_pass_the_options_of_its_manager_and_its_grant_through(
        self, preset: Callable[..., object]
    ) -> None:
        of_manager = set(SIGNATURES[TokenManager]) - {"grant", "store", None}
        # the manager has its own timeout, and the URLs are the preset's
        own = {"token_url", "revoke_url", "timeout", "allow_http", *PRESET}
        of_grant = set(SIGNATURES[PasswordGrant]) - own

        assert signature_of(preset) == PRESET
        assert squadrun.ManagerOptions.__annotations__.keys() == of_manager
        assert squadrun.GrantOptions.__annotations__.keys() == of_grant
        assert squadrun.Options.__annotations__.keys() == of_manager | of_grant

    def test_of_every_grant_at_a_token_endpoint_take_the_options_of_a_password_grant(self) -> None:
        own = {"token_url", "client_id", "client_secret", "username", "password", None}

        assert EndpointOptions.__annotations__.keys() == set(SIGNATURES[PasswordGrant]) - own

    def test_of_a_token_are_its_fields_and_its_secrets_are_hidden(self) -> None:
        shown = {each.name: each.repr for each in dataclasses.fields(Token)}

        assert list(shown)[:5] == ["value", "issued_at", "expires_at", "scope", "refresh_token"]
        assert not shown["value"]
        assert not shown["refresh_token"]

    def test_of_a_key_are_the_fields_of_an_identity(self) -> None:
        names = [each.name for each in dataclasses.fields(TokenKey)]

        assert names == ["token_url", "client_id", "username", "scope", "extra"]

    @pytest.mark.parametrize("kind", [Token, TokenKey, RefreshPolicy, Status])
    def test_of_values_are_those_of_frozen_dataclasses_with_slots(self, kind: type) -> None:
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # a dataclass has it
        assert "__slots__" in vars(kind)

    def test_of_an_error_are_a_message_and_its_attributes(self) -> None:
        details = ["status", "content_type", "error", "description", "retry_after"]
        expected: Signature = {"message": REQUIRED, None: None}
        expected.update(dict.fromkeys(details), transient=False, local=False)

        assert signature_of(TokenError) == expected


class TestErrors:
    @pytest.mark.parametrize("kind", ERRORS)
    def test_are_token_errors_and_belong_to_no_http_client(self, kind: type[TokenError]) -> None:
        assert issubclass(kind, TokenError)
        assert not issubclass(kind, requests.RequestException)

    def test_are_also_of_the_matching_built_in_kind(self) -> None:
        assert issubclass(RefreshTimeout, TimeoutError)
        assert issubclass(InsecureURL, ValueError)
        assert issubclass(ConfigurationError, ValueError)


class TestPackage:
    def test_is_a_manager_that_can_be_a_context(self) -> None:
        assert {"__enter__", "__exit__"} <= vars(TokenManager).keys()

    def test_is_accepted_by_requests_as_auth(self) -> None:
        assert issubclass(BearerAuth, requests.auth.AuthBase)

    def test_ships_its_types(self) -> None:
        assert (importlib.resources.files("evertoken") / "py.typed").is_file()

    def test_has_its_version(self) -> None:
        assert evertoken.__version__ == importlib.metadata.version("evertoken") == "0.1.0"
        assert "__version__" in dir(evertoken)

    def test_includes_its_licence(self) -> None:
        shipped = importlib.resources.files("evertoken") / "LICENSE"
        metadata = importlib.metadata.metadata("evertoken")

        assert shipped.read_text(encoding="utf-8").startswith("MIT License\n")
        assert metadata.get_all("License-Expression") == ["MIT"]
        assert metadata.get_all("License-File") == ["src/evertoken/LICENSE"]

    def test_claims_the_pythons_and_the_system_that_the_suite_runs_on(self) -> None:
        root = Path(__file__).parents[2]
        parts = (root / ".ci" / "parts").read_text(encoding="utf-8")
        newer = re.search(r"NEWER_PYTHONS:-([\d. ]+)}", parts)
        assert newer is not None
        claimed = importlib.metadata.metadata("evertoken").get_all("Classifier") or []

        pythons = [each.rpartition(" ")[2] for each in claimed if each[-4:-2] == "3."]
        assert pythons == ["3.11", *newer[1].split()]
        assert [each for each in claimed if each.startswith("Operating System")] == [
            "Operating System :: POSIX :: Linux"
        ]


def documented(value: object) -> list[tuple[str, object]]:
    """The public classes and functions of a public name, with their names."""
    members = vars(value) if isinstance(value, type | ModuleType) else {}
    return [
        (name, member)
        for name, member in members.items()
        if not name.startswith("_")
        and isinstance(member, FunctionType | classmethod | property | type)
        and getattr(member, "__module__", "evertoken").startswith("evertoken")
    ]


class TestDocstrings:
    @pytest.mark.parametrize("name", evertoken.__all__)
    def test_exist_for_each_name_and_its_public_members(self, name: str) -> None:
        value = getattr(evertoken, name)
        missing = [what for what, member in documented(value) if not member.__doc__]

        # the default docstring of a dataclass is its signature, which does not count
        assert value.__doc__
        assert not value.__doc__.startswith(f"{name}(")
        assert missing == []

    @pytest.mark.parametrize("port", [ports.Grant, ports.TokenStore])
    def test_exist_for_the_ports(self, port: type) -> None:
        assert port.__doc__
        assert [what for what, member in documented(port) if not member.__doc__] == []
