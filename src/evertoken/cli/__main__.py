"""Starts the command `evertoken`; one sentence names the packages that are not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from evertoken.runtime.extras import how_to_install

_NEEDED = ("click", "platformdirs", "rich", "tomlkit")


def main() -> None:
    """Run the command line; exit status 2 where its extra is not installed."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        sys.stderr.write(
            f"evertoken: the command line needs {', '.join(missing)}, not installed here: "
            f"{how_to_install('cli')}\n"
        )
        sys.exit(2)
    # only now: this module must also run where click is not there
    from evertoken.cli.app import evertoken  # noqa: PLC0415  as said above

    evertoken()


if __name__ == "__main__":
    main()
