"""What banks take back: how it is noticed, and the workflow that books each return.

| workflow | id | queue | input → result |
|---|---|---|---|
| WatchReturnsWorkflow | watch-returns (by a schedule) | operations | WatchRequest → WatchReport |
| ReturnWorkflow | `return:{bank}:{reference of the return}` | payments | ReturnRequest → ReturnOutcome |

| activity | queue | input → result |
|---|---|---|
| find_returns | the bank's | FindReturns → FoundReturns |
| take_return | payments | ReturnRequest → ReturnOutcome |
| follow_return | payments | ReturnRequest → nothing |
| clear_return | payments | ActionClaim → SuspenseItem |
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.contracts.payments import ReturnNotice
from domain.contracts.suspense import Clearance
from domain.ids import TransactionId
from domain.money import Money

WATCH_RETURNS_WORKFLOW: Final = "WatchReturnsWorkflow"
WATCH_RETURNS_SCHEDULE: Final = "watch-returns"
RETURN_WORKFLOW: Final = "ReturnWorkflow"

FIND_RETURNS: Final = "find_returns"
TAKE_RETURN: Final = "take_return"
FOLLOW_RETURN: Final = "follow_return"
CLEAR_RETURN: Final = "clear_return"

_OF_A_RETURN: Final = "return"


class Unmatched(StrEnum):
    """Why a return is no payment's, or has no wallet to go to: it goes to suspense and parks, and a person acts."""

    UNKNOWN = "return_unknown"
    WRONG_AMOUNT = "return_wrong_amount"
    TWICE = "return_twice"
    LATE = "return_late"
    NEVER_PAID = "return_never_paid"
    WALLET_CLOSED = "return_wallet_closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnRequest:
    """A return as the bank's statement has it. `reference` is ours, of the payment; `notice` has the bank's own.

    `returned_at` and `settled_at`, if it says when the payment had settled, are the bank's business time. `moved` is
    what it has moved on our account there, signed minor units; None only in histories from before it was kept.
    """

    bank: str
    reference: str
    amount: Money
    returned_at: datetime
    notice: ReturnNotice
    settled_at: datetime | None = None
    moved: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """Where an unmatched return is booked since when, and how that has ended, if it has."""

    item_id: TransactionId
    since: datetime
    cleared_as: Clearance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnOutcome:
    """The payment is RETURNED now, or why it is not, and then what became of the return: `suspended`."""

    transaction_id: TransactionId | None = None
    unmatched: Unmatched | None = None
    detail: str = ""
    suspended: Suspended | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindReturns:
    """Read a bank's statement from `since`; None is as far back as any return may lie."""

    bank: str
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundReturns:
    """What had come back, and until when the statement was read."""

    returns: list[ReturnRequest]
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """The banks whose statements are read."""

    banks: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReport:
    """Until when each bank's statement was read: where the next run begins. How many returns were new."""

    read_until: dict[str, datetime] = field(default_factory=dict)
    started: int = 0


def return_workflow_id(bank: str, reference: str) -> str:
    """One workflow for each return, by the bank's own reference of it."""
    return f"{_OF_A_RETURN}:{bank}:{reference}"


def bank_and_reference(workflow_id: str) -> tuple[str, str] | None:
    """What `return_workflow_id` was made of, None for another workflow's id."""
    kind, _, rest = workflow_id.partition(":")
    bank, _, reference = rest.partition(":")
    return (bank, reference) if kind == _OF_A_RETURN and bank and reference else None
