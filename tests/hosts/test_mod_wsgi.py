"""An application that Apache's mod_wsgi runs in daemon processes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from support import host_call
from support.host_run import Trial, foreign_path
from support.valkey import free_port

pytestmark = pytest.mark.slow

PROCESSES = 2

MODULES = Path("/usr/lib/apache2/modules")
"""The path of Debian's module."""

# Without WSGIPythonHome it uses the library of the first `python3` on PATH, whose compiled modules
# may not be compatible.
CONFIGURATION = """
ServerName localhost
ServerRoot {place}
PidFile {place}/pid
Listen 127.0.0.1:{port}
ErrorLog /dev/stderr
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
WSGIPythonHome /usr
WSGIDaemonProcess host processes={processes} threads=4 home={place} python-path={path}
WSGIProcessGroup host
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {script}
WSGISocketPrefix {place}/wsgi
<Directory />
    Require all granted
</Directory>
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def apache(tmp_path: Path, port: int) -> list[str]:
    """The command. Apache does not run applications as root, but may read root's files."""
    program = shutil.which("apache2", path=f"{os.environ['PATH']}:/usr/sbin")
    module = MODULES / "mod_wsgi.so"
    if program is None or not module.exists():
        pytest.skip("mod_wsgi needs Debian's libapache2-mod-wsgi-py3")
    if not module.resolve().name.endswith(f"-{sys.version_info.major}.{sys.version_info.minor}"):
        pytest.skip(f"Debian's mod_wsgi runs another Python: {module.resolve().name}")
    configuration = tmp_path / "httpd.conf"
    configuration.write_text(
        CONFIGURATION.format(
            place=tmp_path,
            port=port,
            modules=MODULES,
            processes=PROCESSES,
            path=foreign_path(),
            script=Path(host_call.__file__).with_name("host_app.py"),
        )
    )
    command = [program, "-D", "FOREGROUND", "-f", str(configuration)]
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        pytest.skip("Apache refuses to run applications as root, and there is no setpriv")
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    return [*user, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", *command]


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
def test_daemon_processes_have_tokens(
    tmp_path: Path, apache: list[str], port: int, *, shared: bool
) -> None:
    with Trial(tmp_path, shared=shared, keep_fresh=True) as trial:
        with trial.serving(apache, port):
            load = trial.load(port)
        report = trial.report(load)
    askers = 1 if shared else PROCESSES
    assert report.broken_promises(workers=PROCESSES, askers=askers) == [], report.log
