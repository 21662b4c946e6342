"""Transfers between two shards on a Temporal server of their own, over a ledger that fails where it is told to."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client, WorkflowExecutionStatus

from domain.contracts.payments import Failure, PaymentRequest, PaymentResult, RetryPlan, StepCommand, StepResult
from domain.contracts.wallets import ChangeKind
from domain.errors import DecisionCode, LedgerUnavailable
from domain.ids import UserId, WalletId, random_bucket
from domain.transactions import Step, TransactionKind, TransactionStatus
from infra.secrets import Cipher
from infra.settings import Settings
from infra.temporal import connect
from ledger.batches import Batches
from ledger.directory import Directory
from ledger.invariants import verify_shards
from ledger.invariants.between import read_dues
from ledger.local import LocalLedger
from ledger.service import Transaction
from tests.money.holds import capture_request, place
from tests.money.requests import Client as App
from tests.money.requests import change_wallet
from tests.money.scratch import Databases, settings_of
from tests.workflow import operators, starting
from tests.workflow.scene import Handle, Payment, polling, until
from tests.workflow.temporal_server import running_temporal
from worker import build_workers

PLAN: Final = RetryPlan(quick_retry_seconds=1, slow_retry_seconds=60)
AMOUNT: Final = 400
OPENING: Final = 1_000
SUCCEEDED, FAILED = TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
FOR_LONG: Final = 1_000_000

Place = tuple[Step, str, WalletId]
"""A step of a transfer from this wallet, "before" or "after" the ledger has taken it."""


class UnsteadyLedger:
    """The real ledger, whose caller is told before and after it has taken a step of a transfer."""

    def __init__(self, ledger: LocalLedger, at: Callable[[Place], None]) -> None:
        self._ledger = ledger
        self._at = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def _taken(
        self, step: Step, sender: WalletId | None, take: Callable[[], Awaitable[StepResult]]
    ) -> StepResult:
        assert sender is not None
        self._at((step, "before", sender))
        taken = await take()
        self._at((step, "after", sender))
        return taken

    async def begin(self, request: PaymentRequest, step: Step) -> StepResult:
        """See LedgerService."""
        return await self._taken(step, request.source_wallet_id, lambda: self._ledger.begin(request, step))

    async def receive_transfer(self, request: PaymentRequest, failure: Failure | None = None) -> StepResult:
        """See LedgerService."""
        sender = request.source_wallet_id
        return await self._taken(Step.RECEIVE_TRANSFER, sender, lambda: self._ledger.receive_transfer(request, failure))

    async def take_step(self, command: StepCommand) -> StepResult:
        """See LedgerService."""
        found = await self._ledger.transaction(command.transaction_id)
        assert found is not None
        return await self._taken(command.step, found.source_wallet_id, lambda: self._ledger.take_step(command))


@dataclass
class Across:
    """Two shards, an app, and the places at which the ledger fails, with how often it still does."""

    settings: Settings
    temporal: Client
    ledger: LocalLedger
    app: App
    faults: Counter[Place] = field(default_factory=Counter)
    tokens: set[str] = field(default_factory=set)

    def at(self, place: Place) -> None:
        """Raises LedgerUnavailable where the ledger is told to fail."""
        if self.faults[place] > 0:
            self.faults[place] -= 1
            raise LedgerUnavailable("A test.")

    async def pair(self) -> tuple[WalletId, WalletId]:
        """A sender with OPENING on the first shard, a receiver with nothing on the second."""
        wallets = []
        for shard in (0, 1):
            bucket = random_bucket() // 2 + 2048 * shard
            wallets.append(WalletId.new(bucket))
            await self.ledger.open_wallet(wallets[-1], UserId.new(bucket), self.app.client_id, "USD")
        await self.app.deposit(wallets[0], OPENING)
        return wallets[0], wallets[1]

    async def start(self, sender: WalletId, receiver: WalletId) -> Payment:
        """A transfer of AMOUNT, recorded and on its way."""
        payment = await self.ask(sender, receiver)

        async def recorded() -> bool:
            return await self.ledger.transaction(payment.transaction_id) is not None

        await until(f"{payment.transaction_id} is recorded", recorded)
        return payment

    async def ask(self, sender: WalletId, receiver: WalletId, task_timeout: timedelta | None = None) -> Payment:
        """A transfer of AMOUNT, perhaps not recorded yet; a dead worker's task is another's after `task_timeout`."""
        return await self._sent(self.request(sender, receiver), task_timeout)

    async def _sent(self, request: PaymentRequest, task_timeout: timedelta | None) -> Payment:
        handle = await starting.start_transfer(self.temporal, request, task_timeout)
        status = TransactionStatus.PROCESSING
        return Payment(request, handle, PaymentResult(transaction_id=request.transaction_id, status=status))

    async def capture(self, sender: WalletId, receiver: WalletId) -> Payment:
        """The same from a hold, whose rest is released."""
        hold = await place(self.app, sender, OPENING)
        asked = replace(capture_request(self.app, hold, receiver, AMOUNT, rest=True), plan=PLAN)
        return await self._sent(asked, None)

    def request(self, sender: WalletId, receiver: WalletId) -> PaymentRequest:
        """A transfer of AMOUNT that nobody has asked for yet."""
        request = self.app.request(TransactionKind.TRANSFER, AMOUNT, source=sender, destination=receiver)
        return replace(request, plan=PLAN)

    async def parked(self, payment: Payment) -> None:
        """Wait until it asks for a person."""

        async def raised() -> bool:
            return (await self.recorded(payment)).attention is not None

        await until(f"{payment.transaction_id} is parked", raised)

    async def recorded(self, payment: Payment) -> Transaction:
        """The transfer as the sender's shard has it."""
        found = await self.ledger.transaction(payment.transaction_id)
        assert found is not None
        return found

    def newest(self, payment: Payment) -> Handle:
        """Its newest run."""
        found: Handle = self.temporal.get_workflow_handle(payment.handle.id, result_type=PaymentResult)
        return found

    async def ended(self, payment: Payment, status: TransactionStatus, code: str | None = None) -> None:
        """Wait for its end, and check that the money is at one end alone."""
        async with asyncio.timeout(60):
            result = await self.newest(payment).result()
        found = await self.recorded(payment)
        assert (result.status, found.status) == (status, status)
        assert (found.failure and found.failure.code, found.attention) == (code, None)
        sender, receiver = payment.request.source_wallet_id, payment.request.destination_wallet_id
        assert sender is not None
        assert receiver is not None
        moved = AMOUNT if status is SUCCEEDED else 0
        assert await self.app.money(sender) == (OPENING - moved, 0)
        assert await self.app.money(receiver) == (moved, 0)

    async def demand_no_more_claimed_than_owed(self) -> None:
        """Invariant 7, at any moment."""
        dues = await read_dues([shard.engine for shard in self.ledger.shards.all])
        for due in dues.owed.keys() | dues.claimed.keys():
            assert 0 <= dues.owed[due] - dues.claimed[due] <= dues.moving[due], (due, dues)

    async def demand_sound(self) -> None:
        """Every invariant, with nothing on its way."""
        report = await verify_shards([shard.engine for shard in self.ledger.shards.all])
        wrong = [f"{finding.name}: {finding.violations}" for finding in report.findings if not finding.ok]
        assert not wrong, wrong
        assert [finding.note for finding in report.together if "on their way" in finding.note] == []


@contextmanager
def across_stage(home: Path, base: Settings, databases: Databases) -> Iterator[Settings]:
    """Two empty shards and a Temporal server."""
    with databases.shards(2) as shards, running_temporal(home, settings_of(shards, base)) as settings:
        yield settings


@asynccontextmanager
async def open_across(
    settings: Settings, *, working: bool = True, temporal: Client | None = None
) -> AsyncIterator[Across]:
    """Shards, and workers in this process over a ledger that can be made to fail; `temporal` is their client."""
    async with AsyncExitStack() as stack:
        ledger = LocalLedger(settings)
        stack.push_async_callback(ledger.aclose)
        across = Across(settings, temporal or await connect(settings), ledger, App(ledger))
        if not working:
            yield across
            return
        unsteady: Any = UnsteadyLedger(ledger, across.at)
        directory = Directory(ledger.shards.all[0].engine, Cipher.from_settings(settings))
        batches = Batches(ledger.shards)
        workers = build_workers(across.temporal, unsteady, directory, batches, {}, settings=settings)
        await stack.enter_async_context(polling(workers))
        yield across


# -- the ways that a transfer between shards can go, each of which can be recorded ---------------------------

Walk = Callable[[Across], Awaitable[Payment]]


async def across_paid(across: Across) -> Payment:
    payment = await across.start(*await across.pair())
    await across.ended(payment, SUCCEEDED)
    return payment


async def _refused(across: Across, pay: Callable[[WalletId, WalletId], Awaitable[Payment]]) -> Payment:
    sender, receiver = await across.pair()
    await change_wallet(across.ledger, receiver, ChangeKind.FREEZE)
    payment = await pay(sender, receiver)
    await across.ended(payment, FAILED, DecisionCode.WALLET_FROZEN)
    return payment


async def across_to_a_frozen_wallet(across: Across) -> Payment:
    return await _refused(across, across.start)


async def across_from_a_hold(across: Across) -> Payment:
    payment = await across.capture(*await across.pair())
    await across.ended(payment, SUCCEEDED)
    return payment


async def across_from_a_hold_to_a_frozen_wallet(across: Across) -> Payment:
    """The money comes back, and is free."""
    return await _refused(across, across.capture)


async def across_parked_then_retried(across: Across) -> Payment:
    """The receiver's shard is down for long; then an operator does not want to wait for the next try."""
    sender, receiver = await across.pair()
    down = (Step.RECEIVE_TRANSFER, "before", sender)
    across.faults[down] = FOR_LONG
    payment = await across.start(sender, receiver)
    await across.parked(payment)
    across.faults[down] = 0
    assert await operators.retry(payment) == "trying again"
    await across.ended(payment, SUCCEEDED)
    return payment


async def across_cancelled_while_parked(across: Across) -> Payment:
    """What the receiver's shard never got it is made to refuse, and the sender has it back."""
    sender, receiver = await across.pair()
    down = (Step.RECEIVE_TRANSFER, "before", sender)
    across.faults[down] = FOR_LONG
    payment = await across.start(sender, receiver)
    await across.parked(payment)
    assert await operators.cancel(payment) == "cancelling"
    across.faults[down] = 0
    await across.ended(payment, FAILED, DecisionCode.CANCELLED)
    return payment


async def across_cancelled_though_received(across: Across) -> Payment:
    """The receiver's shard has it and does not get to say so: cancelling comes too late, and takes nothing back."""
    sender, receiver = await across.pair()
    deaf = (Step.RECEIVE_TRANSFER, "after", sender)
    across.faults[deaf] = FOR_LONG
    payment = await across.start(sender, receiver)
    await across.parked(payment)
    assert await operators.cancel(payment) == "cancelling"
    across.faults[deaf] = 0
    await across.ended(payment, SUCCEEDED)
    return payment


async def across_terminated_then_swept(across: Across) -> Payment:
    """Received, but not completed: the sweeper's run asks again and completes it."""
    sender, receiver = await across.pair()
    held_up = (Step.COMPLETE_TRANSFER, "before", sender)
    across.faults[held_up] = FOR_LONG
    payment = await across.start(sender, receiver)

    async def received() -> bool:
        return await across.app.money(receiver) == (AMOUNT, 0)

    await until("it is received", received)
    await payment.handle.terminate("a test")

    async def resumed() -> bool:
        await operators.sweep(across.temporal)
        return (await across.newest(payment).describe()).status is not WorkflowExecutionStatus.TERMINATED

    # Still held up: a worker may take a step for a run that was terminated meanwhile, and leave nothing to sweep.
    await until("the sweeper has started it again", resumed)
    across.faults[held_up] = 0
    await across.ended(payment, SUCCEEDED)
    return payment


WALKS: Final[tuple[Walk, ...]] = (
    across_paid,
    across_to_a_frozen_wallet,
    across_from_a_hold,
    across_from_a_hold_to_a_frozen_wallet,
    across_parked_then_retried,
    across_cancelled_while_parked,
    across_cancelled_though_received,
    across_terminated_then_swept,
)
