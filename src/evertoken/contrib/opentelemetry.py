"""A span per renewal, and the metrics of `prometheus`, by OpenTelemetry (extra: `opentelemetry`).

Names follow its semantic conventions. An attribute that these define is used as they define it:
`error.type`, `http.response.status_code`, `url.full` (the token URL); units are UCUM's.
"""

from __future__ import annotations

import threading
import time
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

with extras.needed("evertoken.contrib.opentelemetry", "opentelemetry"):
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evertoken.events import Event

SCOPE = "evertoken"
"""Names the instrumentation."""

Attributes = dict[str, str | int | float]


class OpenTelemetryEvents:
    """`TokenManager(..., on_event=OpenTelemetryEvents())`.

    | instrument | kind, unit | attributes |
    |---|---|---|
    | `evertoken.renewal` | span | as of the next, and `http.response.status_code` of a failure |
    | `evertoken.renewals` | counter, `{renewal}` | `evertoken.outcome`, `.source`, `error.type` |
    | `evertoken.replays` | counter, `{request}` | `http.response.status_code` |
    | `evertoken.rejections` | counter, `{rejection}` | |
    | `evertoken.store.degradations` | counter, `{degradation}` | `evertoken.store` |
    | `evertoken.token.time_to_expiry` | gauge, `s` | |
    | `evertoken.login.time_to_expiry` | gauge, `s` | |
    | `evertoken.renewal.status` | gauge, `1` | `evertoken.outcome` |
    | `evertoken.store.degraded` | gauge, `1` | `evertoken.store` |

    All have `evertoken.account` and `url.full`, the token URL, as far as they are known. Outcomes,
    sources and gauges are those of `prometheus`. A renewal that runs in the background is a trace
    of its own; one that a poll of a store ends belongs to the span of the call that polled.

    Args:
        tracer_provider, meter_provider: None: the global ones.
        account: `evertoken.account`; empty: the user name or client id that each event names.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        account: str = "",
    ) -> None:
        self.account = account
        self.accounts: measures.Accounts = measures.Accounts(account)
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._instruments = _Instruments.of(meter_provider or metrics.get_meter_provider())
        self._instruments.listeners.add(self)

    def __call__(self, event: Event) -> None:
        """Count `event`, and record the renewal that it ends."""
        attributes = _of(self.accounts.note(event))
        if isinstance(event, TokenRenewed | RenewalFailed | TokenRefused):
            attributes |= _outcome(event)
            self._instruments.renewals.add(1, attributes)
            self._record(event, attributes)
        elif isinstance(event, Replayed):
            attributes["http.response.status_code"] = event.status
            self._instruments.replays.add(1, attributes)
        elif isinstance(event, RejectedAgain):
            self._instruments.rejections.add(1, attributes)
        elif isinstance(event, StoreDegraded):
            attributes["evertoken.store"] = event.store
            self._instruments.degradations.add(1, attributes)

    def _record(
        self, event: TokenRenewed | RenewalFailed | TokenRefused, attributes: Attributes
    ) -> None:
        """A span that ends now, since an event tells of what is over."""
        end = time.time_ns()
        took = event.seconds if isinstance(event, TokenRenewed) else 0.0
        span = self._tracer.start_span(
            "evertoken.renewal",
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            start_time=end - int(took * 1e9),
        )
        if not isinstance(event, TokenRenewed):
            if event.error.status is not None:
                span.set_attribute("http.response.status_code", event.error.status)
            span.set_status(Status(StatusCode.ERROR, str(event.error)))
        span.end(end)


class _Instruments:
    """The instruments of one provider, each made once."""

    _known: ClassVar[weakref.WeakKeyDictionary[MeterProvider, _Instruments]] = (
        weakref.WeakKeyDictionary()
    )
    _guard = threading.Lock()  # guards _known

    def __init__(self, provider: MeterProvider) -> None:
        self.listeners: measures.Listeners[OpenTelemetryEvents] = measures.Listeners()
        meter = metrics.get_meter(SCOPE, meter_provider=provider)
        counter, gauge = meter.create_counter, meter.create_observable_gauge
        self.renewals = counter("evertoken.renewals", "{renewal}", measures.RENEWALS)
        self.replays = counter("evertoken.replays", "{request}", measures.REPLAYS)
        self.rejections = counter("evertoken.rejections", "{rejection}", measures.REJECTIONS)
        self.degradations = counter(
            "evertoken.store.degradations", "{degradation}", measures.DEGRADATIONS
        )
        gauge("evertoken.token.time_to_expiry", [self._expiry], "s", measures.EXPIRY)
        gauge("evertoken.login.time_to_expiry", [self._login_expiry], "s", measures.LOGIN)
        gauge("evertoken.renewal.status", [self._statuses], "1", measures.STATUS)
        gauge("evertoken.store.degraded", [self._degraded], "1", measures.DEGRADED)

    @classmethod
    def of(cls, provider: MeterProvider) -> _Instruments:
        """Those of `provider`, which warns of a name that it is given twice."""
        with cls._guard:
            if provider not in cls._known:
                cls._known[provider] = cls(provider)
            return cls._known[provider]

    def _expiry(self, _options: CallbackOptions) -> Iterator[Observation]:
        for account, standing in self.listeners.standings().items():
            yield Observation(standing.seconds_left, _of(account))

    def _login_expiry(self, _options: CallbackOptions) -> Iterator[Observation]:
        for account, standing in self.listeners.standings().items():
            if (left := standing.login_seconds_left) is not None:
                yield Observation(left, _of(account))

    def _statuses(self, _options: CallbackOptions) -> Iterator[Observation]:
        for account, standing in self.listeners.standings().items():
            for outcome, holds in standing.statuses():
                yield Observation(int(holds), {**_of(account), "evertoken.outcome": outcome})

    def _degraded(self, _options: CallbackOptions) -> Iterator[Observation]:
        for account, standing in self.listeners.standings().items():
            for store, ails in standing.degraded.items():
                yield Observation(int(ails), {**_of(account), "evertoken.store": store})


def _of(account: measures.Account) -> Attributes:
    named = {"evertoken.account": account.name, "url.full": account.token_url}
    return {name: value for name, value in named.items() if value}


def _outcome(event: TokenRenewed | RenewalFailed | TokenRefused) -> Attributes:
    attributes: Attributes = {
        "evertoken.outcome": measures.OUTCOMES[type(event)],
        "evertoken.source": event.source,
    }
    if not isinstance(event, TokenRenewed):
        attributes["error.type"] = measures.error_type(event.error)
    return attributes
