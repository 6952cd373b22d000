"""A grant that is a function of the user's own, for an API with a login of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evertoken.core.token import Token
from evertoken.errors import RevocationFailed, TokenError, capture, discreet
from evertoken.grants.named_grant import NamedGrant
from evertoken.runtime.lazy import lazy

if TYPE_CHECKING:
    from collections.abc import Callable

    from evertoken.grants import fetched
    from evertoken.grants.credentials import Secret
else:
    fetched = lazy("evertoken.grants.fetched")  # it loads requests


class FunctionGrant(NamedGrant):
    """Asks a function for a token.

    ```python
    import os
    import requests
    from evertoken import FunctionGrant, TokenManager


    def log_in():
        account = {"user": "billing", "password": os.environ["PASSWORD"]}
        answer = requests.post("https://api.example.com/login", json=account, timeout=10)
        answer.raise_for_status()
        body = answer.json()
        return body["token"], body["seconds"]  # the token, and how long it lives


    manager = TokenManager(FunctionGrant(log_in, name="billing"))
    manager.token()
    ```

    Args:
        fetch: returns the token and its seconds to live, a `Token`, or a `requests.Response` that
            is read by RFC 6749 section 5. What `requests` raises is told apart. It may raise
            `GrantRefused`; anything else it raises is a failure of this process alone.
        name: the identity: whose token it is, in stores, logs and errors.
        credentials: text or a callable: what tells changed credentials from refused ones, so that a
            new password ends a cool-down at once. It is hashed, and never shown.
        revoke: called with a token to revoke it.
        deadline: seconds after which a call counts as hung, and the next caller starts another.

    Raises:
        ValueError, TypeError: `name` is empty, `fetch` is not callable.
    """

    __slots__ = ("_revoke", "deadline")

    def __init__(
        self,
        fetch: Callable[[], fetched.Fetched],
        *,
        name: str,
        credentials: Secret | None = None,
        revoke: Callable[[Token], None] | None = None,
        deadline: float = 30.0,
    ) -> None:
        if not callable(fetch):
            raise TypeError("fetch must be callable")
        super().__init__(name, fetch, credentials)
        self._revoke = revoke
        self.deadline: float = deadline

    @discreet
    def request(self) -> Token:
        """Call the function once; its `TokenError` shows nothing of what the function had."""
        answer = fetched.token_from(self._how)
        if isinstance(answer, Token):
            return answer
        raise answer

    def revoke(self, token: Token) -> None:
        """Have `token` revoked; `RevocationFailed` if there is no `revoke`, or it raised."""
        revoke = self._revoke or _no_revocation
        if (error := capture(lambda: revoke(token))) is not None:
            raise RevocationFailed(f"the token was forgotten here, and lives on: {error}")


def _no_revocation(_token: Token) -> None:
    raise TokenError("no revoke= was given")
