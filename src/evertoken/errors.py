"""The errors that the library raises; `capture` keeps one as a value, `discreet` bares its frames.

No HTTP library is loaded here. Where an error leaves an HTTP client, that client's edge makes it
one of the client's own exceptions too: `requests_errors` does so for `requests`.
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

    It carries no request, no response and no cause: the exception of an HTTP client holds the
    request with the password in its body, so none is ever chained here.

    Attributes:
        status: the HTTP status of the token endpoint's answer.
        content_type: that answer's media type.
        error: the OAuth error code (RFC 6749 section 5.2).
        description: the server's own words, control characters escaped, at most 200 characters;
            withheld if they may repeat a credential.
        retry_after: how long the server asked to be left alone, in seconds.
        transient: whether another try soon may help.
        local: whether it happened before anything was sent (a credential could not be read, DNS,
            a refused connection, distrusted TLS, a proxy): it says nothing of the endpoint, and
            does not keep other processes from asking.
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
        # the default calls the constructor with the message, which a subclass may not take
        return rebuild, (type(self), str(self), dict(self.__dict__))

    def again(self) -> Self:
        """An equal error without traceback or context, to raise in another thread."""
        return rebuild(type(self), str(self), self.__dict__)


class GrantRefused(TokenError):
    """The token endpoint judged the credentials, whatever the status of its answer.

    Only `invalid_grant`, `invalid_client` and `unauthorized_client` do that (RFC 6749 section 5.2).
    It is remembered for the refusal cool-down, since the next try could lock the account.
    """


class GrantUnavailable(TokenError):
    """No answer to the question: network, TLS, proxy, any 5xx, or a 4xx without a verdict.

    `transient` is false for distrusted TLS, for a proxy's 407, and where the endpoint calls the
    request itself wrong (`invalid_request`, `invalid_scope`, `unsupported_grant_type`).
    """


class InvalidTokenResponse(TokenError):
    """The endpoint answered, but not with a usable token (RFC 6749 section 5.1), or with a 3xx."""


class RefreshTimeout(TokenError, TimeoutError):
    """The caller's own timeout passed before a token was there. The renewal itself goes on."""


class RevocationFailed(TokenError):
    """The server did not confirm a revocation (RFC 7009), or there is no `revoke_url`.

    The tokens are dropped locally all the same.
    """


class InsecureURL(TokenError, ValueError):
    """A request would send a secret off this machine in plain text.

    Its URL is `http://`, and neither on loopback nor covered by `allow_http`; or it is on loopback,
    and the environment would send it through a proxy.
    """


class ConfigurationError(TokenError, ValueError):
    """A setting is missing or has a value that it cannot have; nothing was sent.

    The message names all that is missing at once, and how to set it.
    """


def capture(call: Callable[[], T]) -> T | TokenError:
    """Return what `call` returns, or its error without traceback, context or cause.

    Whatever else a grant or a credential's callable raises may quote a secret, so only its type is
    told.
    """
    try:
        return call()
    except TokenError as raised:
        # not kept in a variable: its traceback holds this frame, and with it those that hold a form
        return raised.again()
    # Ctrl-C is not the callable's
    except (KeyboardInterrupt, GeneratorExit):
        raise
    # the panic of a library in Rust, sys.exit(): it ends no thread of ours, and its caller is told
    except BaseException as raised:  # noqa: BLE001  it may raise anything
        name = type(raised).__name__
    return GrantUnavailable(f"the renewal could not be done: {name}", transient=True, local=True)


def discreet(call: Callable[P, T]) -> Callable[P, T]:
    """Return `call`, with errors whose traceback has no frame that was given a secret.

    Debuggers and error reporters show the local variables of each frame. The traceback ends where
    `call` was called; cause and context are cut, since they have frames of their own.
    """

    @functools.wraps(call)
    def wrapper(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return call(*arguments, **options)
        except Exception as raised:  # noqa: BLE001  raised again below
            error = raised.with_traceback(None)
        error.__cause__ = error.__context__ = None
        # of this frame, which the traceback holds
        del arguments, options
        try:
            raise error
        finally:
            # a cycle with its own traceback
            del error

    return wrapper


def rebuild(kind: type[E], message: str, attributes: dict[str, object]) -> E:
    """Return an error of `kind` with `message` and `attributes`, without calling its constructor.

    A subclass may have a constructor with other parameters.
    """
    # with several built-in bases `kind.__new__` may be one that refuses `kind`; that of the base
    # whose memory layout it has never does
    new = cast("Callable[..., E]", kind.__base__.__new__)
    error = new(kind, message)
    TokenError.__init__(error, message)
    error.__dict__.update(attributes)
    return error
