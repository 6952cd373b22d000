"""A span per renewal, and the metrics of `prometheus`, by OpenTelemetry (extra: `opentelemetry`).

Attributes are those of the semantic conventions where these have one: `error.type`,
`http.response.status_code`; units are UCUM's.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, ClassVar

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from evertoken.contrib import told
from evertoken.events import (
    RenewalFailed,
    Replayed,
    StoreDegraded,
    TokenRefused,
    TokenRenewed,
)

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
    | `evertoken.store.degradations` | counter, `{degradation}` | `evertoken.store` |
    | `evertoken.token.time_to_expiry` | gauge, `s` | |

    All have `evertoken.account` where one is given. Outcomes and sources are those of `prometheus`.
    A renewal that runs in the background is a trace of its own; one that a look at the store ends
    belongs to the span of the call that looked.

    Args:
        tracer_provider, meter_provider: None: the global ones.
        account: tells managers apart; empty: no such attribute.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        account: str = "",
    ) -> None:
        self.account = account
        self.expiry = told.Expiry()
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._instruments = _Instruments.of(meter_provider or metrics.get_meter_provider())
        self._instruments.listeners.add(self)

    def __call__(self, event: Event) -> None:
        """Count `event`, and record the renewal that it ends."""
        self.expiry.note(event)
        if isinstance(event, Replayed):
            self._instruments.replays.add(
                1, {**_of(self.account), "http.response.status_code": event.status}
            )
        elif isinstance(event, StoreDegraded):
            self._instruments.degradations.add(
                1, {**_of(self.account), "evertoken.store": event.store}
            )
        elif isinstance(event, TokenRenewed | RenewalFailed | TokenRefused):
            attributes = {**_of(self.account), **_outcome(event)}
            self._instruments.renewals.add(1, attributes)
            self._record(event, attributes)

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
        self.listeners: told.Listeners[OpenTelemetryEvents] = told.Listeners()
        meter = metrics.get_meter(SCOPE, meter_provider=provider)
        self.renewals = meter.create_counter("evertoken.renewals", "{renewal}", told.RENEWALS)
        self.replays = meter.create_counter("evertoken.replays", "{request}", told.REPLAYS)
        self.degradations = meter.create_counter(
            "evertoken.store.degradations", "{degradation}", told.DEGRADATIONS
        )
        meter.create_observable_gauge(
            "evertoken.token.time_to_expiry", [self._observe], "s", told.EXPIRY
        )

    @classmethod
    def of(cls, provider: MeterProvider) -> _Instruments:
        """Those of `provider`, which warns of a name that it is given twice."""
        with cls._guard:
            if provider not in cls._known:
                cls._known[provider] = cls(provider)
            return cls._known[provider]

    def _observe(self, _options: CallbackOptions) -> Iterator[Observation]:
        for account, left in self.listeners.left().items():
            yield Observation(left, _of(account))


def _of(account: str) -> Attributes:
    return {"evertoken.account": account} if account else {}


def _outcome(event: TokenRenewed | RenewalFailed | TokenRefused) -> Attributes:
    attributes: Attributes = {
        "evertoken.outcome": told.OUTCOMES[type(event)],
        "evertoken.source": event.source,
    }
    if not isinstance(event, TokenRenewed):
        attributes["error.type"] = told.error_type(event.error)
    return attributes
