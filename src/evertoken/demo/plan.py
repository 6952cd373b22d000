"""The options of the demo, checked before anything is started."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from evertoken import urls

SCHEMES = ("redis://", "rediss://", "unix://")
"""The schemes of a Redis URL."""


class Unready(Exception):
    """The demo could not start. The message can be shown to a user."""


class Gone(Exception):
    """The demo's own server ended too early. The message can be shown to a user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of one run.

    Attributes:
        seconds: how long the workers call; None: long enough for two renewals, at most a minute.
        workers: processes that share one token.
        threads: threads in each worker.
        expires_in: lifetime of the sandbox's tokens, in seconds; None: chosen so that about ten
            grants fit into the time for a renewal.
        base_url: of a real account; None: a sandbox is started.
        campaign: the campaign whose leads are read, and written if allowed.
        write: also add a lead to a real account.
        fast_hashing: the sandbox's grants take 5 ms instead of 0.5 s.
        store: URL of a Redis server that shares the token; None: a file.
        as_json: print the report as one JSON object, and the progress on standard error.

    Raises:
        InsecureURL: the base URL is not an https URL.
        ValueError: a number is out of range, or `store` is not a Redis URL.
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
        """Whether leads are added: always in a sandbox, in a real account only with `write`."""
        return self.base_url is None or self.write

    @property
    def once(self) -> bool:
        """Whether each call is made only once, since calls to a real account are counted."""
        return self.base_url is not None
