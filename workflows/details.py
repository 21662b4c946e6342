"""What operators read at the top of a payment in the Temporal UI: Markdown, no personal data."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.contracts.batches import BatchRequest
    from domain.contracts.payments import CONTRADICTION, Attention, PaymentRequest, StepResult
    from domain.contracts.returns import ReturnRequest
    from domain.transactions import TransactionKind


def parked_details(request: PaymentRequest, first: StepResult, attention: Attention | None) -> str:
    """Why a payment is parked and what can be done, or that it goes on."""
    head = f"**{request.kind} of {request.amount}**, transaction `{first.transaction_id}`"
    if attention is None:
        return f"{head}: goes on by itself."
    known, unknown = _KNOWN.get(attention.reason, _A_BUG)
    is_transfer = request.kind is TransactionKind.TRANSFER
    return f"""{head}: **parked**

| | |
|---|---|
| step | `{attention.step}` |
| reason | `{attention.reason}` |
| since | {attention.since.isoformat(timespec="seconds")} |
| bank | {request.bank or "none"} |

> {attention.detail}

**Known:** {known}

**Not known:** {unknown}

**What you can do:** it tries again by itself every {request.plan.slow_retry_seconds:.0f} s. To try now, send the update
`retry`; to end it unpaid, send the update `cancel`: {_WHEN_CANCELLED[is_transfer]}. Both take
`{{"by": "your name", "reason": "why"}}`. {"" if is_transfer else _BY_WORD}

More in {runbook_of(attention.reason)}.
"""


_WHEN_CANCELLED: Final = {
    False: "the bank is asked first, and the payment ends only if the bank never got it",
    True: "the sender gets the money back once the receiver's shard has recorded that it does not take it",
}
_BY_WORD: Final = (
    "What the bank says by other ways than its interface is recorded with `sagapay attention resolve`, and only there."
)
_KNOWN: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "bank_unavailable": (
            "the bank did not get our last request.",
            "when it is back, and what became of earlier requests. It is asked before it is told anything again.",
        ),
        "bank_unknown": (
            "a request was sent, or the bank was asked too early to be sure.",
            "whether the bank has done it. It is asked by our reference; nothing is told it twice.",
        ),
        "timed_out": (
            "no attempt came to an end in time.",
            "whether the bank got one of them; no worker may be there for this bank.",
        ),
        "ledger_unavailable": (
            "the database was away when the payment was to be read.",
            "nothing else: the money is where the last step of the timeline left it.",
        ),
        CONTRADICTION: (
            "the bank says otherwise than before, or than a person said in its name.",
            "which of the two is right. No money is moved for it.",
        ),
    }
)
_A_BUG: Final = (
    "the ledger was asked for something that is never right; it has recorded nothing of it.",
    "why it was asked: that is a bug.",
)


def runbook_of(reason: str) -> str:
    """Where a person reads what to do about a kind of attention."""
    return f"docs/operations/runbooks.md#{reason}"


def batch_details(request: BatchRequest, attention: Attention | None, slow_retry: timedelta) -> str:
    """Why a batch is parked, or that it goes on."""
    head = f"**batch of {request.transfers} transfers**, `{request.batch_id}`"
    if attention is None:
        return f"{head}: goes on by itself."
    return f"""{head}: **parked**

| | |
|---|---|
| step | `{attention.step}` |
| reason | `{attention.reason}` |
| since | {attention.since.isoformat(timespec="seconds")} |

> {attention.detail}

It tries again by itself every {slow_retry.total_seconds():.0f} s. To try now, send the update `retry` with
`{{"by": "your name", "reason": "why"}}`. What is paid stays paid. More in docs/operations/stuck-payments.md.
"""


def return_details(request: ReturnRequest, attention: Attention | None, slow_retry: timedelta) -> str:
    """Why a return is parked, or that it goes on."""
    head = f"**{request.notice.code}: {request.amount} came back** of `{request.reference}`"
    if attention is None:
        return f"{head}: booked."
    return f"""{head}: **parked**

| | |
|---|---|
| bank | {request.bank}, its reference `{request.notice.reference}` |
| step | `{attention.step}` |
| reason | `{attention.reason}` |
| since | {attention.since.isoformat(timespec="seconds")} |

> {attention.detail}

Nothing is booked: the bank's statement and our books differ by this amount until it is. It tries again by itself every
{slow_retry.total_seconds():.0f} s. To try now, send the update `retry` with `{{"by": "your name", "reason": "why"}}`.
More in docs/operations/returns.md.
"""
