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
RATE_LIMITED: Final = Counter("sagapay_rate_limited", "Requests refused by a rate limit.", ["limit"], registry=REGISTRY)
CACHE_ERRORS: Final = Counter(
    "sagapay_cache_errors", "Problems with Redis; each was answered without it.", ["operation"], registry=REGISTRY
)
BALANCES: Final = Counter(
    "sagapay_balance_reads", "Eventual balances, by who told: the cache or the ledger.", ["by"], registry=REGISTRY
)
BALANCE_DRIFT: Final = Histogram(
    "sagapay_balance_drift_entries",
    "How many entries a cached balance was behind the ledger, each time both were read.",
    buckets=(0, 1, 2, 5, 10, 50, 100, 1000),
    registry=REGISTRY,
)
BALANCE_CONTRADICTIONS: Final = Counter(
    "sagapay_balance_contradictions",
    "Cached balances that the ledger has never had: another sum at the same version, or a later version.",
    registry=REGISTRY,
)
HOPELESS: Final = Counter(
    "sagapay_hopeless_debits",
    "Debits that the cache says cannot be paid: refused without a workflow, or what else became of them.",
    ["outcome"],
    registry=REGISTRY,
)
TURNS: Final = Counter(
    "sagapay_sender_turns",
    "Payments that asked for their sender's lock: they got it, or were shed.",
    ["outcome"],
    registry=REGISTRY,
)
