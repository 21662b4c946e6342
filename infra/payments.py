"""Starting a recorded payment's workflow: the sweeper where none runs, a batch for a transfer that takes longer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from temporalio.client import Client

from domain.contracts.payments import PAYMENT_QUEUE, TRANSFER_QUEUE, PaymentRequest
from domain.contracts.workflows import DEPOSIT_WORKFLOW, TRANSFER_WORKFLOW, WITHDRAWAL_WORKFLOW
from domain.transactions import TransactionKind
from infra.temporal import payment_attributes, start_once

WORKFLOW_OF: Final[Mapping[TransactionKind, tuple[str, str]]] = MappingProxyType(
    {
        TransactionKind.TRANSFER: (TRANSFER_WORKFLOW, TRANSFER_QUEUE),
        TransactionKind.DEPOSIT: (DEPOSIT_WORKFLOW, PAYMENT_QUEUE),
        TransactionKind.WITHDRAWAL: (WITHDRAWAL_WORKFLOW, PAYMENT_QUEUE),
    }
)
"""Each kind's workflow and its task queue."""


async def start_payment(client: Client, request: PaymentRequest, remark: str) -> bool:
    """Start the workflow of a recorded payment that is not final; False where it runs already.

    The workflow's id is the payment's own, so Temporal itself lets none run twice. The `remark` stands in its summary
    and says who has started it. Raises RPCError and RuntimeError.
    """
    workflow, queue = WORKFLOW_OF[request.kind]
    return await start_once(
        client,
        workflow,
        request,
        workflow_id=request.workflow_id,
        queue=queue,
        attributes=payment_attributes(request),
        summary=f"{request.kind} {request.amount}, {remark}",
    )
