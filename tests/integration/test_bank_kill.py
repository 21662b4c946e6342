"""kill -9 of the bank: what it has answered it keeps, what it was asked twice it does once, and its books balance."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from bank_adapters.port import BankAdapter, BankPayment, Direction, PaymentInstruction, PaymentState
from bank_adapters.simulated.adapter import SimulatedBank
from bank_adapters.simulator.faults import FaultKind
from domain.errors import BankUnavailable, BankUnknown
from domain.money import Money
from tests.stack.bank import BankProcess, link_customer, running_bank

CUSTOMERS = 6
PAYMENTS_EACH = 60
KILLS = 3
OPENING = 1_000_000


@pytest.fixture
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    with running_bank(tmp_path_factory.mktemp("bank")) as bank:
        yield bank


@pytest.fixture
async def bank(process: BankProcess) -> AsyncIterator[BankAdapter]:
    adapter = SimulatedBank(process.url, request_timeout_seconds=5)
    yield adapter
    await adapter.aclose()


async def insist(bank: BankAdapter, direction: Direction, asked: PaymentInstruction) -> BankPayment:
    """Repeat the same instruction until the bank has answered it."""
    call = bank.pull if direction is Direction.PULL else bank.push
    for _ in range(600):
        try:
            return await call(asked)
        except (BankUnavailable, BankUnknown):
            await asyncio.sleep(0.05)
    raise AssertionError("the bank did not come back")


async def test_an_answered_payment_is_still_there_after_kill(process: BankProcess, bank: BankAdapter) -> None:
    async with process.admin() as admin:
        customer = await link_customer(bank, admin, opening_balance=10_000)
        for number in range(3):
            asked = PaymentInstruction(
                reference=f"txn_{number}:pull", account_token=customer.account_token, amount=Money(1_000, "USD")
            )
            paid = await bank.pull(asked)
            process.restart()
            assert await bank.look_up(asked.reference) == paid
            assert await bank.pull(asked) == paid
            assert (await admin.account(customer.account_id)).balance == 10_000 - 1_000 * (number + 1)
        assert (await admin.books()).balanced


async def test_an_accepted_payment_settles_though_the_bank_was_dead_when_it_was_due(
    process: BankProcess, bank: BankAdapter
) -> None:
    async with process.admin() as admin:
        customer = await link_customer(bank, admin, opening_balance=10_000)
        await admin.set_fault(FaultKind.SETTLE_LATER, times=1, seconds=0.5)
        asked = PaymentInstruction(
            reference="txn_1:pull", account_token=customer.account_token, amount=Money(4_000, "USD")
        )
        assert (await bank.pull(asked)).state is PaymentState.ACCEPTED
        process.kill()
        with pytest.raises(BankUnavailable):
            await bank.look_up(asked.reference)
        await asyncio.sleep(0.5)
        process.restart()
        found = await bank.look_up(asked.reference)
        assert isinstance(found, BankPayment)
        assert found.state is PaymentState.SETTLED
        assert (await admin.account(customer.account_id)).balance == 6_000


@pytest.mark.slow
async def test_killed_again_and_again_under_load_it_moves_each_payment_once(
    process: BankProcess, bank: BankAdapter
) -> None:
    chance = random.Random(20260302)
    moved: dict[str, int] = {}
    answered: list[BankPayment] = []

    async def pay(account_token: str, customer: int) -> None:
        for number in range(PAYMENTS_EACH):
            direction = Direction.PUSH if number % 3 == 2 else Direction.PULL
            amount = Money(chance.randint(1, 500) if direction is Direction.PUSH else 1_000, "USD")
            asked = PaymentInstruction(
                reference=f"txn_{customer}_{number}:{direction}", account_token=account_token, amount=amount
            )
            payment = await insist(bank, direction, asked)
            assert payment.state is PaymentState.SETTLED
            sign = 1 if direction is Direction.PUSH else -1
            moved[account_token] = moved.get(account_token, 0) + sign * amount.minor_units
            answered.append(payment)

    async def kill_and_restart() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.1, 0.4))
            process.kill()
            await asyncio.sleep(0.1)
            # In this thread, with whose life the process is tied; the payers wait meanwhile.
            process.restart()

    async with process.admin() as admin:
        customers = [await link_customer(bank, admin, opening_balance=OPENING) for _ in range(CUSTOMERS)]
        payers = [pay(customer.account_token, index) for index, customer in enumerate(customers)]
        await asyncio.gather(kill_and_restart(), *payers)

        for customer in customers:
            account = await admin.account(customer.account_id)
            assert account.balance == OPENING + moved[customer.account_token]
        books = await admin.books()
        assert books.balanced
        assert books.totals[0].settlement_balance == -sum(moved.values())
        assert sum(books.payments.values()) == len(answered) == CUSTOMERS * PAYMENTS_EACH
        for payment in answered:
            assert await bank.look_up(payment.reference) == payment
