"""What the roles of the events tell Prometheus."""

from datetime import UTC, datetime

from prometheus_client import Counter, Gauge

from infra.telemetry import REGISTRY

PUBLISHED = Counter("sagapay_relay_published_total", "Events delivered to the broker.", ["topic"], registry=REGISTRY)
REWOUND = Counter(
    "sagapay_relay_rewinds_total", "Times a stream was published again.", ["topic", "reason"], registry=REGISTRY
)
AHEAD = Gauge(
    "sagapay_relay_ahead_events",
    "Events published to the embedded broker and not confirmed.",
    ["topic", "shard"],
    registry=REGISTRY,
)
LAG = Gauge(
    "sagapay_relay_lag_seconds",
    "Age of the oldest event that is not published, as far as was read.",
    ["shard"],
    registry=REGISTRY,
)
LANES_HELD = Gauge("sagapay_relay_lanes", "Lanes that this process publishes.", ["shard"], registry=REGISTRY)

APPLIED = Counter("sagapay_consumer_applied_total", "Events applied.", ["consumer"], registry=REGISTRY)
DUPLICATES = Counter(
    "sagapay_consumer_duplicates_total", "Events that came again and were ignored.", ["consumer"], registry=REGISTRY
)
GAPS = Counter(
    "sagapay_consumer_gaps_total",
    "Events refused because one before them had not come.",
    ["consumer"],
    registry=REGISTRY,
)
DELAY = Gauge(
    "sagapay_consumer_delay_seconds",
    "From commit to effect, of the last event applied.",
    ["consumer"],
    registry=REGISTRY,
)

DEAD_LETTERS = Counter(
    "sagapay_consumer_dead_letters_total", "Events that could not be processed.", ["consumer"], registry=REGISTRY
)
WEBHOOKS = Counter("sagapay_webhook_attempts_total", "Attempts to send a webhook.", ["outcome"], registry=REGISTRY)
BALANCES_DROPPED = Counter(
    "sagapay_balances_dropped_total", "Cached balances that an entry had outdated.", registry=REGISTRY
)
CACHE_ERRORS = Counter(
    "sagapay_consumer_cache_errors_total",
    "Problems of consumers with Redis; each went on without it.",
    ["operation"],
    registry=REGISTRY,
)
NOTIFICATIONS_STORED = Counter(
    "sagapay_notifications_stored_total", "Notifications that are to be sent.", ["channel", "kind"], registry=REGISTRY
)
NOTIFICATIONS_SETTLED = Counter(
    "sagapay_notifications_settled_total",
    "Notifications that were sent or given up.",
    ["channel", "outcome"],
    registry=REGISTRY,
)
NOTIFICATIONS_NOT_TAKEN = Counter(
    "sagapay_notifications_not_taken_total", "Attempts that will be repeated.", ["channel"], registry=REGISTRY
)
NOTIFICATIONS_OLDEST = Gauge(
    "sagapay_notifications_oldest_seconds",
    "Age of the oldest event that somebody is still to be notified of.",
    ["channel"],
    registry=REGISTRY,
)


class LagClock:
    """The age of the oldest waiting event, still growing while nothing can be published."""

    def __init__(self, shard: int) -> None:
        self._oldest: datetime | None = None
        LAG.labels(shard).set_function(self.seconds)

    def waiting_since(self, oldest: datetime | None) -> None:
        """The oldest event known to wait, or None if there is none."""
        self._oldest = oldest

    def seconds(self) -> float:
        """0 when nothing waits."""
        return max(0.0, (datetime.now(UTC) - self._oldest).total_seconds()) if self._oldest else 0.0
