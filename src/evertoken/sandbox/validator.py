"""What oauthlib 4 asks about a device's login, which Django OAuth Toolkit 3.4 does not answer."""

from __future__ import annotations

from oauth2_provider.models import get_device_grant_model
from oauth2_provider.oauth2_validators import OAuth2Validator


class _Validator(OAuth2Validator):  # type: ignore[misc]  # the toolkit has no types
    """The toolkit's own, for the device authorization grant too."""

    def validate_device_code(
        self, client_id: str, code: str, _request: object, *_: object, **__: object
    ) -> str:
        """The state of a device's login, as RFC 8628 section 3.5 names it.

        The toolkit has told a device that waits or was denied before it comes to this.
        """
        devices = get_device_grant_model().objects
        found = devices.filter(device_code=code, client_id=client_id, status="authorized")
        # each code is good for one token
        return "authorized" if found.update(status="expired") else "expired_token"
