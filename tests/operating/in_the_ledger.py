"""Runbooks of what the ledger does not take: it is away, too busy, or asked for what is never right."""

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.bank_events import BANK_HAS_NEWS_SIGNAL
from domain.contracts.batches import BatchCounts
from domain.errors import IllegalTransition, LedgerBusy
from domain.ids import WalletId
from domain.transactions import TransactionKind, TransactionStatus
from tests.operating.at_banks import by_maria, opened
from tests.operating.desk import WAITS_FOR_A_PERSON, Desk
from tests.operating.performing import performs
from tests.operating.runbook import Runbook
from tests.workflow.batch_walks import Payroll
from tests.workflow.scene import OPENING, Payment, Person, until

SUCCEEDED = TransactionStatus.SUCCEEDED


async def _with_trouble(desk: Desk, error: Exception) -> tuple[Person, Payment]:
    """A withdrawal that the ledger has this trouble with."""
    person = await desk.scene.person(balance=1_000)
    asked = desk.scene.asked(TransactionKind.WITHDRAWAL, 300, source=person, plan=WAITS_FOR_A_PERSON)
    desk.ledger.trouble[asked.transaction_id] = error
    return person, await desk.scene.start(asked)


async def _ends_paid(desk: Desk, person: Person, payment: Payment) -> None:
    await desk.scene.finish(payment, SUCCEEDED)
    assert await desk.scene.all_of(person) == (700, 0, OPENING - 700)


async def _mended(desk: Desk, book: Runbook, error: Exception) -> None:
    """A bug, until the mended version is deployed."""
    person, payment = await _with_trouble(desk, error)
    async with opened(desk, book, payment) as ui:
        del desk.ledger.trouble[payment.transaction_id]
        await ui.send_update("retry", book.take("UPDATE retry"))
    await _ends_paid(desk, person, payment)
    assert by_maria(await desk.scene.told(payment)) == [("retry", "deployed the fix")]


@performs("illegal_transition")
async def illegal_transition(desk: Desk, book: Runbook) -> None:
    await _mended(desk, book, IllegalTransition("A bug."))


@performs("any_other")
async def any_other(desk: Desk, book: Runbook) -> None:
    await _mended(desk, book, KeyError("a bug"))


@performs("ledger_busy")
async def ledger_busy(desk: Desk, book: Runbook) -> None:
    person, payment = await _with_trouble(desk, LedgerBusy())
    async with opened(desk, book, payment):
        del desk.ledger.trouble[payment.transaction_id]
    await desk.shell(book.take("sh"))
    await _ends_paid(desk, person, payment)


@performs("ledger_unavailable", alone=True)
async def ledger_unavailable(desk: Desk, book: Runbook) -> None:
    """The database is killed while a payment waits for its bank, and the bank has news."""
    scene = desk.scene
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, WAITS_FOR_A_PERSON)
    await scene.parked(payment, "bank_unavailable")
    await scene.admin.remove_fault(fault)
    condition = book.filter
    desk.servers.process("postgres").kill()
    try:
        await payment.handle.signal(BANK_HAS_NEWS_SIGNAL, "evt_test")
        async with desk.opened(book.reason, condition, payment.handle.id):
            pass
    finally:
        desk.servers.recover()
    await until("the API reaches the database again", desk.lists_attention)
    await scene.parked(payment, "ledger_unavailable")
    await desk.shell(book.take("sh"))
    await _ends_paid(desk, person, payment)


@performs("ledger_rejected")
async def ledger_rejected(desk: Desk, book: Runbook) -> None:
    """Two batches with a transfer to a wallet that is not there, until it is."""
    scene = desk.scene
    payroll, receiver = Payroll(scene), await scene.app.open_wallet()
    sender, nowhere = (await scene.person(balance=100)).wallet_id, WalletId.new(receiver.bucket)
    batches = [await payroll.accept(sender, [(receiver, 10), (nowhere, 10)]) for _ in range(2)]
    by_hand, in_bulk = [await payroll.start(batch) for batch in batches]

    async def parked() -> bool:
        return [await payroll.attention(batch) for batch in batches] == [book.reason] * 2

    await until("the batches are parked", parked)
    async with desk.opened(book.reason, book.filter, by_hand.id) as ui:
        assert "there is no account" in await desk.shell(f"sagapay attention show {in_bulk.id}")
        user = (await scene.app.wallet(receiver)).user_id
        await scene.ledger.open_wallet(nowhere, user, scene.app.client_id, "USD")
        await ui.send_update("retry", book.take("UPDATE retry"))
    assert await by_hand.result() == BatchCounts(succeeded=2)
    await until("only the other is listed", lambda: desk.lists("Attention = 'ledger_rejected'", in_bulk.id))
    assert "told, 0 refused" in await desk.shell(book.take("sh"))
    assert await in_bulk.result() == BatchCounts(succeeded=2)
    assert [await payroll.attention(batch) for batch in batches] == [None, None]
