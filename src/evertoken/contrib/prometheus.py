"""Events as Prometheus metrics, and how each account stands (extra: `prometheus`)."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, ClassVar

from evertoken.contrib import measures
from evertoken.events import (
    RejectedAgain,
    RenewalFailed,
    Replayed,
    StoreDegraded,
    TokenRefused,
    TokenRenewed,
)
from evertoken.runtime import extras

with extras.needed("evertoken.contrib.prometheus", "prometheus"):
    from prometheus_client import REGISTRY, CollectorRegistry, Counter
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.events import Event

_ACCOUNT = ("account", "token_url")


class PrometheusEvents:
    """`TokenManager(..., on_event=PrometheusEvents())`.

    | metric | labels beside `account` and `token_url` |
    |---|---|
    | `evertoken_renewals_total` | `outcome` (`renewed`, `failed`, `refused`), `source` |
    | `evertoken_replays_total` | `status` |
    | `evertoken_rejections_total` | |
    | `evertoken_store_degradations_total` | `store` |
    | `evertoken_token_expiry_seconds` | |
    | `evertoken_login_expiry_seconds` | |
    | `evertoken_renewal_status` | `outcome` |
    | `evertoken_store_degraded` | `store` |

    `source` is `grant`, or the store that a token was adopted from; of a failure that was adopted,
    `store`. The last four are gauges, read when they are scraped, for as long as the listener
    lives: the time left (of a login, once it is about to end), and 1 or 0 for each outcome and for
    each store that ever failed.

    One listener may serve many managers, since every event names its account.

    Args:
        registry: where they are registered, once however many listeners share it.
        account: the label `account`; empty: the user name or client id that each event names.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, account: str = "") -> None:
        self.account = account
        self.accounts: measures.Accounts = measures.Accounts(account)
        self._metrics = _Metrics.of(registry)
        self._metrics.listeners.add(self)

    def __call__(self, event: Event) -> None:
        """Count `event`."""
        account = self.accounts.note(event)
        if isinstance(event, TokenRenewed | RenewalFailed | TokenRefused):
            outcome = measures.OUTCOMES[type(event)]
            self._metrics.renewals.labels(*account, outcome, event.source).inc()
        elif isinstance(event, Replayed):
            self._metrics.replays.labels(*account, str(event.status)).inc()
        elif isinstance(event, RejectedAgain):
            self._metrics.rejections.labels(*account).inc()
        elif isinstance(event, StoreDegraded):
            self._metrics.degradations.labels(*account, event.store).inc()


class _Metrics(Collector):
    """The metrics of one registry."""

    _known: ClassVar[weakref.WeakKeyDictionary[CollectorRegistry, _Metrics]] = (
        weakref.WeakKeyDictionary()
    )
    _guard = threading.Lock()  # guards _known

    def __init__(self, registry: CollectorRegistry) -> None:
        self.listeners: measures.Listeners[PrometheusEvents] = measures.Listeners()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"evertoken_{name}", text, [*_ACCOUNT, *labels], registry=registry)

        self.renewals = counter("renewals", measures.RENEWALS, "outcome", "source")
        self.replays = counter("replays", measures.REPLAYS, "status")
        self.rejections = counter("rejections", measures.REJECTIONS)
        self.degradations = counter("store_degradations", measures.DEGRADATIONS, "store")
        registry.register(self)

    @classmethod
    def of(cls, registry: CollectorRegistry) -> _Metrics:
        """Those of `registry`, which takes each name once."""
        with cls._guard:
            if registry not in cls._known:
                cls._known[registry] = cls(registry)
            return cls._known[registry]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """How the accounts stand at this moment."""
        expiry = _gauge("token_expiry_seconds", measures.EXPIRY)
        login = _gauge("login_expiry_seconds", measures.LOGIN)
        status = _gauge("renewal_status", measures.STATUS, "outcome")
        degraded = _gauge("store_degraded", measures.DEGRADED, "store")
        for account, standing in self.listeners.standings().items():
            expiry.add_metric(account, standing.seconds_left)
            if (left := standing.login_seconds_left) is not None:
                login.add_metric(account, left)
            for outcome, holds in standing.statuses():
                status.add_metric([*account, outcome], int(holds))
            for store, ails in standing.degraded.items():
                degraded.add_metric([*account, store], int(ails))
        yield from (expiry, login, status, degraded)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"evertoken_{name}", text, labels=[*_ACCOUNT, *labels])
