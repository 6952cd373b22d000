"""A Prometheus server that scrapes one exporter, where Debian's package `prometheus` is there."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
import requests
import yaml

from support.fleet import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`; skips the test where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}: apt-get install prometheus")
    return path


def checked(rules: Path) -> str:
    """What `promtool check rules` prints; an error of its own if it refuses them."""
    done = subprocess.run(  # noqa: S603  Debian's own
        [tool("promtool"), "check", "rules", str(rules)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """A server that listens on loopback."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self._url}/-/ready", timeout=5).ok
        return False

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        answer = requests.get(f"{self._url}/api/v1/alerts", timeout=5).json()
        alerts = answer["data"]["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def samples(self, query: str) -> list[dict[str, str]]:
        """The labels of what a query finds now."""
        found = requests.get(f"{self._url}/api/v1/query", {"query": query}, timeout=5).json()
        assert found["status"] == "success", found
        return [each["metric"] for each in found["data"]["result"]]


@contextlib.contextmanager
def scraping(port: int, rules: Path, folder: Path) -> Iterator[Prometheus]:
    """A server that scrapes `port` and evaluates `rules`, five times a second."""
    config = folder / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
                "rule_files": [str(rules)],
                "scrape_configs": [
                    {
                        "job_name": "evertoken",
                        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
                    }
                ],
            }
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    command = [
        tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
    ]
    with subprocess.Popen(  # noqa: S603  Debian's own
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            server = Prometheus(own)
            eventually(server.ready, within=60.0)
            yield server
        finally:
            process.terminate()
