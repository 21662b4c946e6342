"""What operators do to payments, as recorded: who, why, and where money is concerned what they say of the bank."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.ids import ActionId, TransactionId


class ActionKind(StrEnum):
    """What an operator tells a payment."""

    RETRY = "retry"
    CANCEL = "cancel"
    RESOLVE = "resolve"
    FORCE = "force"

    @property
    def rules(self) -> bool:
        """Whether it moves money by a person's word: then it comes through the operators' API alone."""
        return self in (ActionKind.RESOLVE, ActionKind.FORCE)


class BankOutcome(StrEnum):
    """What a person says that the bank has done; of a return, that it has put it right, or never will.

    It has `paid` what it has accepted and will settle in its time, and `settled` what its statement has.
    """

    PAID = "paid"
    SETTLED = "settled"
    NOT_PAID = "not_paid"
    CORRECTED = "corrected"
    WRITTEN_OFF = "written_off"


class Via(StrEnum):
    """How an action came: by an authenticated call, or from the Temporal UI, where anyone may write any name."""

    API = "api"
    TEMPORAL = "temporal"


class ActionState(StrEnum):
    """How far an action is. A `force` is proposed until a second person approves it."""

    ASKED = "asked"
    APPROVED = "approved"
    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAction:
    """What somebody asks for. `step` and `since` are those of the attention that they saw."""

    action_id: ActionId
    transaction_id: TransactionId
    kind: ActionKind
    via: Via
    by: str
    reason: str
    outcome: BankOutcome | None = None
    evidence: str | None = None
    step: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAction:
    """An action as recorded. `since` is that of the attention it answers, `note` why somebody approved or refused."""

    action_id: ActionId
    transaction_id: TransactionId
    kind: ActionKind
    via: Via
    by: str
    reason: str
    state: ActionState
    created_at: datetime
    outcome: BankOutcome | None = None
    evidence: str | None = None
    step: str | None = None
    since: datetime | None = None
    approved_by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionClaim:
    """A payment's workflow is about to do what `action_id` says. Without `recorded` nothing was recorded before.

    That is so for what comes from the Temporal UI: it is recorded now, as said by `by` because of `reason`.
    """

    action_id: ActionId
    transaction_id: TransactionId
    kind: ActionKind
    recorded: bool
    by: str = ""
    reason: str = ""
    outcome: str = ""
    step: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFilter:
    """Which parked payments: those parked before `before`, and with these words."""

    reason: str | None = None
    step: str | None = None
    bank: str | None = None
    before: datetime | None = None
