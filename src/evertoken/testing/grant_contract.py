"""The contract of every grant, as pytest tests for a custom grant.

```python
import pytest
from evertoken.testing import GrantContract

class TestVaultGrant(GrantContract):
    @pytest.fixture
    def make_grant(self, token_server):
        return lambda: VaultGrant(token_server.token_url, password=token_server.password)
```

`token_server` is the test kit's server, a new one for each test. A grant for another kind of server
also overrides `refuse`, `fail`, `garble` and `secrets`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import pickle
import re
import traceback
from typing import TYPE_CHECKING

import pytest

from evertoken import FileStore, MemoryStore, TokenManager
from evertoken.credentials import ReadableGrant
from evertoken.errors import (
    GrantRefused,
    GrantUnavailable,
    InvalidTokenResponse,
    RevocationFailed,
    TokenError,
)
from evertoken.ports import Grant
from evertoken.runtime import reports
from evertoken.testing.answers import Answer
from evertoken.testing.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from evertoken.testing.server import TokenServer

_SALTS = b"salt-number-one-", b"salt-number-two-"


class GrantContract:
    """Tests of one kind of grant; subclass it under a name that begins with `Test`.

    The subclass has a fixture `make_grant`: a callable without arguments that returns a new grant,
    each time with the same credentials, which the server accepts once.
    """

    # -- for subclasses ----------------------------------------------------------------------------

    @pytest.fixture
    def make_grant(self) -> Callable[[], Grant]:
        """A function that makes a grant; a subclass must define it."""
        raise NotImplementedError("a contract needs a fixture make_grant")

    def secrets(self, server: TokenServer) -> Collection[str]:
        """The secrets that no output may show."""
        return server.secrets

    def refuse(self, server: TokenServer) -> None:
        """Make the server refuse the credentials."""
        server.refuse("invalid_grant")

    def fail(self, server: TokenServer) -> None:
        """Make the server fail."""
        server.outage(503)

    def garble(self, server: TokenServer) -> None:
        """Make the server answer with a success that is not a token."""
        server.token_endpoint.answer_always(Answer(200, {"Content-Type": "text/html"}, b"<html>"))

    # -- identity ----------------------------------------------------------------------------------

    @pytest.fixture
    def grant(self, make_grant: Callable[[], Grant]) -> Grant:
        """A grant."""
        return make_grant()

    def test_it_is_a_grant(self, grant: Grant) -> None:
        assert isinstance(grant, Grant)

    def test_equal_credentials_are_one_identity(self, make_grant: Callable[[], Grant]) -> None:
        one, another = make_grant(), make_grant()
        assert one.key == one.key == another.key
        assert one.key.digest() == another.key.digest()

    def test_the_identity_holds_no_secret(self, grant: Grant, token_server: TokenServer) -> None:
        assert not self._shown(token_server, repr(grant.key), str(grant.key))

    def test_the_identity_names_the_place_of_its_token(self, grant: Grant) -> None:
        assert grant.key.token_url

    # -- a grant -----------------------------------------------------------------------------------

    def test_a_token_can_be_sent(self, grant: Grant) -> None:
        token = grant.request()
        # RFC 6750 section 2.1
        assert re.fullmatch(r"[\x21-\x7e]+", token.value)

    def test_a_token_has_a_lifetime(self, grant: Grant) -> None:
        token = grant.request()
        assert math.isfinite(token.expires_at)
        assert token.lifetime >= 0

    def test_a_manager_asks_once_for_all_threads(
        self, grant: Grant, token_server: TokenServer, tmp_path: Path
    ) -> None:
        before = token_server.token_requests
        # a store that can lock: an exclusive grant needs one
        manager = TokenManager(grant, store=FileStore(tmp_path), memory=MemoryStore())
        found = in_threads(8, lambda: manager.token().value)
        assert set(map(type, found)) == {str}, found
        assert len(set(found)) == 1
        assert token_server.token_requests - before <= 1

    # -- one reading of the credentials ------------------------------------------------------------

    def test_two_readings_of_equal_credentials_are_equal(self, grant: Grant) -> None:
        if not isinstance(grant, ReadableGrant):
            return
        one, another = grant.read(), grant.read()
        assert (one.key, one.source, one.fingerprint) == (
            another.key,
            another.source,
            another.fingerprint,
        )
        assert one.key == grant.key

    def test_a_hash_tells_credentials_apart_by_its_salt_alone(
        self, make_grant: Callable[[], Grant]
    ) -> None:
        one, another = (
            [grant.credentials_tag(salt) for salt in _SALTS]
            for grant in (make_grant(), make_grant())
        )
        assert one == another
        assert one[0] != one[1]
        assert all(len(each) >= 16 for each in one)

    # -- errors ------------------------------------------------------------------------------------

    def test_refused_credentials_are_a_refusal(
        self, grant: Grant, token_server: TokenServer
    ) -> None:
        self.refuse(token_server)
        assert isinstance(self._error(grant, token_server), GrantRefused)

    def test_an_outage_is_no_verdict_on_the_credentials(
        self, grant: Grant, token_server: TokenServer
    ) -> None:
        self.fail(token_server)
        error = self._error(grant, token_server)
        assert isinstance(error, GrantUnavailable)
        assert error.transient
        assert not error.local

    def test_an_answer_without_a_token_is_a_typed_error(
        self, grant: Grant, token_server: TokenServer
    ) -> None:
        self.garble(token_server)
        assert isinstance(self._error(grant, token_server), InvalidTokenResponse | GrantUnavailable)

    def test_a_server_that_is_away_is_a_local_error(
        self, grant: Grant, token_server: TokenServer
    ) -> None:
        token_server.close()
        error = self._error(grant, token_server)
        assert isinstance(error, GrantUnavailable)
        assert error.local

    def test_a_revocation_succeeds_or_says_why_not(self, grant: Grant) -> None:
        token = grant.request()
        with contextlib.suppress(RevocationFailed):
            grant.revoke(token)

    # -- secrets -----------------------------------------------------------------------------------

    def test_it_shows_no_secret(self, grant: Grant, token_server: TokenServer) -> None:
        token = grant.request()
        assert not self._shown(token_server, repr(grant), str(grant), repr(token))

    def test_it_logs_no_secret(
        self, grant: Grant, token_server: TokenServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        grant.request()
        self.garble(token_server)
        self._error(grant, token_server)
        reports.catch_up(5.0)
        assert not self._shown(token_server, caplog.text)

    def test_it_pickles_without_a_secret_or_not_at_all(
        self, grant: Grant, token_server: TokenServer
    ) -> None:
        try:
            data = pickle.dumps(grant).decode("latin-1")
        except Exception as error:  # noqa: BLE001  any type of refusal to pickle
            data = str(error)
        assert not self._shown(token_server, data)

    def test_no_frame_of_an_error_shows_a_secret(
        self, grant: Grant, token_server: TokenServer
    ) -> None:
        self.refuse(token_server)
        error = self._error(grant, token_server)
        frames = traceback.walk_tb(error.__traceback__)
        shown = [
            repr(frame.f_locals) for frame, _ in frames if frame.f_code.co_filename != __file__
        ]
        assert not self._shown(token_server, *shown)

    def _error(self, grant: Grant, server: TokenServer) -> TokenError:
        """What `request()` raises, which shows no secret and hangs on nothing that does."""
        with pytest.raises(TokenError) as caught:
            grant.request()
        error = caught.value
        assert error.__cause__ is None
        assert error.__context__ is None
        assert not self._shown(server, str(error), repr(error), repr(vars(error)))
        return error

    def _shown(self, server: TokenServer, *texts: str) -> list[str]:
        """The secrets that `texts` show."""
        known = filter(None, self.secrets(server))
        return [secret for secret in known if any(secret in text for text in texts)]
