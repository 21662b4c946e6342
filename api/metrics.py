"""What the API counts. Prometheus reads it at /metrics."""

from typing import Final

from prometheus_client import Counter, Histogram

from infra.telemetry import REGISTRY

REQUESTS: Final = Counter(
    "sagapay_http_requests", "Answered requests.", ["route", "method", "status"], registry=REGISTRY
)
LATENCY_SECONDS: Final = Histogram(
    "sagapay_http_request_seconds",
    "Time from the request's first byte to the answer's last.",
    ["route", "method"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    registry=REGISTRY,
)
PAYMENTS: Final = Counter(
    "sagapay_payments_answered", "POSTs of payments that were answered with 202.", ["kind", "status"], registry=REGISTRY
)
TRANSFER_OUTCOMES: Final = Counter(
    "sagapay_transfer_outcomes",
    "Outcomes of transfers that this process has asked for, by who told first: the ledger or the workflow.",
    ["by"],
    registry=REGISTRY,
)
REPLAYS: Final = Counter(
    "sagapay_idempotency_replays", "Answers given again, by who remembered the key.", ["by"], registry=REGISTRY
)
EXPRESS: Final = Counter(
    "sagapay_express_transfers",
    "Transfers of the express lane: finished by it, begun by it and finished by a workflow, or handed over.",
    ["outcome"],
    registry=REGISTRY,
)
CACHE_ERRORS: Final = Counter(
    "sagapay_cache_errors", "Problems with Redis; each was answered without it.", ["operation"], registry=REGISTRY
)
