"""Transactions: kinds, statuses, their legal moves, and the steps by which they touch the ledger."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.errors import IllegalTransition


class TransactionKind(StrEnum):
    """What an app can ask for."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"


class TransactionStatus(StrEnum):
    """Where a transaction stands. A payment that needs a person stays PROCESSING, with attention."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETURNED = "returned"

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in (TransactionStatus.PENDING, TransactionStatus.PROCESSING)


LEGAL_MOVES: Final = MappingProxyType(
    {
        TransactionStatus.PENDING: frozenset(
            {TransactionStatus.PROCESSING, TransactionStatus.SUCCEEDED, TransactionStatus.FAILED}
        ),
        TransactionStatus.PROCESSING: frozenset({TransactionStatus.SUCCEEDED, TransactionStatus.FAILED}),
        TransactionStatus.SUCCEEDED: frozenset({TransactionStatus.RETURNED}),
        TransactionStatus.FAILED: frozenset[TransactionStatus](),
        TransactionStatus.RETURNED: frozenset[TransactionStatus](),
    }
)


def move(current: TransactionStatus, target: TransactionStatus) -> TransactionStatus:
    """`target`, if the move is legal or no move at all. Raises IllegalTransition. The database has the same guard."""
    if target != current and target not in LEGAL_MOVES[current]:
        raise IllegalTransition(f"a transaction cannot go from {current} to {target}")
    return target


class Step(StrEnum):
    """One thing a transaction does to the ledger. Each (transaction, step) has exactly one outcome, for ever."""

    SETTLE_TRANSFER = "settle_transfer"
    SEND_TRANSFER = "send_transfer"
    RECEIVE_TRANSFER = "receive_transfer"
    COMPLETE_TRANSFER = "complete_transfer"
    REVERSE_TRANSFER = "reverse_transfer"
    CAPTURE_HOLD = "capture_hold"
    RECORD_DEPOSIT = "record_deposit"
    CREDIT_DEPOSIT = "credit_deposit"
    SETTLE_DEPOSIT = "settle_deposit"
    MATURE_DEPOSIT = "mature_deposit"
    FAIL_DEPOSIT = "fail_deposit"
    HOLD_WITHDRAWAL = "hold_withdrawal"
    CAPTURE_WITHDRAWAL = "capture_withdrawal"
    SETTLE_WITHDRAWAL = "settle_withdrawal"
    RELEASE_WITHDRAWAL = "release_withdrawal"
    RETURN_DEPOSIT = "return_deposit"
    RETURN_WITHDRAWAL = "return_withdrawal"
    SUSPEND_OUTGOING = "suspend_outgoing"
    SUSPEND_INCOMING = "suspend_incoming"
    CLEAR_OUTGOING = "clear_outgoing"
    CLEAR_INCOMING = "clear_incoming"
    WRITE_OFF_OUTGOING = "write_off_outgoing"
    WRITE_OFF_INCOMING = "write_off_incoming"
    WRITE_OFF_DEBT = "write_off_debt"


class StepDecision(StrEnum):
    """What became of a step; the first one recorded wins."""

    POSTED = "posted"
    REFUSED = "refused"
