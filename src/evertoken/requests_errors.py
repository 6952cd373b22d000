"""Errors raised inside `requests`: a `TokenError` that is a `requests.RequestException` too.

Code that catches `requests.RequestException` or `TokenError` around `session.get(…)` then also
catches errors of `auth=`. Each kind of `TokenError` has one such subclass, of the same name, made
at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from requests import RequestException

from evertoken import errors

if TYPE_CHECKING:
    from evertoken.errors import TokenError

    Parts = tuple[type[TokenError], str, dict[str, object]]

_OF_REQUESTS = {"request": None, "response": None}
"""Attributes of every `RequestException`. They stay None here: a request holds secrets."""

_joined: dict[type[TokenError], type[TokenError]] = {}
"""The joined classes, by their plain kind."""


def for_requests(error: TokenError) -> TokenError:
    """Return an equal error that is a `requests.RequestException` too.

    It has no traceback, cause or context. Raise it outside the except block that caught `error`,
    which would become its context.
    """
    plain = error.again()
    return _rebuilt(*_parts(type(plain), plain))


def _rebuilt(kind: type[TokenError], message: str, attributes: dict[str, object]) -> TokenError:
    return errors.rebuild(_join(kind), message, attributes)


def _parts(kind: type[TokenError], error: TokenError) -> Parts:
    kept = {name: it for name, it in vars(error).items() if name not in _OF_REQUESTS}
    return kind, str(error), kept


def _join(kind: type[TokenError]) -> type[TokenError]:
    if kind not in _joined:
        # if two threads get here at once, both use the class of the first
        _joined.setdefault(kind, _subclass(kind))
    return _joined[kind]


def _subclass(kind: type[TokenError]) -> type[TokenError]:
    members = {
        # TimeoutError ends the constructor chain before RequestException's sets them
        **_OF_REQUESTS,
        "__module__": __name__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        # by its plain kind: a joined class of a user's kind cannot be imported from this module
        "__reduce__": lambda error: (_rebuilt, _parts(kind, error)),
        # returns the plain kind: a manager keeps errors of callables, which may call an API
        "again": lambda error: errors.rebuild(*_parts(kind, error)),
    }
    try:
        return cast("type[TokenError]", type(kind.__name__, (kind, RequestException), members))
    except TypeError:
        # a kind with slots, or with AttributeError as a base, conflicts with the layout of OSError
        return _join(next(it for it in kind.__mro__[1:] if issubclass(it, errors.TokenError)))


# a type checker would accept any name of this module
if not TYPE_CHECKING:

    def __getattr__(name: str) -> type[TokenError]:
        # a class pickles by its module and name
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, errors.TokenError):
            return _join(kind)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
