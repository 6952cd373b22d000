"""The planted secrets: tests use them, and every output is searched for them."""

from __future__ import annotations

from evertoken.sandbox import environment
from support.core_values import PLANTED
from support.scanner import Scanner

PASSWORD = "Pässwörd of the 'planted' user/42+"
CLIENT_SECRET = 'client:secret%that&is"planted"'
ACCESS_TOKEN = "planted.access-token/of+the~first=="
LATER_TOKEN = "planted.access-token/of+the~second=="
REFRESH_TOKEN = 'planted refresh token \\ with "all" that one may have'

GRANTED = {
    "password": PASSWORD,
    "client_secret": CLIENT_SECRET,
    "access_token": ACCESS_TOKEN,
}

SCANNER = Scanner(
    **GRANTED,
    later_token=LATER_TOKEN,
    refresh_token=REFRESH_TOKEN,
    token_of_values=PLANTED,
    sandbox_client_secret=environment.CLIENT_SECRET,
    sandbox_password=environment.PASSWORD,
)
