"""What operators see of parked payments, and of what was told them."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from api.views import TransactionDetail, TransactionView, View, detail_of_transaction, view_of_transaction
from domain.contracts.operators import ActionKind, ActionState, BankOutcome, OperatorAction, Via
from domain.ids import ActionId, ClientId, TransactionId
from ledger.service import TimelineItem, Transaction


class ParkedView(TransactionView):
    """A parked payment."""

    client_id: ClientId
    bank: str | None = None
    workflow_id: str = Field(description="As the Temporal UI has it.")


class ParkedPageView(View):
    """A page of parked payments, oldest first; no `next_cursor` on the last."""

    payments: list[ParkedView]
    next_cursor: str | None = None


class ActionView(View):
    """Something that an operator told a payment, and what became of it."""

    action_id: ActionId
    transaction_id: TransactionId
    kind: ActionKind
    state: ActionState = Field(description="A force is `asked` until a second operator approves it.")
    via: Via = Field(description="From the Temporal UI (`temporal`) anyone can write any name.")
    by: str = Field(
        examples=["operator:2f6c4c0b8a1d9e37"], description="The API key's id, as `sagapay keys list` says."
    )
    reason: str
    outcome: BankOutcome | None = None
    evidence: str | None = None
    step: str | None = None
    approved_by: str | None = None
    note: str | None = Field(default=None, description="Why it was approved, or refused.")
    created_at: datetime


class ParkedDetailView(TransactionDetail):
    """A payment with everything that operators told it, oldest first."""

    client_id: ClientId
    bank: str | None = None
    workflow_id: str
    actions: list[ActionView]


def view_of_parked(found: Transaction) -> ParkedView:
    """A parked payment as the ledger has it."""
    return ParkedView(**dict(view_of_transaction(found)), **_for_operators(found))


def view_of_action(action: OperatorAction) -> ActionView:
    """An action as recorded."""
    return ActionView(
        action_id=action.action_id,
        transaction_id=action.transaction_id,
        kind=action.kind,
        state=action.state,
        via=action.via,
        by=action.by,
        reason=action.reason,
        outcome=action.outcome,
        evidence=action.evidence,
        step=action.step,
        approved_by=action.approved_by,
        note=action.note,
        created_at=action.created_at,
    )


def detail_of_parked(
    found: Transaction, timeline: Sequence[TimelineItem], actions: Sequence[OperatorAction]
) -> ParkedDetailView:
    """A payment as the ledger has it, for operators."""
    return ParkedDetailView(
        **dict(detail_of_transaction(found, timeline)),
        **_for_operators(found),
        actions=[view_of_action(action) for action in actions],
    )


def _for_operators(found: Transaction) -> dict[str, str | None]:
    return {"client_id": found.client_id, "bank": found.bank, "workflow_id": found.workflow_id}
