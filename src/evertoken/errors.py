"""The library's errors; `capture` returns them as values, `discreet` keeps secrets out of frames.

No HTTP library is loaded here. An error that leaves an HTTP client also becomes one of that
client's exceptions; `requests_errors` does this for `requests`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable


E = TypeVar("E", bound="TokenError")
T = TypeVar("T")
P = ParamSpec("P")


class TokenError(Exception):
    """No usable token is available.

    It carries no request, response or cause: an HTTP client's exception holds the request, whose
    body has the password, so it is never chained here.

    Attributes:
        status: the HTTP status of the token endpoint's answer.
        content_type: that answer's media type.
        error: the OAuth error code (RFC 6749 section 5.2).
        description: the server's own words, control characters escaped, at most 200 characters;
            withheld if they may repeat a credential.
        retry_after: the seconds for which the server asked to wait (`Retry-After`).
        transient: whether a retry soon may help.
        local: whether it happened before anything was sent (an unreadable credential, DNS, a
            refused connection, an untrusted certificate, a proxy). It says nothing about the
            endpoint, so other processes still send requests.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        content_type: str | None = None,
        error: str | None = None,
        description: str | None = None,
        retry_after: float | None = None,
        transient: bool = False,
        local: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.content_type = content_type
        self.error = error
        self.description = description
        self.retry_after = retry_after
        self.transient = transient
        self.local = local

    def __reduce__(self) -> tuple[Callable[..., TokenError], tuple[object, ...]]:
        # the default calls the constructor with the message, which a subclass may not accept
        return rebuild, (type(self), str(self), dict(self.__dict__))

    def again(self) -> Self:
        """An equal error without traceback or context, to raise in another thread."""
        return rebuild(type(self), str(self), self.__dict__)


class GrantRefused(TokenError):
    """The token endpoint refused the credentials, whatever the status of its answer.

    Its error code is `invalid_grant`, `invalid_client` or `unauthorized_client` (RFC 6749 section
    5.2). The error is remembered for the refusal cool-down, since another try could lock the
    account.
    """


class GrantUnavailable(TokenError):
    """No verdict from the token endpoint: network, TLS, proxy, any 5xx, or another 4xx.

    `transient` is false for an untrusted certificate, for a proxy's 407, and if the endpoint
    rejects the request itself (`invalid_request`, `invalid_scope`, `unsupported_grant_type`).
    """


class InvalidTokenResponse(TokenError):
    """The endpoint answered without a usable token (RFC 6749 section 5.1), or with a 3xx."""


class RefreshTimeout(TokenError, TimeoutError):
    """No token arrived within the caller's timeout. The renewal goes on."""


class RevocationFailed(TokenError):
    """The server did not confirm a revocation (RFC 7009), or there is no `revoke_url`.

    The tokens are still dropped locally.
    """


class InsecureURL(TokenError, ValueError):
    """A request would send a secret over the network in plain text.

    Its URL is `http://` and neither on loopback nor allowed by `allow_http`, or it is on loopback
    and the environment would send it through a proxy.
    """


class ConfigurationError(TokenError, ValueError):
    """A setting is missing or has a value that it cannot have; nothing was sent.

    The message names all that is missing at once, and how to set it.
    """


def capture(call: Callable[[], T]) -> T | TokenError:
    """Return what `call` returns, or its error without traceback, context or cause.

    Any other exception of a grant or of a credential's callable may quote a secret, so the error
    only names its type.
    """
    try:
        return call()
    except TokenError as raised:
        # Not kept in a variable: its traceback holds this frame, and so the frames that hold a
        # form.
        return raised.again()
    # Ctrl-C is meant for the program
    except (KeyboardInterrupt, GeneratorExit):
        raise
    # a panic of a Rust library, sys.exit(): it must not end a pool thread, and the caller gets an
    # error
    except BaseException as raised:  # noqa: BLE001  it may raise anything
        name = type(raised).__name__
    return GrantUnavailable(f"the renewal failed: {name} was raised", transient=True, local=True)


def discreet(call: Callable[P, T]) -> Callable[P, T]:
    """Wrap `call` so that the traceback of its errors has no frame that was given a secret.

    Debuggers and error reporters show the local variables of each frame. The traceback ends at the
    caller of `call`; cause and context are removed, since they have frames of their own.
    """

    @functools.wraps(call)
    def wrapper(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return call(*arguments, **options)
        except Exception as raised:  # noqa: BLE001  raised again below
            error = raised.with_traceback(None)
        error.__cause__ = error.__context__ = None
        # local variables of this frame, which the traceback holds
        del arguments, options
        try:
            raise error
        finally:
            # breaks the cycle with its own traceback
            del error

    return wrapper


def rebuild(kind: type[E], message: str, attributes: dict[str, object]) -> E:
    """Return an error of `kind` with `message` and `attributes`, without calling its constructor.

    A subclass may have other constructor parameters.
    """
    # With several built-in bases `kind.__new__` may reject `kind`. The one of the base that
    # determines the memory layout never does.
    new = cast("Callable[..., E]", kind.__base__.__new__)
    error = new(kind, message)
    TokenError.__init__(error, message)
    error.__dict__.update(attributes)
    return error
