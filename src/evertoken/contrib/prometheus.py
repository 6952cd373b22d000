"""Events as Prometheus metrics, and the time to expiry (extra: `prometheus`)."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, ClassVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from evertoken.contrib import told
from evertoken.events import Replayed, StoreDegraded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.events import Event


class PrometheusEvents:
    """`TokenManager(..., on_event=PrometheusEvents())`.

    | metric | labels |
    |---|---|
    | `evertoken_renewals_total` | `account`, `outcome` (`renewed`, `failed`, `refused`), `source` |
    | `evertoken_replays_total` | `account`, `status` |
    | `evertoken_store_degradations_total` | `account`, `store` |
    | `evertoken_token_expiry_seconds` | `account` |

    `source` is `grant`, or the store that the token was adopted from; a failure has none. The last
    one is the time left when it is scraped, for as long as the manager lives.

    Args:
        registry: where they are registered, once however many listeners share it.
        account: tells managers apart that share a registry.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, account: str = "") -> None:
        self.account = account
        self.expiry = told.Expiry()
        self._metrics = _Metrics.of(registry)
        self._metrics.listeners.add(self)

    def __call__(self, event: Event) -> None:
        """Count `event`."""
        self.expiry.note(event)
        if isinstance(event, Replayed):
            self._metrics.replays.labels(self.account, str(event.status)).inc()
        elif isinstance(event, StoreDegraded):
            self._metrics.degradations.labels(self.account, event.store).inc()
        elif outcome := told.OUTCOMES.get(type(event)):
            source = getattr(event, "source", "")
            self._metrics.renewals.labels(self.account, outcome, source).inc()


class _Metrics(Collector):
    """The metrics of one registry."""

    _known: ClassVar[weakref.WeakKeyDictionary[CollectorRegistry, _Metrics]] = (
        weakref.WeakKeyDictionary()
    )
    _guard = threading.Lock()  # guards _known

    def __init__(self, registry: CollectorRegistry) -> None:
        self.listeners: told.Listeners[PrometheusEvents] = told.Listeners()
        self.renewals = Counter(
            "evertoken_renewals",
            told.RENEWALS,
            ["account", "outcome", "source"],
            registry=registry,
        )
        self.replays = Counter(
            "evertoken_replays", told.REPLAYS, ["account", "status"], registry=registry
        )
        self.degradations = Counter(
            "evertoken_store_degradations",
            told.DEGRADATIONS,
            ["account", "store"],
            registry=registry,
        )
        registry.register(self)

    @classmethod
    def of(cls, registry: CollectorRegistry) -> _Metrics:
        """Those of `registry`, which takes each name once."""
        with cls._guard:
            if registry not in cls._known:
                cls._known[registry] = cls(registry)
            return cls._known[registry]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The time to expiry, at this moment."""
        family = GaugeMetricFamily(
            "evertoken_token_expiry_seconds", told.EXPIRY, labels=["account"]
        )
        for account, left in self.listeners.left().items():
            family.add_metric([account], left)
        yield family
