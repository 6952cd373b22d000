"""The command `evertoken` and its commands; each is loaded when it is named."""

from __future__ import annotations

from importlib import import_module

from evertoken.runtime import extras

with extras.needed("evertoken.cli", "cli"):
    import click

_COMMANDS = {
    "token": "token:token",
    "header": "token:header",
    "exec": "execute:execute",
    "status": "status:status",
    "refresh": "token:refresh",
    "revoke": "revoke:revoke",
    "login": "login:login",
    "sandbox": "sandbox:sandbox",
    "demo": "demo:demo",
}
"""Module and function of each command, in the order of `--help`."""

_EPILOG = """\b
Settings come from options, then from SQUADRUN_BASE_URL, _CLIENT_ID, _USERNAME,
_TOKEN_DIR, then from a profile of the config file. Secrets are never options:
they come from SQUADRUN_CLIENT_SECRET and SQUADRUN_PASSWORD
(or these with _FILE or _COMMAND), from the profile's password_file or
password_command, from the keyring, or from a prompt.

\b
Exit status: 0 success, 1 no answer or an invalid one, 2 wrong usage or a missing
setting, 3 no usable token (status), 4 credentials refused, 130 interrupted; for
exec, that of the program.

\b
Completion for bash (zsh, fish alike):
  eval "$(_EVERTOKEN_COMPLETE=bash_source evertoken)"
"""


class Commands(click.Group):
    """Imports the module of a command when the command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The names of the commands, in the order of `--help`."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """The command; None if there is no such command."""
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"evertoken.cli.commands.{module}"), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(package_name="evertoken")
def evertoken() -> None:
    """Keep an OAuth 2.0 access token fresh."""
