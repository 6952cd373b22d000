"""`BearerAuth` for httpx (extra: `httpx`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from evertoken.client_errors import Family
from evertoken.clients.httpx_auth import HttpxAuth
from evertoken.runtime import extras

with extras.needed("evertoken.clients.httpx", "httpx"):
    import httpx

if TYPE_CHECKING:
    from types import ModuleType

    from evertoken.errors import TokenError

FAMILY = Family(__name__, httpx.HTTPError, {"_request": None})


class BearerAuth(HttpxAuth[httpx.Request, httpx.Response], httpx.Auth):
    """`auth=` of `httpx.Client` and `httpx.AsyncClient`, bound to the token's origins.

    Options and behaviour are those of `evertoken.BearerAuth`. A task that waits for a token does
    not block its event loop. The differences:

    - httpx follows redirects without asking an auth. It keeps the token within an origin, drops it
      on the way to any other, and keeps it from `http://` to `https://` on one host. If it has
      dropped the token on the way to another one of `origins`, and that one refuses the request,
      the request is sent there once more, with the token.
    - A rejected request whose body is a stream, or a file given as `content=`, is not sent again.
    - `is_unauthorized` gets responses whose body has been read, so it does not suit streaming.
    - Errors of this auth are an `httpx.HTTPError` as well as a `TokenError`.

    ```python
    import httpx
    from evertoken import squadrun
    from evertoken.clients.httpx import BearerAuth

    auth = BearerAuth(squadrun.manager(), origins=["https://api.example.com"])
    with httpx.Client(auth=auth) as client:
        client.get("https://api.example.com/things")
    ```
    """

    client: ClassVar[ModuleType] = httpx
    family: ClassVar[Family] = FAMILY


# a type checker would accept any name of this module
if not TYPE_CHECKING:

    def __getattr__(name: str) -> type[TokenError]:
        return FAMILY.named(name)
