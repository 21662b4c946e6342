"""Acting on what banks have sent: each stored event once, in whatever order they came.

An event is never believed. It wakes the payment that it is about, which asks the bank by reference, or has the bank's
statement read; both happen by themselves, later, where nobody hears of it. So nothing is lost with an event, and
nothing done twice with two.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import structlog
from temporalio import activity
from temporalio.client import Client, ScheduleOverlapPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.failures import as_failures
from activities.heartbeats import heartbeats
from activities.references import payment_behind
from domain.bank_events import BankEventOutcome, BankEventType
from domain.contracts.bank_events import BANK_HAS_NEWS_SIGNAL, HANDLE_BANK_EVENTS, BankEventsReport
from domain.contracts.returns import WATCH_RETURNS_SCHEDULE
from domain.transactions import TransactionStatus
from ledger.bank_events import BankEvents, StoredEvent
from ledger.service import LedgerService, Transaction

PAGE: Final = 100
_PUT_OFF: Final = timedelta(seconds=30)

_log = structlog.get_logger(__name__)

Action = Callable[["BankEventActivities", StoredEvent, Transaction], Awaitable[BankEventOutcome]]


@dataclass(frozen=True, slots=True)
class BankEventActivities:
    """Needs the inbox, the ledger that knows whose payment it is, and Temporal's client to wake its workflow."""

    inbox: BankEvents
    ledger: LedgerService
    client: Client

    @activity.defn(name=HANDLE_BANK_EVENTS)
    async def handle_bank_events(self) -> BankEventsReport:
        """Act on every stored event that was not acted on. One that cannot be is put off and keeps no other waiting."""
        handled = put_off = 0
        with as_failures():
            async with heartbeats():
                while events := await self.inbox.waiting(PAGE):
                    for event in events:
                        outcome = await self._handle(event)
                        if outcome is None:
                            await self.inbox.put_off(event, _PUT_OFF)
                            put_off += 1
                        else:
                            await self.inbox.done(event, outcome)
                            handled += 1
        return BankEventsReport(handled=handled, put_off=put_off)

    async def _handle(self, event: StoredEvent) -> BankEventOutcome | None:
        action = ACTIONS.get(event.type)
        if action is None:
            return BankEventOutcome.IGNORED
        transaction = await payment_behind(self.ledger, event.bank, event.reference or "")
        if transaction is None:
            _log.warning("bank event about no payment of ours", bank=event.bank, event_id=event.event_id)
            return BankEventOutcome.UNKNOWN_PAYMENT
        try:
            return await action(self, event, transaction)
        except RPCError as error:
            _log.warning("bank event put off", bank=event.bank, event_id=event.event_id, error=str(error))
            return None

    async def wake(self, event: StoredEvent, transaction: Transaction) -> BankEventOutcome:
        """Have the payment ask its bank now. A payment that does not run has ended, or the sweeper resumes it."""
        if event.type == BankEventType.PAYMENT_SETTLED and transaction.status is TransactionStatus.SUCCEEDED:
            return BankEventOutcome.NOT_RUNNING  # It knows: most hear so from the bank's own answer.
        handle = self.client.get_workflow_handle(transaction.workflow_id)
        try:
            await handle.signal(BANK_HAS_NEWS_SIGNAL, event.event_id)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return BankEventOutcome.NOT_RUNNING
            raise
        return BankEventOutcome.WOKEN

    async def read_statement(self, event: StoredEvent, _transaction: Transaction) -> BankEventOutcome:
        """Have the banks' statements read for returns now. A schedule does it anyway, a little later."""
        schedule = self.client.get_schedule_handle(WATCH_RETURNS_SCHEDULE)
        try:
            await schedule.trigger(overlap=ScheduleOverlapPolicy.BUFFER_ONE)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return BankEventOutcome.NOT_RUNNING
            raise
        _log.info("a payment came back", bank=event.bank, reference=event.reference)
        return BankEventOutcome.STATEMENT_READ


ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        BankEventType.PAYMENT_SETTLED: BankEventActivities.wake,
        BankEventType.PAYMENT_REFUSED: BankEventActivities.wake,
        BankEventType.PAYMENT_RETURNED: BankEventActivities.read_statement,
    }
)
"""What each type of event leads to; other types are stored and nothing else."""
