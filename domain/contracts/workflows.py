"""Workflow types, their updates and queues.

| workflow | id | queue | input → result |
|---|---|---|---|
| TransferWorkflow | the payment's | transfers | PaymentRequest → PaymentResult |
| DepositWorkflow, WithdrawalWorkflow | the payment's | payments | PaymentRequest → PaymentResult |
| SweepWorkflow | sweep (by a schedule) | operations | SweepRequest → SweepReport |

A payment's workflow id is `payment_workflow_id`. All payments answer the update `accepted` as soon as their first
step has its outcome, and `retry`, `cancel`, `resolve` and `force` to operators.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from domain.ids import ClientId, WalletId

TRANSFER_WORKFLOW: Final = "TransferWorkflow"
DEPOSIT_WORKFLOW: Final = "DepositWorkflow"
WITHDRAWAL_WORKFLOW: Final = "WithdrawalWorkflow"
SWEEP_WORKFLOW: Final = "SweepWorkflow"
SWEEP_SCHEDULE: Final = "sweep-orphans"

ACCEPTED_UPDATE: Final = "accepted"
RETRY_UPDATE: Final = "retry"
CANCEL_UPDATE: Final = "cancel"
RESOLVE_UPDATE: Final = "resolve"
FORCE_UPDATE: Final = "force"

CANNOT_CANCEL: Final = "cannot_cancel"
CANNOT_RETRY: Final = "cannot_retry"
CANNOT_RESOLVE: Final = "cannot_resolve"

_LONGEST_PLAIN_ID: Final = 200
_HASHED: Final = "sha256-"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCommand:
    """Who tells a payment what, and why; kept in the history and in the ledger.

    What comes through the API names what that has recorded. `outcome` is a `BankOutcome` for `resolve` and `force`.
    """

    by: str = ""
    reason: str = ""
    action_id: str = ""
    outcome: str = ""


def payment_workflow_id(client_id: ClientId, wallet_id: WalletId, key: str) -> str:
    """`{client}:{wallet}:{key}`, the key hashed where it is long, so that Temporal itself refuses a second run."""
    plain = f"{client_id}:{wallet_id}:{key}"
    if len(plain) <= _LONGEST_PLAIN_ID and not key.startswith(_HASHED):  # Nobody can spell another key's hash.
        return plain
    return f"{client_id}:{wallet_id}:{_HASHED}{sha256(key.encode()).hexdigest()}"
