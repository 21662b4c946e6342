"""The sweeper: an open transaction or batch whose workflow does not run gets a new one that resumes it."""

from dataclasses import dataclass

import structlog
from temporalio import activity
from temporalio.client import Client

from activities.failures import as_failures
from domain.contracts.activities import SWEEP_ORPHANS, SweepReport, SweepRequest
from domain.contracts.batches import BatchRequest
from domain.contracts.payments import PaymentRequest, RetryPlan
from infra.batches import start_batch
from infra.payments import start_payment
from infra.settings import Settings
from ledger.batches import Batches
from ledger.service import LedgerService, Transaction

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SweepActivities:
    """Needs the ledger to find them and Temporal's client to start them."""

    ledger: LedgerService
    batches: Batches
    client: Client
    settings: Settings

    @activity.defn(name=SWEEP_ORPHANS)
    async def sweep_orphans(self, request: SweepRequest) -> SweepReport:
        """Start what does not run. Starting a workflow that runs is refused by Temporal itself, so none runs twice."""
        seen = restarted = 0
        with as_failures():
            async for transaction in self.ledger.open_transactions(older_than_seconds=request.older_than_seconds):
                activity.heartbeat(seen)
                seen += 1
                restarted += await self._start(transaction)
            async for batch in self.batches.open_batches(older_than_seconds=request.older_than_seconds):
                activity.heartbeat(seen)
                seen += 1
                wanted = BatchRequest(batch_id=batch.batch_id, mode=batch.mode, transfers=batch.transfers)
                restarted += await start_batch(self.client, wanted, batch.client_id)
        return SweepReport(seen=seen, restarted=restarted)

    async def _start(self, transaction: Transaction) -> bool:
        request = _request_of(transaction, self.settings.retry_plan())
        started = await start_payment(self.client, request, "resumed by the sweeper")
        if started:
            _log.warning("orphan restarted", transaction_id=transaction.transaction_id, kind=transaction.kind)
        return started


def _request_of(transaction: Transaction, plan: RetryPlan) -> PaymentRequest:
    return PaymentRequest(
        transaction_id=transaction.transaction_id,
        kind=transaction.kind,
        client_id=transaction.client_id,
        amount=transaction.amount,
        workflow_id=transaction.workflow_id,
        effective_at=transaction.effective_at,
        source_wallet_id=transaction.source_wallet_id,
        destination_wallet_id=transaction.destination_wallet_id,
        bank_account_id=transaction.bank_account_id,
        bank=transaction.bank,
        memo=transaction.memo,
        plan=plan,
        hold_id=transaction.hold_id,
        rails=transaction.rails,
        trace=transaction.trace,
    )
