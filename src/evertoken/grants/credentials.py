"""Credentials as they are given and read: text, or a callable."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from evertoken.errors import ConfigurationError, GrantUnavailable, TokenError

Secret = str | Callable[[], str]


def given(name: str, secret: Secret) -> Secret:
    """`secret`, of a kind that can be read.

    Raises:
        ConfigurationError: it is empty.
        TypeError: it is neither text nor callable.
    """
    require({name: secret})
    if not (isinstance(secret, str) or callable(secret)):
        raise TypeError(f"{name} must be text or a callable that returns it")
    return secret


def require(secrets: Mapping[str, Secret]) -> None:
    """Check that none of `secrets`, by the names of their options, is empty or None.

    Raises:
        ConfigurationError: names all that are.
    """
    if empty := [name for name, secret in secrets.items() if not secret]:
        are = "is" if len(empty) == 1 else "are"
        raise ConfigurationError(
            f"{' and '.join(empty)} {are} empty: give text, or a callable that returns it"
        )


def read(name: str, secret: Secret) -> str:
    """The credential, fit to be sent (RFC 6749 appendix B: as UTF-8).

    Raises:
        GrantUnavailable: there is none, or it is no Unicode.
    """
    text = _asked(name, secret)
    # what the environment holds in another encoding; the error of encode() would quote it
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise GrantUnavailable(f"the {name} is not valid Unicode: give it as UTF-8", local=True)
    return text


def _asked(name: str, secret: Secret) -> str:
    """The credential; the error of a callable is told by its type alone: it may quote a secret."""
    if isinstance(secret, str):
        return secret
    failed = ""
    raised: TokenError | None = None
    value: object = None
    try:
        value = secret()
    except TokenError as error:
        raised = error.again()
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001  a user's callable may raise anything
        failed = f": its callable raised {type(error).__name__}"
    if isinstance(value, str) and value:
        return value
    if raised is None:
        raised = GrantUnavailable(f"could not read the {name}{failed}", transient=True)
    # whatever its kind: no server has judged anything
    raised.local = True
    raise raised
