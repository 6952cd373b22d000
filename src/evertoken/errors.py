"""What can go wrong: one family of errors that a handler for failed requests already catches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from requests import RequestException

if TYPE_CHECKING:
    from collections.abc import Callable


E = TypeVar("E", bound="TokenError")
T = TypeVar("T")


class TokenError(RequestException):
    """No usable token could be had.

    It carries no request, no response and no cause: a `requests` exception holds the request with
    the password in its body, so none is ever chained here.

    Attributes:
        status: the HTTP status of the token endpoint's answer.
        content_type: that answer's media type.
        error: the OAuth error code (RFC 6749 section 5.2).
        description: the server's own words, control characters escaped, at most 200 characters;
            withheld if they may repeat a credential.
        retry_after: how long the server asked to be left alone, in seconds.
        transient: whether another try soon may help.
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
    ) -> None:
        super().__init__(message)
        self.status = status
        self.content_type = content_type
        self.error = error
        self.description = description
        self.retry_after = retry_after
        self.transient = transient

    def __reduce__(self) -> tuple[Callable[..., TokenError], tuple[object, ...]]:
        # OSError rebuilds from its arguments alone and would lose the attributes
        return _rebuild, (type(self), str(self), dict(self.__dict__))

    def again(self) -> Self:
        """An equal error without traceback or context, to raise in another thread."""
        return _rebuild(type(self), str(self), self.__dict__)


class GrantRefused(TokenError):
    """The token endpoint said that asking again will not help: a 4xx but 407, 408, 425 and 429.

    Remembered for the refusal cool-down, since the next try could lock the account.
    """


class GrantUnavailable(TokenError):
    """The token endpoint could not be asked: network, TLS, proxy, 5xx, 408, 425 or 429.

    `transient` is false for distrusted TLS and for a proxy's 407.
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


def caught(call: Callable[[], T]) -> T | TokenError:
    """What `call` returns, or its error without traceback, context or cause.

    Whatever else a grant or a credential's callable raises may quote a secret: only its type is
    told.
    """
    try:
        return call()
    except TokenError as raised:
        error = raised
    # a callable that calls sys.exit() ends no thread of ours, and its caller is told why
    except (Exception, SystemExit) as raised:  # noqa: BLE001  it may raise anything else too
        name = type(raised).__name__
        error = GrantUnavailable(f"the renewal could not be done: {name}", transient=True)
    return error.again()


def _rebuild(kind: type[E], message: str, attributes: dict[str, object]) -> E:
    error = kind.__new__(kind, message)
    TokenError.__init__(error, message)
    error.__dict__.update(attributes)
    return error
