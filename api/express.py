"""The express lane: a transfer that one commit can finish is committed by the API itself, without a workflow.

Whatever is not finished then and there goes on in the workflow under the same key and the same transaction id. Both
lanes take the same first step through the ledger's service, so for one key they make one effect and give one answer.
"""

import asyncio
from typing import Final, Protocol

import structlog

from api.metrics import EXPRESS
from domain.contracts.payments import PaymentRequest, PaymentResult, StepResult
from domain.errors import IdempotencyKeyReused, LedgerBusy
from domain.transactions import Step, TransactionKind
from infra.settings import Settings
from ledger.service import LedgerService

LONGEST_PATIENCE_SECONDS: Final = 2.0
"""A commit that takes longer is left to the workflow, which repeats it for as long as it takes."""

log = structlog.get_logger("api")


class Starter(Protocol):
    """Whoever gets a payment recorded."""

    async def accept(self, request: PaymentRequest) -> PaymentResult:
        """The recorded outcome of the first step. Raises Unavailable where it is open whether there is one."""
        ...


class ExpressLane:
    """Commits transfers itself, and hands `workflows` what it cannot finish, and everything else."""

    def __init__(self, settings: Settings, ledger: LedgerService, workflows: Starter) -> None:
        # Both lanes together have the time that the caller has.
        self._patience_seconds = min(LONGEST_PATIENCE_SECONDS, settings.accept_timeout_seconds / 2)
        self._ledger = ledger
        self._workflows = workflows

    async def accept(self, request: PaymentRequest) -> PaymentResult:
        """See Starter.

        Raises IdempotencyKeyReused, and LedgerBusy: a ledger that has enough to do gets no workflow's attempts on top.
        """
        if request.kind is not TransactionKind.TRANSFER:
            return await self._workflows.accept(request)
        settled = await first_outcome(self._ledger, request, request.transfer_step, self._patience_seconds)
        if settled is not None and settled.status.final:
            EXPRESS.labels("finished").inc()
            return result_of(settled)
        EXPRESS.labels("handed_over" if settled is None else "begun").inc()
        return await self._workflows.accept(request)


async def first_outcome(
    ledger: LedgerService, request: PaymentRequest, step: Step, patience_seconds: float
) -> StepResult | None:
    """The first step's outcome, or None where it is not known. Raises IdempotencyKeyReused and LedgerBusy."""
    try:
        async with asyncio.timeout(patience_seconds):
            return await ledger.begin(request, step)
    except (IdempotencyKeyReused, LedgerBusy):
        raise
    except Exception as error:  # noqa: BLE001  -- the workflow finds out what became of it, and operators see it there
        log.warning("express.handed_over", transaction_id=request.transaction_id, error=repr(error))
        return None


def result_of(settled: StepResult) -> PaymentResult:
    """What a payment's workflow would have replied."""
    return PaymentResult(
        transaction_id=settled.transaction_id,
        status=settled.status,
        failure=settled.failure,
        replayed=settled.replayed,
        fingerprint=settled.fingerprint,
    )
