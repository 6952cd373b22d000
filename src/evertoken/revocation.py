"""One revocation across threads, processes and machines: whatever token a store holds goes too."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from evertoken.errors import RevocationFailed, TokenError, capture
from evertoken.token import token_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evertoken.ports import Grant, TokenStore
    from evertoken.token import Token


def revoke(
    grant: Grant, stores: Sequence[TokenStore], held: Token | None, *, patience: float
) -> tuple[Sequence[Token], TokenError | None]:
    """Revoke `held` and what the stores hold, and forget it everywhere all the same.

    Args:
        grant: asks the server.
        stores: near to far, the only order of locks.
        held: what the manager sends.
        patience: seconds to wait for each lock before going on without it.

    Returns:
        The tokens, and the first error.
    """
    key = grant.key
    with contextlib.ExitStack() as locks:
        for store in stores:
            locks.enter_context(store.lock(key, timeout=patience))
        entries = [held, *(store.load(key) for store in stores)]
        tokens = {token.value: token for token in map(token_of, entries) if token is not None}
        errors = [_revoke(grant, token) for token in tokens.values()]
        for store in reversed(stores):
            for token in tokens.values():
                store.forget(key, token)
    return tuple(tokens.values()), next(filter(None, errors), None)


def _revoke(grant: Grant, token: Token) -> TokenError | None:
    answer = capture(lambda: grant.revoke(token))
    if answer is None or isinstance(answer, RevocationFailed):
        return answer
    return RevocationFailed(f"the token was not revoked: {answer}", transient=answer.transient)
