"""What operators read at the top of a workflow in the Temporal UI: Markdown, no personal data.

Each says the same of what is parked: what is known, what is not, what can be done, and which runbook tells more.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.contracts.batches import BatchRequest
    from domain.contracts.payments import CONTRADICTION, Attention, PaymentRequest, StepResult
    from domain.contracts.returns import ReturnRequest, Suspended, Unmatched
    from domain.transactions import TransactionKind

ANY_OTHER: Final = "any_other"
"""The runbook of a reason that nobody has foreseen: the name of an exception."""

_A_BUG: Final = (
    "the ledger was asked for something that is never right; it has recorded nothing of it.",
    "why it was asked: that is a bug.",
)
_UNFORESEEN: Final = ("a step failed in a way that nobody has foreseen.", "whether it was done. Trying again is safe.")

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
            "whether the bank got one of them. No worker may be there for this bank, or the bank is left alone.",
        ),
        "ledger_unavailable": (
            "the database was away when the payment was to be read.",
            "nothing else: the money is where the last step of the timeline left it.",
        ),
        "ledger_busy": (
            "the ledger had more to do than it takes, and turned the step away.",
            "nothing else: the money is where the last step of the timeline left it.",
        ),
        CONTRADICTION: (
            "the bank says otherwise than before, or than a person said in its name.",
            "which of the two is right. No money is moved for it.",
        ),
        "ledger_rejected": _A_BUG,
        "illegal_transition": _A_BUG,
        Unmatched.UNKNOWN: (
            "the bank's statement has a return of a payment that we never sent to it.",
            "whose it is: only the bank can say.",
        ),
        Unmatched.WRONG_AMOUNT: (
            "the payment is ours, and another amount came back than was paid.",
            "why: networks return payments whole.",
        ),
        Unmatched.TWICE: (
            "the payment came back before, under another reference, and was booked then.",
            "whether the bank took the money twice, or told it twice.",
        ),
        Unmatched.LATE: (
            "the payment is ours, and its code's window for returns is over.",
            "whether the bank takes it back when it is disputed.",
        ),
        Unmatched.WALLET_CLOSED: (
            "the payment is ours, it came back whole and in time, and its wallet has been closed meanwhile.",
            "where its owner wants the money. It cannot be paid into the wallet.",
        ),
        Unmatched.NEVER_PAID: (
            "the payment failed here, and the bank says that it was paid and came back.",
            "why the bank said otherwise before: look at the payment's timeline.",
        ),
    }
)
KINDS: Final = frozenset(_KNOWN)
"""Every reason to be parked that is foreseen; each has a runbook of its name."""

_WHEN_CANCELLED: Final = {
    False: "the bank is asked first, and the payment ends only if the bank never got it",
    True: "the sender gets the money back once the receiver's shard has recorded that it does not take it",
}
_BY_WORD: Final = (
    "What the bank says by other ways than its interface is recorded with `sagapay attention resolve`, and only there."
)
_WHO: Final = '`{"by": "your name", "reason": "why"}`'


def runbook_of(reason: str) -> str:
    """Where a person reads what to do about a kind of attention."""
    return f"docs/operations/runbooks.md#{reason if reason in KINDS else ANY_OTHER}"


def parked_details(request: PaymentRequest, first: StepResult, attention: Attention | None) -> str:
    """Why a payment is parked and what can be done, or that it goes on."""
    head = f"**{request.kind} of {request.amount}**, transaction `{first.transaction_id}`"
    if attention is None:
        return f"{head}: goes on by itself."
    is_transfer = request.kind is TransactionKind.TRANSFER
    return _parked(
        head,
        attention,
        request.bank or "none",
        f"it tries again by itself every {request.plan.slow_retry_seconds:.0f} s. To try now, send the update `retry`; "
        f"to end it unpaid, send the update `cancel`: {_WHEN_CANCELLED[is_transfer]}. Both take {_WHO}. "
        f"{'' if is_transfer else _BY_WORD}",
    )


def batch_details(request: BatchRequest, attention: Attention | None, slow_retry: timedelta) -> str:
    """Why a batch is parked, or that it goes on."""
    head = f"**batch of {request.transfers} transfers**, `{request.batch_id}`"
    if attention is None:
        return f"{head}: goes on by itself."
    return _parked(
        head,
        attention,
        "none",
        f"{_again(slow_retry)} What is paid stays paid, and is not paid again. A batch cannot be cancelled.",
    )


def return_details(
    request: ReturnRequest, attention: Attention | None, suspended: Suspended | None, slow_retry: timedelta
) -> str:
    """Why a return is parked, or that it goes on."""
    head = f"**{request.notice.code}: {request.amount} came back** of `{request.reference}`"
    if attention is None:
        return f"{head}: {'booked' if suspended is None else f'off the suspense account, {suspended.cleared_as}'}."
    if suspended is None:
        books = "Until it is booked, the bank's statement and our books differ by this amount."
    else:
        books = (
            f"It is on the suspense account since {suspended.since.isoformat(timespec='seconds')}, as "
            f"`{suspended.item_id}`. When the bank has put it right, say so: `sagapay attention resolve corrected`. "
            "If it never will, two people write it off: `sagapay attention force written_off`."
        )
    return _parked(
        head,
        attention,
        f"{request.bank}, its reference `{request.notice.reference}`",
        f"{_again(slow_retry)} {books}",
    )


def _again(slow_retry: timedelta) -> str:
    every = f"it tries again by itself every {slow_retry.total_seconds():.0f} s."
    return f"{every} To try now, send the update `retry` with {_WHO}."


def _parked(head: str, attention: Attention, bank: str, can_do: str) -> str:
    known, unknown = _KNOWN.get(attention.reason, _UNFORESEEN)
    return f"""{head}: **parked**

| | |
|---|---|
| step | `{attention.step}` |
| reason | `{attention.reason}` |
| since | {attention.since.isoformat(timespec="seconds")} |
| bank | {bank} |

> {attention.detail}

**Known:** {known}

**Not known:** {unknown}

**What you can do:** {can_do}

More in {runbook_of(attention.reason)}.
"""
