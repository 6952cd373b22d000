"""Errors raised inside an HTTP client: a `TokenError` that is an error of that client too.

Code that catches the client's base error, or `TokenError`, around a call of the client then also
catches errors of its auth. Each kind of `TokenError` has one such subclass per client, of the same
name, made at its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, TypeVar, cast

from evertoken import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evertoken.errors import TokenError

    Parts = tuple[str, type[TokenError], str, dict[str, object]]

T = TypeVar("T")


class Family:
    """The errors of one HTTP client.

    Args:
        module: the module that exports these errors by name, and this object as `FAMILY`.
        base: the client's base error.
        attributes: the attributes of all its errors, with values that hold no secret.
    """

    def __init__(
        self, module: str, base: type[Exception], attributes: Mapping[str, object]
    ) -> None:
        self._module = module
        self._base = base
        self._attributes = dict(attributes)
        self._joined: dict[type[TokenError], type[TokenError]] = {}

    def of(self, error: TokenError) -> TokenError:
        """Return an equal error that is also an error of the client.

        It has no traceback, cause or context. Raise it outside the except block that caught
        `error`, which would become its context.
        """
        plain = error.again()
        return rebuilt(*self._parts(type(plain), plain))

    def named(self, name: str) -> type[TokenError]:
        """The class of that name, for the `__getattr__` of `module`: a class pickles by its name.

        Raises:
            AttributeError: no kind of `TokenError` has that name.
        """
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, errors.TokenError):
            return self.join(kind)
        raise AttributeError(f"module {self._module!r} has no attribute {name!r}")

    def join(self, kind: type[TokenError]) -> type[TokenError]:
        """The class that derives from both `kind` and the client's base error."""
        if kind not in self._joined:
            # if two threads get here at once, both use the class of the first
            self._joined.setdefault(kind, self._subclass(kind))
        return self._joined[kind]

    def _parts(self, kind: type[TokenError], error: TokenError) -> Parts:
        kept = {name: it for name, it in vars(error).items() if name not in self._attributes}
        return self._module, kind, str(error), kept

    def _subclass(self, kind: type[TokenError]) -> type[TokenError]:
        members = {
            # TimeoutError ends the constructor chain before the client's constructor sets them
            **self._attributes,
            "__module__": self._module,
            "__qualname__": kind.__qualname__,
            "__doc__": kind.__doc__,
            # by its plain kind: a joined class of a user's kind cannot be imported from the module
            "__reduce__": lambda error: (rebuilt, self._parts(kind, error)),
            # returns the plain kind: a manager keeps errors of callables, which may call an API
            "again": lambda error: errors.rebuild(*self._parts(kind, error)[1:]),
        }
        try:
            return cast("type[TokenError]", type(kind.__name__, (kind, self._base), members))
        except TypeError:
            # a kind with slots, or with AttributeError as a base, conflicts with OSError's layout
            return self.join(
                next(it for it in kind.__mro__[1:] if issubclass(it, errors.TokenError))
            )


def rebuilt(
    module: str, kind: type[TokenError], message: str, attributes: dict[str, object]
) -> TokenError:
    """Rebuild a pickled error of the family of `module`."""
    family: Family = importlib.import_module(module).FAMILY
    return errors.rebuild(family.join(kind), message, attributes)
