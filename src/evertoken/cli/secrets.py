"""Reads secrets from a variable, a file, a command, the keyring or a prompt."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from evertoken.cli.exits import Unusable
from evertoken.cli.settings import Kind
from evertoken.runtime.extras import how_to_install
from evertoken.stores.private_folders import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from evertoken.cli.settings import Settings


def read(settings: Settings, name: str, *, ask: bool) -> str:
    """The secret `name`: `"client_secret"` or `"password"`.

    Args:
        settings: give its source.
        name: the name of the setting.
        ask: prompt for it on a terminal if no setting gives it.

    Raises:
        Unusable: it is missing or cannot be read.
    """
    source = settings.secrets.get(name)
    if source is None:
        return _prompted(name, ask=ask)
    match source.kind:
        case Kind.TEXT:
            return source.value
        case Kind.FILE:
            return _first_line(name, _of_file(name, source.value))
        case Kind.COMMAND:
            return _first_line(name, _of_command(name, source.value))
        case Kind.KEYRING:
            return _of_keyring(settings, name)


def unset(settings: Settings, *, ask: bool) -> tuple[str, ...]:
    """The secrets that no setting gives, if there is no terminal to ask on."""
    if ask and sys.stdin.isatty():
        return ()
    return tuple(name for name in settings.needed if name not in settings.secrets)


def has(settings: Settings, name: str) -> bool:
    """Whether a setting gives the secret, or the keyring that a profile names has it.

    Raises:
        Unusable: the keyring cannot tell. A locked one must not turn the client into a public one,
            which the server would refuse.
    """
    source = settings.secrets.get(name)
    if source is None or source.kind is not Kind.KEYRING:
        return source is not None
    return bool(_stored(settings, name))


def prompt(name: str) -> str:
    """Prompt for it on standard error, without an echo."""
    return str(click.prompt(name.replace("_", " ").capitalize(), hide_input=True, err=True))


def keep(settings: Settings, values: dict[str, str]) -> None:
    """Put secrets into the keyring.

    Raises:
        Unusable: no keyring works, or it keeps nothing, as the one that is switched off.
    """
    with _private_umask(), _keyring() as keyring:
        for name, value in values.items():
            keyring.set_password(*_place(settings, name), value)
            if keyring.get_password(*_place(settings, name)) != value:
                raise Unusable("the keyring of this system keeps nothing")


def plain_file() -> str | None:
    """The file in which the keyring would keep secrets in plain text.

    Returns:
        None if it encrypts them, or passes them to the system.

    Raises:
        Unusable: no keyring is available.
    """
    with _keyring() as keyring:
        backend: object = keyring.get_keyring()
        # a chain of backends writes to its first one
        backend = next(iter(getattr(backend, "backends", ())), backend)
        if not _is_plain(backend):
            return None
        return str(getattr(backend, "file_path", f"a file of {type(backend).__name__}"))


def _is_plain(backend: object) -> bool:
    # keyring has no attribute for it: the backends of keyrings.alt have such names
    return any("plaintext" in kind.__name__.lower() for kind in type(backend).__mro__)


def _prompted(name: str, *, ask: bool) -> str:
    if ask and sys.stdin.isatty():
        return prompt(name)
    kept = "`evertoken login` keeps it where the system has a keyring"
    raise Unusable(f"no {name}: {_elsewhere(name)}; {kept}")


def _elsewhere(name: str) -> str:
    return f"set SQUADRUN_{name.upper()}, or {name}_file or {name}_command in a profile"


def _of_file(name: str, path: str) -> str:
    place = expanded(path)
    try:
        return place.read_text(encoding="utf-8")
    except OSError as error:
        raise Unusable(f"{name}_file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Unusable(f"{name}_file {path} is not UTF-8 text") from None


def _of_command(name: str, command: str) -> str:
    """Its output. It keeps the terminal as standard input and error, since it may prompt."""
    try:
        done = subprocess.run(  # noqa: S603  the user's own command, without a shell
            shlex.split(command), stdout=subprocess.PIPE, check=False, encoding="utf-8"
        )
    except OSError as error:
        raise Unusable(f"{name}_command cannot be run: {error.strerror}") from None
    except ValueError:
        # the command is not shown: a user may have put the secret there
        raise Unusable(f"{name}_command is not a command, or does not print UTF-8 text") from None
    if done.returncode:
        raise Unusable(f"{name}_command ended with status {done.returncode}")
    return done.stdout


def _first_line(name: str, text: str) -> str:
    """The first line: `pass` and similar tools keep notes below the secret."""
    if line := text.partition("\n")[0].removesuffix("\r"):
        return line
    raise Unusable(f"no {name}: its first line is empty")


def _of_keyring(settings: Settings, name: str) -> str:
    value = _stored(settings, name)
    if not value:
        raise Unusable(f"no {name} in the keyring: run `evertoken login`")
    return value


def _stored(settings: Settings, name: str) -> str | None:
    try:
        with _keyring() as keyring:
            value: str | None = keyring.get_password(*_place(settings, name))
    except Unusable as error:
        raise Unusable(f"no {name}: {error.message}; {_elsewhere(name)}") from None
    return value


@contextlib.contextmanager
def _keyring() -> Iterator[ModuleType]:
    """The keyring of the system; its exceptions become `Unusable`."""
    try:
        import keyring  # noqa: PLC0415  it is an extra
        from keyring.errors import KeyringError, NoKeyringError  # noqa: PLC0415  likewise
    except ImportError:
        raise Unusable(f"a keyring needs a package: {how_to_install('keyring')}") from None
    try:
        yield keyring
    except NoKeyringError:
        raise Unusable("no usable keyring was found on this system") from None
    except KeyringError as error:
        raise Unusable(f"the keyring did not answer: {type(error).__name__}") from None


@contextlib.contextmanager
def _private_umask() -> Iterator[None]:
    """Set a private umask: a keyring that writes files creates its folders by it."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _place(settings: Settings, name: str) -> tuple[str, str]:
    """Service and user name of the secret in the keyring."""
    owner = settings.username if name == "password" else settings.client_id
    return f"evertoken {settings.base_url}", f"{name} of {owner}"
