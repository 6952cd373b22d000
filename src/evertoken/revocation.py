"""One revocation across threads, processes and machines: whatever token a store holds goes too."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from evertoken import credentials
from evertoken.errors import RevocationFailed, TokenError, capture
from evertoken.token import token_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evertoken.claim import Claim
    from evertoken.ports import Grant, TokenStore
    from evertoken.token import Token, TokenKey


def revoke(
    claim: Claim,
    key: TokenKey,
    stores: Sequence[TokenStore],
    held: Token | None,
    *,
    patience: float,
) -> tuple[Sequence[Token], TokenError | None]:
    """Revoke `held` and what the stores hold, and forget it everywhere all the same.

    A token that the stores hold for other credentials stays: who has a wrong password must not end
    the token of the right one.

    Args:
        claim: which of the stores' tokens are the manager's.
        key: whose token.
        stores: near to far, the only order of locks.
        held: what the manager sends.
        patience: seconds to wait for each lock before going on without it.

    Returns:
        The tokens, and the first error.
    """
    _recognise(claim, key)
    with contextlib.ExitStack() as locks:
        for store in stores:
            locks.enter_context(store.lock(key, timeout=patience))
        entries = [held, *(claim.covered(key, store.load(key)) for store in stores)]
        tokens = {token.value: token for token in map(token_of, entries) if token is not None}
        errors = [_revoke(claim.grant, token) for token in tokens.values()]
        for store in reversed(stores):
            for token in tokens.values():
                store.forget(key, token)
    return tuple(tokens.values()), next(filter(None, errors), None)


def _recognise(claim: Claim, key: TokenKey) -> None:
    """Have the owner of the token recognise the manager, where only reading both can tell."""
    owner = claim.memory.owner(key)
    if owner is None or owner.matches(claim.source, None):
        return
    found = capture(lambda: credentials.read(claim.grant))
    if isinstance(found, TokenError) or found.key != key:
        return
    claim.memory.admits(key, found.source, fingerprint=claim.identified(found), proof=claim.proof)


def _revoke(grant: Grant, token: Token) -> TokenError | None:
    answer = capture(lambda: grant.revoke(token))
    if answer is None or isinstance(answer, RevocationFailed):
        return answer
    return RevocationFailed(f"the token was not revoked: {answer}", transient=answer.transient)
