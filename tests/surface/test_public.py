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
    GrantRefused,
    GrantUnavailable,
    InsecureURL,
    InvalidTokenResponse,
    PasswordGrant,
    RefreshPolicy,
    RefreshTimeout,
    RefreshTokenGrant,
    RevocationFailed,
    Status,
    Token,
    TokenError,
    TokenKey,
    TokenManager,
    ports,
    squadrun,
)
from evertoken.grants.options import EndpointOptions, token_endpoint
from support import surface

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLIC_NAMES = Path(__file__).with_name("public_names.txt")

AUTHS = [
    squadrun.auth,
    squadrun.httpx_auth,
    squadrun.httpx2_auth,
    squadrun.aiohttp_auth,
    squadrun.niquests_auth,
]

ERRORS = [
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    RefreshTimeout,
    RevocationFailed,
    InsecureURL,
    ConfigurationError,
]


def options_of(called: Callable[..., object]) -> set[str]:
    """What may be given by keyword alone, `**options` apart."""
    parameters = inspect.signature(called).parameters.values()
    return {each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY}


def passed_on_by(called: Callable[..., object]) -> str:
    """The annotation of its `**options`."""
    parameters = inspect.signature(called).parameters.values()
    return next(str(each.annotation) for each in parameters if each.kind is Parameter.VAR_KEYWORD)


class TestNames:
    def test_are_these_with_these_signatures_and_no_others(self) -> None:
        # edited by hand: a change of it is a change of what users build on
        expected = PUBLIC_NAMES.read_text(encoding="utf-8").splitlines()

        assert list(surface.lines()) == expected

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
    def test_of_the_preset_pass_the_options_of_its_manager_and_its_grant_through(self) -> None:
        of_manager = options_of(TokenManager) - {"store"}
        # the manager has a timeout of its own, and the URLs are those of the preset
        of_grant = EndpointOptions.__annotations__.keys() - {"revoke_url", "timeout", "allow_http"}

        assert squadrun.ManagerOptions.__annotations__.keys() == of_manager
        assert squadrun.GrantOptions.__annotations__.keys() == of_grant
        assert squadrun.Options.__annotations__.keys() == of_manager | of_grant

    @pytest.mark.parametrize("auth", AUTHS)
    def test_of_a_preset_for_a_client_are_those_of_its_manager(
        self, auth: Callable[..., object]
    ) -> None:
        options = squadrun.AccountOptions.__annotations__.keys()

        assert options - squadrun.Options.__annotations__ == options_of(squadrun.manager)
        assert passed_on_by(squadrun.manager) == "Unpack[Options]"
        assert passed_on_by(auth) == "Unpack[AccountOptions]"

    @pytest.mark.parametrize("grant", [PasswordGrant, ClientCredentialsGrant, RefreshTokenGrant])
    def test_of_every_grant_at_a_token_endpoint_are_the_same_beside_its_own(
        self, grant: Callable[..., object]
    ) -> None:
        assert passed_on_by(grant) == "Unpack[EndpointOptions]"
        assert EndpointOptions.__annotations__.keys() == options_of(token_endpoint)

    def test_of_a_token_hide_its_secrets(self) -> None:
        hidden = {each.name for each in dataclasses.fields(Token) if not each.repr}

        assert {"value", "refresh_token"} <= hidden

    @pytest.mark.parametrize("kind", [Token, TokenKey, RefreshPolicy, Status])
    def test_of_values_are_those_of_frozen_dataclasses_with_slots(self, kind: type) -> None:
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # a dataclass has it
        assert "__slots__" in vars(kind)


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
        assert evertoken.__version__ == importlib.metadata.version("evertoken") == "0.2.0.dev0"
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
