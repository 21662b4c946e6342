"""A scene for payments: a ledger, a bank in its own process, a Temporal server and people with accounts at both."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from bank_adapters.port import BankAdapter
from bank_adapters.registry import open_bank
from bank_adapters.simulated.adapter import SimulatedBank
from bank_adapters.simulator.client import BankAdmin
from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.payments import IdempotencyRecord, PaymentRequest, PaymentResult, RetryPlan
from domain.ids import BankAccountId, TransactionId, WalletId
from domain.transactions import TransactionKind, TransactionStatus
from infra.secrets import Cipher
from infra.settings import Settings
from infra.temporal import connect
from ledger.bank_accounts import NewBankAccount
from ledger.batches import Batches
from ledger.directory import Directory, NewUser
from ledger.invariants import BankBalance, Finding, verify_shards
from ledger.local import LocalLedger
from ledger.service import Transaction
from tests.money.requests import Client as App
from tests.stack.bank import BankProcess, Customer, link_customer
from tests.workflow import starting
from worker import build_workers

NAME, EMAIL = "Ada Lovelace", "ada@example.org"
PATIENCE_SECONDS = 60.0
OPENING = 100_000

QUICK = RetryPlan(quick_retry_seconds=30, slow_retry_seconds=30, settlement_poll_seconds=0.2)
"""A payment that meets nothing it has to park for."""
IMPATIENT = RetryPlan(quick_retry_seconds=3, slow_retry_seconds=120, settlement_poll_seconds=0.2)
"""Parks soon, and then waits for a person."""
PERSISTENT = RetryPlan(quick_retry_seconds=2, slow_retry_seconds=1, settlement_poll_seconds=0.2)
"""Parks soon, and tries again soon."""

RESTLESS = RetryPlan(quick_retry_seconds=0.9, slow_retry_seconds=0.2, settlement_poll_seconds=0.2)
"""Asks so often that its history is soon long."""

Handle = WorkflowHandle[object, PaymentResult]


async def until(what: str, check: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for it. Raises AssertionError with these words if it does not come."""
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Person:
    """Someone with a wallet here and an account at the bank, which began with OPENING minor units."""

    wallet_id: WalletId
    bank_account_id: BankAccountId
    customer: Customer


@dataclass(frozen=True)
class Payment:
    """A payment under way: what was asked, where its workflow is, and what was replied when it was recorded."""

    request: PaymentRequest
    handle: Handle
    reply: PaymentResult

    @property
    def transaction_id(self) -> TransactionId:
        """The recorded id."""
        return self.reply.transaction_id


@dataclass
class Scene:
    """Everything a payment needs, and questions about where the money is."""

    settings: Settings
    temporal: Client
    ledger: LocalLedger
    directory: Directory
    bank: BankAdapter
    process: BankProcess
    admin: BankAdmin
    app: App
    tokens: set[str] = field(default_factory=set)
    """Secrets of bank accounts: they may stand in no history."""
    task_timeout: timedelta | None = None
    """After which a dead worker's workflow task is another's, of the payments that are started here."""

    # -- people ------------------------------------------------------------------------------------

    async def person(self, *, balance: int = 0) -> Person:
        """Someone new; `balance` minor units are deposited from their bank account, which keeps the rest of OPENING."""
        new = NewUser(client_id=self.app.client_id, currency="USD", name=NAME, email=EMAIL)
        user, _ = await self.directory.create_user(new, _unused_key())
        await self.ledger.open_wallet(user.wallet_id, user.user_id, user.client_id, user.currency)
        customer = await link_customer(self.bank, self.admin, opening_balance=OPENING)
        self.tokens.add(customer.account_token)
        linked = NewBankAccount(
            client_id=user.client_id,
            user_id=user.user_id,
            bank=self.bank.name,
            account_token=customer.account_token,
            holder_name=NAME,
            mask="0000",
        )
        account = await self.directory.add_bank_account(linked, _unused_key())
        person = Person(user.wallet_id, account.bank_account_id, customer)
        if balance:
            await self.finish(await self.deposit(person, balance), TransactionStatus.SUCCEEDED)
        return person

    async def misbehave(
        self,
        person: Person,
        kind: FaultKind,
        operation: Operation = Operation.ANY,
        *,
        times: int | None = None,
        code: str | None = None,
        seconds: float | None = None,
    ) -> int:
        """The bank misbehaves towards this person alone, until `behave`. Returns the fault's id."""
        account = person.customer.account_id
        fault = await self.admin.set_fault(
            kind, operation=operation, account=account, times=times, code=code, seconds=seconds
        )
        return fault.fault_id

    # -- payments ----------------------------------------------------------------------------------

    def asked(
        self,
        kind: TransactionKind,
        amount: int,
        *,
        source: Person | None = None,
        destination: Person | None = None,
        plan: RetryPlan = QUICK,
        key: str | None = None,
    ) -> PaymentRequest:
        """A payment as the API would hand it on."""
        request = self.app.request(
            kind,
            amount,
            source=source.wallet_id if source else None,
            destination=destination.wallet_id if destination else None,
            key=key,
        )
        if kind is TransactionKind.TRANSFER:
            return replace(request, plan=plan)
        person = source or destination
        assert person is not None
        return replace(request, plan=plan, bank=self.bank.name, bank_account_id=person.bank_account_id)

    async def start(self, request: PaymentRequest) -> Payment:
        """Start it as the API does, and wait for the reply."""
        handle, reply = await starting.start(self.temporal, request, self.task_timeout)
        return Payment(request, handle, reply)

    async def deposit(self, person: Person, amount: int, plan: RetryPlan = QUICK) -> Payment:
        """From the person's bank account into their wallet."""
        return await self.start(self.asked(TransactionKind.DEPOSIT, amount, destination=person, plan=plan))

    async def withdraw(self, person: Person, amount: int, plan: RetryPlan = QUICK) -> Payment:
        """From the person's wallet to their bank account."""
        return await self.start(self.asked(TransactionKind.WITHDRAWAL, amount, source=person, plan=plan))

    async def transfer(self, sender: Person, receiver: Person, amount: int) -> Payment:
        """From wallet to wallet."""
        return await self.start(self.asked(TransactionKind.TRANSFER, amount, source=sender, destination=receiver))

    async def resumed(self, payment: Payment, status: TransactionStatus, code: str | None = None) -> PaymentResult:
        """The same for a payment whose workflow was started or reset by somebody else."""
        newest = Payment(payment.request, _newest(self.temporal, payment), payment.reply)
        return await self.finish(newest, status, code)

    async def finish(self, payment: Payment, status: TransactionStatus, code: str | None = None) -> PaymentResult:
        """Wait for the workflow's end; what it returns, and what the ledger has, is `status` with failure `code`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            result = await payment.handle.result()
        recorded = await self.transaction(payment)
        assert (result.status, recorded.status) == (status, status)
        assert (result.failure and result.failure.code, recorded.failure and recorded.failure.code) == (code, code)
        assert recorded.attention is None
        assert (recorded.completed_at is not None) == status.final
        return result

    # -- where the money is ------------------------------------------------------------------------

    async def money(self, person: Person) -> tuple[int, int]:
        """Posted and held in the wallet."""
        return await self.app.money(person.wallet_id)

    async def at_bank(self, person: Person) -> int:
        """What is in the person's account at the bank, settled."""
        return (await self.admin.account(person.customer.account_id)).balance

    async def all_of(self, person: Person) -> tuple[int, int, int]:
        """Posted, held, and at the bank."""
        return *await self.money(person), await self.at_bank(person)

    async def transaction(self, payment: Payment) -> Transaction:
        """The payment as recorded."""
        found = await self.ledger.transaction(payment.transaction_id)
        assert found is not None
        return found

    async def timeline(self, payment: Payment) -> list[str]:
        """What happened to it, as "step.posted hold_withdrawal" or "attention.raised push_to_bank"; see `told`, too."""
        items = await self.ledger.timeline(payment.transaction_id)
        return [f"{item.type} {item.step or ''}".strip() for item in items if not item.type.startswith("operator.")]

    async def told(self, payment: Payment) -> list[tuple[str, str, str]]:
        """What people told it and it did: kind, who, and why."""
        return [
            (item.type.removeprefix("operator."), item.detail["by"], item.detail["reason"])
            for item in await self.ledger.timeline(payment.transaction_id)
            if item.type.startswith("operator.")
        ]

    async def eventually(self, payment: Payment, item: str) -> None:
        """Wait until this is in the payment's timeline."""

        async def there() -> bool:
            return item in await self.timeline(payment)

        await until(f"{payment.transaction_id} has {item}", there)

    async def struck(self, fault_id: int) -> int:
        """How often a fault has struck."""
        return next(fault.used for fault in await self.admin.faults() if fault.fault_id == fault_id)

    async def parked(self, payment: Payment, reason: str | None = None) -> None:
        """Wait until the payment asks for a person, because of `reason` if one is given."""

        async def raised() -> bool:
            attention = (await self.transaction(payment)).attention
            return attention is not None and reason in (None, attention.reason)

        await until(f"{payment.transaction_id} is parked: {reason}", raised)

    async def findable(self, payment: Payment, condition: str) -> None:
        """Wait until Temporal's visibility finds the payment's workflow by its transaction's id and `condition`."""
        query = f"TransactionId = '{payment.transaction_id}' AND {condition}"

        async def found() -> bool:
            return payment.handle.id in [item.id async for item in self.temporal.list_workflows(query)]

        await until(f"the workflow is found by {condition}", found)

    async def verify(self) -> Sequence[Finding]:
        """Every invariant of all shards, with the bank's statement."""
        engines = [shard.engine for shard in self.ledger.shards.all]
        return (await verify_shards(engines, self._bank_balances)).findings

    async def _bank_balances(self) -> Sequence[BankBalance]:
        now = datetime.now(UTC)
        since, until_ = now - timedelta(days=1), max(now, await self.admin.clock()) + timedelta(minutes=1)
        total = sum([line.minor_units async for line in self.bank.statement("USD", since=since, until=until_)])
        return [BankBalance(bank=self.bank.name, currency="USD", minor_units=total)]


def _newest(client: Client, payment: Payment) -> Handle:
    handle: Handle = client.get_workflow_handle(payment.handle.id, result_type=PaymentResult)
    return handle


def _unused_key() -> IdempotencyRecord:
    return IdempotencyRecord(key_digest=uuid4().hex, fingerprint=uuid4().hex * 2)


@asynccontextmanager
async def open_scene(settings: Settings, process: BankProcess) -> AsyncIterator[Scene]:
    """A scene on the servers that `settings` name. No worker runs yet."""
    async with AsyncExitStack() as stack:
        ledger = LocalLedger(settings)
        stack.push_async_callback(ledger.aclose)
        directory = Directory(ledger.shards.all[0].engine, Cipher.from_settings(settings))
        bank = open_bank(SimulatedBank.NAME, settings)
        stack.push_async_callback(bank.aclose)
        admin = await stack.enter_async_context(process.admin())
        app = App(ledger, await directory.create_client("An app"))
        yield Scene(settings, await connect(settings), ledger, directory, bank, process, admin, app)


@asynccontextmanager
async def working(scene: Scene) -> AsyncIterator[None]:
    """The worker's queues are polled by this process for the length of the block."""
    banks = {scene.bank.name: scene.bank}
    batches = Batches(scene.ledger.shards)
    workers = build_workers(scene.temporal, scene.ledger, scene.directory, batches, banks, settings=scene.settings)
    async with polling(workers):
        yield


@asynccontextmanager
async def polling(workers: Sequence[Worker]) -> AsyncIterator[None]:
    """Run workers for the length of the block. One that dies says so, at once and at the end of the block.

    As a context manager a worker would cancel the task that entered it, which is over for a fixture: nobody would hear
    of it, and payments would wait for ever.
    """
    running = [asyncio.create_task(worker.run(), name=f"worker of {worker.task_queue}") for worker in workers]
    for task in running:
        task.add_done_callback(_tell_of_death)
    try:
        yield
    finally:
        await asyncio.gather(*(worker.shutdown() for worker in workers))
        await asyncio.gather(*running)


def _tell_of_death(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        print(f"{task.get_name()} died: {error!r}", file=sys.stderr, flush=True)
