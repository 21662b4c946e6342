"""What is said of holds that apps ask for: to the ledger, and to the workflow that ends those whose time has come.

| workflow | id | queue | input → result |
|---|---|---|---|
| ExpireHoldsWorkflow | expire-holds (by a schedule) | operations | nothing → ExpiryReport |

| activity | input | result |
|---|---|---|
| expire_holds | nothing | ExpiryReport |

A capture is a transfer that names the hold: `PaymentRequest.hold_id`, first step `capture_hold`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.contracts.payments import IdempotencyRecord
from domain.ids import ClientId, HoldId, WalletId
from domain.money import Money

EXPIRE_HOLDS_WORKFLOW: Final = "ExpireHoldsWorkflow"
EXPIRE_HOLDS_SCHEDULE: Final = "expire-holds"
EXPIRE_HOLDS: Final = "expire_holds"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRequest:
    """A hold as the API accepted it. `hold_id` is a proposal: a key that was used before answers with the id then.

    `effective_at` and `expires_at` are business time.
    """

    hold_id: HoldId
    client_id: ClientId
    wallet_id: WalletId
    amount: Money
    effective_at: datetime
    expires_at: datetime
    idempotency: IdempotencyRecord
    memo: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryReport:
    """How many holds were due and looked at; those that had ended in the meantime are among them.

    `matured` are the deposits of which something had waited to be available.
    """

    due: int
    matured: int = 0
