"""The sandbox's accounts, and the environment variables that pass it to a client."""

from __future__ import annotations

from typing import Final

CLIENT_ID: Final = "test_client_id"
CLIENT_SECRET: Final = "test_client_secret"  # noqa: S105 - public: it is only good for a sandbox
USERNAME: Final = "test_api_user"
PASSWORD: Final = "test_api_password"  # noqa: S105 - likewise

SERVICE_ID: Final = "test_service_id"
"""A client that acts for itself, by the client credentials grant."""

SERVICE_SECRET: Final = "test_service_secret"  # noqa: S105 - likewise

DEVICE_ID: Final = "test_device_id"
"""A public client without a browser, by the device authorization grant (RFC 8628)."""


def environment(base_url: str) -> dict[str, str]:
    """The environment variables that point a SquadRun client at `base_url`."""
    return {
        "SQUADRUN_BASE_URL": base_url,
        "SQUADRUN_CLIENT_ID": CLIENT_ID,
        "SQUADRUN_CLIENT_SECRET": CLIENT_SECRET,
        "SQUADRUN_USERNAME": USERNAME,
        "SQUADRUN_PASSWORD": PASSWORD,
    }
