"""What happened, as values: calls, answers of token endpoints, faults. Written as lines of JSON.

All times are seconds on one clock, the machine's since boot, which no fault changes. A token or
another secret appears as the first characters of its digest.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

E = TypeVar("E")

now = time.monotonic
"""The harness's own clock."""


def digest(secret: str) -> str:
    """What stands for a secret in a history."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12] if secret else ""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request to an API: when it left, with which token, and what was answered when.

    Attributes:
        status: 0 if no answer came.
    """

    at: float
    token: str
    status: int
    answered: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a worker: no request at all if no token was available.

    Attributes:
        places: the process, its identity, its machine and its store.
        error: the name of the `TokenError` that it raised; otherwise empty.
        foreign: the name of any other error, such as a connection that the API closed.
    """

    process: str
    identity: str
    places: tuple[str, ...]
    began: float
    ended: float
    timeout: float
    requests: tuple[Sent, ...] = ()
    error: str = ""
    message: str = ""
    foreign: str = ""

    @property
    def status(self) -> int:
        """The status that the caller got; 0: none."""
        return self.requests[-1].status if self.requests and not self.error else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request to a token endpoint.

    Attributes:
        outcome: `granted`, an OAuth error, or `fault` if the endpoint did not do its work.
        credential: the password or refresh token that was posted.
        token, ends: the access token that was granted, and when it ends.
        successor: the refresh token that was granted.
    """

    identity: str
    at: float
    outcome: str
    credential: str = ""
    token: str = ""
    ends: float = 0.0
    successor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of one of `kinds.EVENT_TYPES`, and the places that it concerns."""

    kind: str
    places: tuple[str, ...]
    began: float
    ended: float

    def concerns(self, places: Iterable[str]) -> bool:
        """Whether one of these is among its places."""
        return not set(places).isdisjoint(self.places)

    def overlaps(self, began: float, ended: float, *, after: float = 0.0) -> bool:
        """Whether it, or the `after` seconds that follow it, met this time."""
        return self.began <= ended and began <= self.ended + after


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensEnded:
    """All access tokens that an identity had were ended at the server."""

    identity: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user logged in again because the previous login was lost at about `lost`."""

    identity: str
    at: float
    lost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """A worker ended.

    Attributes:
        code: its exit status; negative: the signal that killed it; None: it did not end when told.
    """

    process: str
    places: tuple[str, ...]
    at: float
    code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A secret appeared in an output, a name or the list of processes."""

    where: str


Event = Call | Post | Fault | TokensEnded | Login | Exited | Leak

EVENT_TYPES: Mapping[str, type[Event]] = {
    kind.__name__: kind for kind in (Call, Post, Fault, TokensEnded, Login, Exited, Leak)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a checker must know of the fleet.

    Attributes:
        places: of each identity, its name and its store.
        lifetime: seconds of an access token.
        grace: seconds for which a replaced refresh token is still accepted.
        exclusive: the identities with a rotating refresh token.
        strangers: the identities whose credentials are wrong.
        cooldown: seconds for which refused credentials are not posted again.
        quiet_since: when the last fault had ended.
        slots: the names of the workers that must be well at the end.
    """

    places: Mapping[str, tuple[str, ...]]
    lifetime: float
    grace: float
    exclusive: frozenset[str]
    strangers: frozenset[str]
    cooldown: float
    quiet_since: float
    slots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """All events of a segment, each kind in the order of its times."""

    setting: Setting
    calls: tuple[Call, ...] = ()
    posts: tuple[Post, ...] = ()
    faults: tuple[Fault, ...] = ()
    ended: tuple[TokensEnded, ...] = ()
    logins: tuple[Login, ...] = ()
    exits: tuple[Exited, ...] = ()
    leaks: tuple[Leak, ...] = ()
    grants: Mapping[str, Post] = field(default_factory=dict)

    @classmethod
    def of(cls, setting: Setting, events: Iterable[Event]) -> History:
        """Sort events by kind and time."""
        known = list(events)
        posts = sorted((it for it in known if isinstance(it, Post)), key=lambda it: it.at)
        return cls(
            setting,
            calls=tuple(sorted(_only(Call, known), key=lambda it: it.began)),
            posts=tuple(posts),
            faults=tuple(sorted(_only(Fault, known), key=lambda it: it.began)),
            ended=tuple(sorted(_only(TokensEnded, known), key=lambda it: it.at)),
            logins=tuple(sorted(_only(Login, known), key=lambda it: it.at)),
            exits=tuple(_only(Exited, known)),
            leaks=tuple(_only(Leak, known)),
            grants={it.token: it for it in posts if it.outcome == "granted"},
        )


def _only(kind: type[E], events: Iterable[object]) -> list[E]:
    return [it for it in events if isinstance(it, kind)]


def write(file: TextIO, event: Event) -> None:
    """Append an event as one line, at once: the process may be killed right afterwards."""
    file.write(json.dumps({"event": type(event).__name__, **asdict(event)}) + "\n")
    file.flush()


def read(folder: Path) -> list[Event]:
    """The events in all files of a folder. A last line that a kill cut off is left out."""
    events = []
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text("utf-8").split("\n")
        events += [_event(json.loads(line)) for line in lines[:-1]]
    return events


def _event(found: dict[str, object]) -> Event:
    kind = EVENT_TYPES[str(found.pop("event"))]
    if isinstance(requests := found.get("requests"), list):
        found["requests"] = tuple(Sent(**each) for each in requests)
    if isinstance(places := found.get("places"), list):
        found["places"] = tuple(places)
    return kind(**found)  # type: ignore[arg-type]  # as `write` has written it
