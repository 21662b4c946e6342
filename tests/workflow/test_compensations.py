"""A compensation that the ledger rejects parks as any step does: it is shown, nothing is given up, a retry ends it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.payments import StepCommand, StepResult
from domain.contracts.wallets import ChangeKind
from domain.errors import DecisionCode, LedgerRejected
from domain.transactions import Step, TransactionStatus
from infra.secrets import Cipher
from infra.settings import Settings
from ledger.batches import Batches
from ledger.directory import Directory
from ledger.local import LocalLedger
from tests.money.requests import change_wallet
from tests.money.scratch import Databases
from tests.stack.servers import Servers
from tests.workflow.across import across_stage, open_across
from tests.workflow.operators import retry
from tests.workflow.scene import IMPATIENT, OPENING, Payment, Scene, polling
from worker import build_workers

FAILED = TransactionStatus.FAILED


class StubbornLedger(LocalLedger):
    """A ledger that rejects the steps it is told to."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.own_settings = settings
        self.rejected = {Step.RELEASE_WITHDRAWAL, Step.FAIL_DEPOSIT, Step.REVERSE_TRANSFER}

    async def take_step(self, command: StepCommand) -> StepResult:
        """See LedgerService."""
        if command.step in self.rejected:
            raise LedgerRejected("A test says that this is never right.")
        return await super().take_step(command)


@asynccontextmanager
async def working_on(ledger: StubbornLedger, temporal: Client, scene: Scene | None = None) -> AsyncIterator[None]:
    """Every queue is polled by this process, over that ledger."""
    banks = {scene.bank.name: scene.bank} if scene is not None else {}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(ledger.aclose)
        engine, settings = ledger.shards.all[0].engine, ledger.own_settings
        directory = Directory(engine, Cipher.from_settings(settings))
        workers = build_workers(temporal, ledger, directory, Batches(ledger.shards), banks, settings=settings)
        await stack.enter_async_context(polling(workers))
        yield


async def ended_by_retry(scene: Scene, ledger: StubbornLedger, payment: Payment, step: Step) -> None:
    """It is parked at that step and goes through it when the ledger is right again."""
    await scene.parked(payment, "ledger_rejected")
    attention = (await scene.transaction(payment)).attention
    assert attention is not None
    assert attention.step == step
    await scene.findable(payment, f"Attention = 'ledger_rejected' AND AttentionStep = '{step}'")
    ledger.rejected.discard(step)
    await retry(payment)
    await scene.finish(payment, FAILED, DecisionCode.BANK_REFUSED)


async def test_what_frees_the_money_of_a_bank_payment_parks(idle_scene: Scene) -> None:
    scene, ledger = idle_scene, StubbornLedger(idle_scene.settings)
    async with working_on(ledger, scene.temporal, scene):
        person = await scene.person(balance=1_000)
        await scene.misbehave(person, FaultKind.REFUSE, Operation.ANY, code="R01")
        withdrawal = await scene.withdraw(person, 300, IMPATIENT)
        deposit = await scene.deposit(person, 200, IMPATIENT)
        await scene.parked(withdrawal, "ledger_rejected")
        assert await scene.money(person) == (1_000, 300)
        await ended_by_retry(scene, ledger, withdrawal, Step.RELEASE_WITHDRAWAL)
        await ended_by_retry(scene, ledger, deposit, Step.FAIL_DEPOSIT)
        assert await scene.all_of(person) == (1_000, 0, OPENING - 1_000)


@pytest.fixture(scope="module")
def two_shards(
    tmp_path_factory: pytest.TempPathFactory, bare_servers: Servers, databases: Databases
) -> Iterator[Settings]:
    """Settings of a Temporal server and two shards of this module's own."""
    home: Path = tmp_path_factory.mktemp("shards")
    with across_stage(home, bare_servers.settings, databases) as settings:
        yield settings


async def test_what_brings_a_transfer_back_parks(two_shards: Settings) -> None:
    ledger = StubbornLedger(two_shards)
    async with open_across(two_shards, working=False) as across, working_on(ledger, across.temporal):
        sender, receiver = await across.pair()
        before = await across.app.money(sender)
        await change_wallet(across.ledger, receiver, ChangeKind.FREEZE)
        payment = await across.start(sender, receiver)
        await across.parked(payment)
        attention = (await across.recorded(payment)).attention
        assert attention is not None
        assert (attention.step, attention.reason) == (Step.REVERSE_TRANSFER, "ledger_rejected")
        ledger.rejected.clear()
        await retry(payment)
        await across.ended(payment, FAILED, DecisionCode.WALLET_FROZEN)
        assert await across.app.money(sender) == before
