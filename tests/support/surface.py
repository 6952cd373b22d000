"""The public interface as text: one line for each name, with its signature."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from inspect import Parameter
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING

import evertoken

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = {
    "evertoken": None,
    "evertoken.squadrun": (
        *("manager", "auth", "httpx_auth", "httpx2_auth", "aiohttp_auth", "niquests_auth"),
        *("Variable", "BASE_URL", "RETRY_STATUSES"),
    ),
    "evertoken.managers": ("Account",),
    "evertoken.status": ("Counters",),
    "evertoken.events": (
        *("TokenRenewed", "RenewalFailed", "TokenRefused", "TokenRevoked", "Replayed"),
        *("RejectedAgain", "LoginEnding", "StoreDegraded", "StoreRecovered"),
    ),
    "evertoken.ports": (
        *("Grant", "TokenStore", "ClockedStore", "LeasedStore", "RemoteStore", "FallibleStore"),
    ),
    "evertoken.stores.redis": ("RedisStore",),
    "evertoken.clients.httpx": ("BearerAuth",),
    "evertoken.clients.httpx2": ("BearerAuth",),
    "evertoken.clients.aiohttp": ("bearer_auth",),
    "evertoken.contrib.prometheus": ("PrometheusEvents",),
    "evertoken.contrib.opentelemetry": ("OpenTelemetryEvents",),
    "evertoken.testing": None,
    "evertoken.testing.plugin": (
        *("token_server", "token_manager", "squadrun_environment", "frozen_time_manager"),
    ),
}
"""Where public names are; None: all names in the module's `__all__`."""


HIDDEN = ("_", "test_", "renew_in_child")
"""How names begin that users neither call nor read."""


def lines() -> Iterator[str]:
    """Every public name, in the order of its module and of its definition."""
    for module, names in MODULES.items():
        yield f"# {module}"
        found = importlib.import_module(module)
        for name in names or sorted(found.__all__):
            yield from _described(name, getattr(found, name))


def _described(name: str, value: object) -> Iterator[str]:
    if isinstance(value, type):
        yield from _class(name, value)
    elif callable(value):
        yield f"{name}{_signature(value)}"
    else:
        yield name


def _class(name: str, kind: type) -> Iterator[str]:
    bases = [base.__name__ for base in kind.__bases__ if base not in {object, tuple}]
    # a protocol is never called
    signature = "" if getattr(kind, "_is_protocol", False) else _signature(kind)
    yield f"{name}{signature}" + (f" is a {', '.join(bases)}" if bases else "")
    for member, value in _members(kind).items():
        if isinstance(value, classmethod | staticmethod | FunctionType):
            called = getattr(kind, member)
            awaited = "await " if inspect.iscoroutinefunction(called) else ""
            yield f"{awaited}{name}.{member}{_signature(called)}"
        elif isinstance(value, property | dataclasses.Field | MemberDescriptorType):
            yield f"{name}.{member}"


def _members(kind: type) -> dict[str, object]:
    """What it has of its own or of a base of this package, unless the base is public itself."""
    found: dict[str, object] = {}
    for part in reversed(kind.__mro__):
        ours = part.__module__.startswith("evertoken")
        if part is kind or (ours and not hasattr(evertoken, part.__name__)):
            found |= vars(part)
    if dataclasses.is_dataclass(kind):
        found |= {each.name: each for each in dataclasses.fields(kind)}
    return {name: it for name, it in found.items() if not name.startswith(HIDDEN)}


def _signature(called: object) -> str:
    """Names and defaults alone: a type checker looks at the types."""
    plain = [
        parameter.replace(annotation=Parameter.empty)
        for parameter in inspect.signature(called).parameters.values()  # type: ignore[arg-type]
    ]
    # an object that shows its address is another one in each process
    return re.sub(r" object at 0x\w+", "", str(inspect.Signature(plain)))
