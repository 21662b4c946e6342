"""Holding an answer until a payment is final: the workflow's end wakes us, the ledger says what is true."""

import asyncio
from typing import Final

from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from api.temporal_link import TemporalLink
from domain.errors import NotFound, WorkflowsUnavailable
from domain.ids import TransactionId
from ledger.service import LedgerService, Transaction

MAX_WAIT_SECONDS: Final = 30
_FIRST_LOOK_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 2.0


class Waiting:
    """Long polls. `stop` ends them all at once, so that a server can drain."""

    def __init__(self, ledger: LedgerService, link: TemporalLink) -> None:
        self._ledger = ledger
        self._link = link
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Answer all waiting callers with what is true now."""
        self._stopping.set()

    async def until_final(self, transaction: Transaction, seconds: float) -> Transaction:
        """The transaction, once it is final or the time is up."""
        if transaction.status.final or seconds <= 0:
            return transaction
        ended = asyncio.create_task(self._workflow_ended(transaction.workflow_id))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            return await self._poll(transaction, seconds, {ended, stopping})
        finally:
            ended.cancel()
            stopping.cancel()

    async def _poll(self, transaction: Transaction, seconds: float, wakers: set[asyncio.Task[bool]]) -> Transaction:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + seconds, _FIRST_LOOK_SECONDS
        while not transaction.status.final and not self._stopping.is_set():
            left = deadline - loop.time()
            if left <= 0:
                break
            done, wakers = await asyncio.wait(wakers, timeout=min(pause, left), return_when=asyncio.FIRST_COMPLETED)
            pause = _FIRST_LOOK_SECONDS if done else min(pause * 2, _LONGEST_PAUSE_SECONDS)
            transaction = await self._current(transaction.transaction_id)
        return transaction

    async def _current(self, transaction_id: TransactionId) -> Transaction:
        found = await self._ledger.transaction(transaction_id)
        if found is None:
            raise NotFound
        return found

    async def _workflow_ended(self, workflow_id: str) -> bool:
        # Only a hint to look sooner: without Temporal the pauses alone find the end.
        try:
            await self._link.client.get_workflow_handle(workflow_id).result()
        except (WorkflowFailureError, WorkflowsUnavailable, RPCError, RuntimeError):
            return False
        return True
