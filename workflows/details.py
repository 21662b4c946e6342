"""What operators read at the top of a payment in the Temporal UI: Markdown, no personal data."""

from datetime import timedelta
from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.contracts.batches import BatchRequest
    from domain.contracts.payments import Attention, PaymentRequest, StepResult
    from domain.contracts.returns import ReturnRequest
    from domain.transactions import TransactionKind


def parked_details(request: PaymentRequest, first: StepResult, attention: Attention | None) -> str:
    """Why a payment is parked and what can be done, or that it goes on."""
    head = f"**{request.kind} of {request.amount}**, transaction `{first.transaction_id}`"
    if attention is None:
        return f"{head}: goes on by itself."
    return f"""{head}: **parked**

| | |
|---|---|
| step | `{attention.step}` |
| reason | `{attention.reason}` |
| since | {attention.since.isoformat(timespec="seconds")} |
| bank | {request.bank or "none"} |

> {attention.detail}

It tries again by itself every {request.plan.slow_retry_seconds:.0f} s. To try now, send the update `retry`; to end it
unpaid, send the update `cancel`: {_WHEN_CANCELLED[request.kind is TransactionKind.TRANSFER]}. Both take
`{{"by": "your name", "reason": "why"}}`. More in docs/operations/stuck-payments.md.
"""


_WHEN_CANCELLED: Final = {
    False: "the bank is asked first, and the payment ends only if the bank never got it",
    True: "the sender gets the money back once the receiver's shard has recorded that it does not take it",
}


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
