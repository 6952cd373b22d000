"""Errors raised inside `requests`: each is a `TokenError` and a `requests.RequestException`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from requests import RequestException

from evertoken.client_errors import Family

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.errors import TokenError

# the attributes stay None: a request holds secrets
FAMILY = Family(__name__, RequestException, {"request": None, "response": None})

for_requests: Callable[[TokenError], TokenError] = FAMILY.of

# a type checker would accept any name of this module
if not TYPE_CHECKING:

    def __getattr__(name: str) -> type[TokenError]:
        return FAMILY.named(name)
