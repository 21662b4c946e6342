"""What people do in a simulation: they retry, and they say what the bank's books say."""

from typing import Final

from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from bank_adapters.port import PaymentState
from domain import search_attributes
from domain.contracts.operators import ActionKind, BankOutcome
from domain.contracts.returns import RETURN_WORKFLOW, return_workflow_id
from domain.contracts.workflows import CANNOT_RETRY, DEPOSIT_WORKFLOW, TRANSFER_WORKFLOW, WITHDRAWAL_WORKFLOW
from domain.errors import CannotApprove
from tests.simulation.books import bank_books, our_payments
from tests.simulation.checks import Made
from tests.simulation.plan import Remedy
from tests.workflow.operators import retry
from tests.workflow.paths_ruled import JOHN, asked, ruled, tell
from tests.workflow.scene import Scene, until

_NOT_NOW: Final = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
"""What an update meets whose workflow has ended, or whose worker has lost a workflow task: people try again."""
_OUTCOMES: Final = {PaymentState.ACCEPTED: BankOutcome.PAID, PaymentState.SETTLED: BankOutcome.SETTLED}
"""What people say of what moves or has moved money."""
_RUNNING_PAYMENTS: Final = "ExecutionStatus = 'Running' AND WorkflowType IN ('{}')".format(
    "', '".join((DEPOSIT_WORKFLOW, WITHDRAWAL_WORKFLOW, TRANSFER_WORKFLOW))
)
_PARKED_RETURNS: Final = f"WorkflowType = '{RETURN_WORKFLOW}' AND ExecutionStatus = 'Running'"


async def retried(made: Made) -> bool:
    """Whether a parked payment was told to try again; it may have done so meanwhile, or have ended."""
    try:
        await retry(made.payment)
    except RPCError as error:
        if error.status in _NOT_NOW:
            return False
        raise
    except WorkflowUpdateFailedError as error:
        if isinstance(error.cause, ApplicationError) and error.cause.type == CANNOT_RETRY:
            return False
        raise
    return True


async def ruled_by_books(scene: Scene, made: Made) -> BankOutcome | None:
    """Once the payment is parked, say of it what the bank's books say; None where that is known, or it has ended."""

    async def parked_or_over() -> bool:
        payment = (await our_payments(scene))[made.transaction_id]
        return payment.reason is not None or payment.status in ("succeeded", "failed")

    await until(f"{made.planned} is parked or over", parked_or_over)
    if (await scene.transaction(made.payment)).attention is None:
        return None
    paid = (await bank_books(scene)).paid(made.transaction_id)
    outcome = BankOutcome.NOT_PAID if paid is None else _OUTCOMES[paid.state]
    if outcome is BankOutcome.PAID and (await our_payments(scene))[made.transaction_id].accepted:
        return None  # The bank has said so itself before it fell silent: there is nothing new in its books.
    if made.planned.remedy is Remedy.FORCE:
        await _forced(scene, made, outcome)
    else:
        await ruled(scene, made.payment, outcome)
    await until(f"{made.planned} is {outcome}", lambda: _followed(scene, made))
    return outcome


async def _forced(scene: Scene, made: Made, outcome: BankOutcome) -> None:
    """Maria asks, John agrees."""
    action_id = await asked(scene, made.payment, ActionKind.FORCE, outcome)
    try:
        await scene.ledger.approve_action(action_id, JOHN, "the bank's books say so")
    except CannotApprove:
        raise AssertionError(f"John may not agree to {action_id}") from None
    await tell(made.payment, ActionKind.FORCE, action_id, outcome)


async def _followed(scene: Scene, made: Made) -> bool:
    payment = (await our_payments(scene))[made.transaction_id]
    return payment.accepted or payment.status == "failed"


async def parked_returns(scene: Scene) -> dict[str, str | None]:
    """The returns that are not over, by the bank's reference, and why they are parked."""
    prefix = return_workflow_id(scene.bank.name, "")
    found: dict[str, str | None] = {}
    async for item in scene.temporal.list_workflows(_PARKED_RETURNS):
        reasons = item.search_attributes.get(search_attributes.ATTENTION) or [None]
        found[item.id.removeprefix(prefix)] = None if reasons[0] is None else str(reasons[0])
    return found


async def running_payments(scene: Scene) -> set[str]:
    """The ids of the payments' workflows that have not ended."""
    return {item.id async for item in scene.temporal.list_workflows(_RUNNING_PAYMENTS)}
