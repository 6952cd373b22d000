"""What the demo is asked to do, checked before anything is started."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from evertoken import urls

SCHEMES = ("redis://", "rediss://", "unix://")
"""How a URL of Redis begins."""


class Unready(Exception):
    """The demo could not start; the message is fit to be shown to a user as it is."""


class Gone(Exception):
    """The demo's own server ended before it; the message is fit to be shown likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and with how many.

    Attributes:
        seconds: for how long the workers call; None: for two renewals, a minute at most.
        workers: processes that share one token.
        threads: in each of them.
        expires_in: lifetime of the sandbox's tokens, in seconds; None: so long that a renewal has
            time for about ten grants of this machine.
        base_url: of a real account; None: a sandbox is started.
        campaign: whose leads are read, and written where that is allowed.
        write: add a lead to a real account too.
        fast_hashing: the sandbox grants in 5 ms, not in 0.5 s.
        store: URL of the Redis in which the workers share their token; None: a file.
        as_json: print what was found as one object, and how it goes on standard error.

    Raises:
        InsecureURL: the base URL is not an https URL.
        ValueError: a number is out of range, or `store` is not a URL of Redis.
    """

    seconds: float | None = None
    workers: int = 4
    threads: int = 4
    expires_in: int | None = None
    base_url: str | None = None
    campaign: int = 1
    write: bool = False
    fast_hashing: bool = False
    store: str | None = field(default=None, repr=False)
    as_json: bool = False

    def __post_init__(self) -> None:
        for name in ("seconds", "workers", "threads", "expires_in"):
            given = getattr(self, name)
            if given is not None and not 0 < given < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} must be a number above 0")
        if self.store is not None and not self.store.startswith(SCHEMES):
            raise ValueError(f"--store must begin with {', '.join(SCHEMES)}")
        if self.base_url is not None:
            urls.checked(self.base_url, what="--base-url")

    @property
    def writes(self) -> bool:
        """Whether leads are added: always in a sandbox, in a real account only where asked."""
        return self.base_url is None or self.write

    @property
    def once(self) -> bool:
        """Whether each call is made once, since a real account counts its calls."""
        return self.base_url is not None
