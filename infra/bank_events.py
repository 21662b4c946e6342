"""Having the inbox of what banks sent looked at."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from domain.contracts.bank_events import BANK_EVENTS_WORKFLOW, BANK_EVENTS_WORKFLOW_ID, STORED_SIGNAL
from domain.contracts.payments import OPERATIONS_QUEUE


async def handle_bank_events(client: Client) -> None:
    """Have all that is stored acted on, by the run that is under way or a new one. Raises RPCError and RuntimeError."""
    await client.start_workflow(
        BANK_EVENTS_WORKFLOW,
        id=BANK_EVENTS_WORKFLOW_ID,
        task_queue=OPERATIONS_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=STORED_SIGNAL,
        static_summary="act on what banks have sent",
    )


PAUSE_SECONDS: Final = 3.0
"""A run costs Temporal and the worker as much as a payment does, and who waits asks the bank every 5 s anyway."""


class Soon:
    """Has something done at once, but no more often than every `pause_seconds`: once for all who asked meanwhile.

    A bank that settles at once sends an event for each payment.
    """

    def __init__(self, act: Callable[[], Awaitable[None]], pause_seconds: float = PAUSE_SECONDS) -> None:
        self._act = act
        self._pause_seconds = pause_seconds
        self._not_before = 0.0
        self._coming = False

    async def __call__(self) -> None:
        """It begins after this was called; who asks while another waits for it returns. Raises what `act` raises."""
        if self._coming:
            return
        self._coming = True
        try:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
        finally:
            self._coming = False
        self._not_before = time.monotonic() + self._pause_seconds
        await self._act()
