"""Each way of the simulated bank to misbehave, seen through the adapter, the bank's balances and its statement."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from bank_adapters.port import (
    BankPayment,
    LineKind,
    NotSeen,
    PaymentInstruction,
    PaymentState,
    StatementLine,
)
from bank_adapters.simulated.adapter import SimulatedBank
from bank_adapters.simulator.books import AccountStatus
from bank_adapters.simulator.client import BankAdmin, BankRefused
from bank_adapters.simulator.faults import FaultKind, Operation
from domain.errors import BankUnavailable, BankUnknown
from domain.money import Money
from tests.stack.bank import BankProcess, Customer, link_customer, running_bank

TIMEOUT_SECONDS = 1.0
OPENING = 10_000


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    with running_bank(tmp_path_factory.mktemp("bank")) as bank:
        yield bank


@dataclass
class Scene:
    """A bank, its administration and a customer with OPENING minor units."""

    bank: SimulatedBank
    admin: BankAdmin
    customer: Customer

    def instruct(self, minor_units: int = 1_000) -> PaymentInstruction:
        return PaymentInstruction(
            reference=f"txn_{uuid4().hex}:step",
            account_token=self.customer.account_token,
            amount=Money(minor_units, "USD"),
        )

    async def balance(self) -> int:
        return (await self.admin.account(self.customer.account_id)).balance

    async def look_up(self, asked: PaymentInstruction) -> BankPayment:
        found = await self.bank.look_up(asked.reference)
        assert isinstance(found, BankPayment)
        return found

    async def lines(self, asked: PaymentInstruction) -> list[StatementLine]:
        now = datetime.now(UTC)
        statement = self.bank.statement("USD", since=now - timedelta(hours=1), until=now + timedelta(hours=1))
        return [line async for line in statement if line.reference == asked.reference]

    async def fault(
        self,
        kind: FaultKind,
        *,
        operation: Operation = Operation.ANY,
        times: int | None = 1,
        code: str | None = None,
        seconds: float | None = None,
    ) -> int:
        """Misbehave towards this scene's customer only. Returns the fault's id."""
        set_now = await self.admin.set_fault(
            kind,
            operation=operation,
            account=self.customer.account_id,
            times=times,
            code=code,
            seconds=seconds,
        )
        return set_now.fault_id


@pytest.fixture
async def scene(process: BankProcess) -> AsyncIterator[Scene]:
    bank = SimulatedBank(process.url, TIMEOUT_SECONDS)
    async with process.admin() as admin:
        yield Scene(bank, admin, await link_customer(bank, admin, opening_balance=OPENING))
        await admin.clear_faults()
        assert (await admin.books()).balanced
    await bank.aclose()


async def eventually_settled(scene: Scene, asked: PaymentInstruction) -> BankPayment:
    """Ask until it has settled."""
    for _ in range(100):
        payment = await scene.look_up(asked)
        if payment.state is PaymentState.SETTLED:
            return payment
        await asyncio.sleep(0.05)
    raise AssertionError(f"{asked.reference} has not settled")


async def test_refuse_with_a_code(scene: Scene) -> None:
    await scene.fault(FaultKind.REFUSE, operation=Operation.PULL, code="R29")
    asked = scene.instruct()
    refused = await scene.bank.pull(asked)
    assert (refused.state, refused.refusal_code, refused.retryable) == (PaymentState.REFUSED, "R29", False)
    assert await scene.bank.pull(asked) == refused
    assert await scene.balance() == OPENING
    assert (await scene.bank.pull(scene.instruct())).state is PaymentState.SETTLED


async def test_a_fault_spares_other_operations_and_other_accounts(scene: Scene) -> None:
    await scene.fault(FaultKind.REFUSE, operation=Operation.PUSH, times=None, code="R02")
    assert (await scene.bank.pull(scene.instruct(500))).state is PaymentState.SETTLED
    other = await link_customer(scene.bank, scene.admin, opening_balance=0)
    asked = replace(scene.instruct(100), account_token=other.account_token)
    assert (await scene.bank.push(asked)).state is PaymentState.SETTLED
    for _ in range(3):
        assert (await scene.bank.push(scene.instruct(100))).refusal_code == "R02"
    assert await scene.balance() == OPENING - 500


async def test_the_statement_is_of_one_currency_or_of_every_one(scene: Scene) -> None:
    abroad = await link_customer(scene.bank, scene.admin, opening_balance=OPENING, currency="EUR")
    dollars = scene.instruct()
    euros = replace(scene.instruct(), account_token=abroad.account_token, amount=Money(300, "EUR"))
    for asked in (dollars, euros):
        await scene.bank.pull(asked)
    since = datetime.now(UTC) - timedelta(hours=1)
    read = {
        currency: {line.reference: line.currency async for line in scene.bank.statement(currency, since=since)}
        for currency in ("USD", "EUR", None)
    }
    assert euros.reference not in read["USD"]
    assert set(read["EUR"].values()) == {"EUR"}
    assert read[None] == {**read["USD"], **read["EUR"]}
    assert {dollars.reference, euros.reference} <= read[None].keys()


async def test_slow_but_in_time(scene: Scene) -> None:
    await scene.fault(FaultKind.SLOW, seconds=0.4)
    started = time.monotonic()
    assert (await scene.bank.pull(scene.instruct())).state is PaymentState.SETTLED
    assert time.monotonic() - started >= 0.4


async def test_who_is_held_up_by_a_slow_bank_goes_on_when_the_fault_is_removed(scene: Scene) -> None:
    fault_id = await scene.fault(FaultKind.SLOW, operation=Operation.PULL, seconds=600)
    asked = scene.instruct()
    with pytest.raises(BankUnknown):
        await scene.bank.pull(asked)
    assert await scene.bank.look_up(asked.reference) == NotSeen(reference=asked.reference)
    await scene.admin.remove_fault(fault_id)
    for _ in range(100):
        if await scene.balance() != OPENING:
            break
        await asyncio.sleep(0.05)
    assert (await scene.look_up(asked)).state is PaymentState.SETTLED


async def test_slower_than_our_patience_is_unknown_and_turns_up_late(scene: Scene) -> None:
    await scene.fault(FaultKind.SLOW, operation=Operation.PULL, seconds=TIMEOUT_SECONDS + 0.7)
    asked = scene.instruct()
    with pytest.raises(BankUnknown):
        await scene.bank.pull(asked)
    assert await scene.bank.look_up(asked.reference) == NotSeen(reference=asked.reference)
    await asyncio.sleep(1.2)
    assert (await scene.look_up(asked)).state is PaymentState.SETTLED
    assert await scene.balance() == OPENING - 1_000


async def test_a_request_is_not_started_once_the_visibility_window_is_past(scene: Scene) -> None:
    window = scene.bank.capabilities.visibility_window_seconds
    await scene.fault(FaultKind.SLOW, operation=Operation.PULL, seconds=window - 1.5)
    asked = scene.instruct()
    with pytest.raises(BankUnknown):
        await scene.bank.pull(asked)
    await asyncio.sleep(window - TIMEOUT_SECONDS)
    assert await scene.bank.look_up(asked.reference) == NotSeen(reference=asked.reference)
    assert await scene.balance() == OPENING


async def test_time_out_before_doing(scene: Scene) -> None:
    await scene.fault(FaultKind.TIMEOUT_BEFORE, operation=Operation.PULL)
    asked = scene.instruct()
    with pytest.raises(BankUnknown):
        await scene.bank.pull(asked)
    assert await scene.bank.look_up(asked.reference) == NotSeen(reference=asked.reference)
    assert await scene.balance() == OPENING
    assert (await scene.bank.pull(asked)).state is PaymentState.SETTLED


@pytest.mark.parametrize("kind", [FaultKind.TIMEOUT_AFTER, FaultKind.ERROR_AFTER])
async def test_done_but_not_answered(scene: Scene, kind: FaultKind) -> None:
    await scene.fault(kind, operation=Operation.PULL)
    asked = scene.instruct()
    with pytest.raises(BankUnknown):
        await scene.bank.pull(asked)
    found = await scene.look_up(asked)
    assert found.state is PaymentState.SETTLED
    assert await scene.bank.pull(asked) == found
    assert await scene.balance() == OPENING - 1_000
    assert len(await scene.lines(asked)) == 1


async def test_down_is_unavailable_and_nothing_is_done(scene: Scene) -> None:
    await scene.admin.set_fault(FaultKind.DOWN)
    asked = scene.instruct()
    for call in (scene.bank.pull(asked), scene.bank.push(asked), scene.bank.look_up(asked.reference)):
        with pytest.raises(BankUnavailable):
            await call
    with pytest.raises(BankUnavailable):
        await scene.bank.create_link_token("usr_1")
    assert await scene.balance() == OPENING
    assert await scene.admin.clear_faults() == 1
    assert await scene.bank.look_up(asked.reference) == NotSeen(reference=asked.reference)


async def test_settle_later_reserves_first_and_moves_then(scene: Scene) -> None:
    await scene.fault(FaultKind.SETTLE_LATER, seconds=0.8)
    asked = scene.instruct(OPENING)
    accepted = await scene.bank.pull(asked)
    assert (accepted.state, accepted.settled_at) == (PaymentState.ACCEPTED, None)
    assert await scene.bank.pull(asked) == accepted
    assert (await scene.bank.pull(scene.instruct(1))).refusal_code == "R01"
    account = await scene.admin.account(scene.customer.account_id)
    assert (account.balance, account.held) == (OPENING, OPENING)
    assert await scene.lines(asked) == []
    settled = await eventually_settled(scene, asked)
    assert settled.bank_payment_id == accepted.bank_payment_id
    account = await scene.admin.account(scene.customer.account_id)
    assert (account.balance, account.held) == (0, 0)
    (line,) = await scene.lines(asked)
    assert line.booked_at == settled.settled_at


async def test_a_push_that_settles_later_reserves_our_own_money(scene: Scene) -> None:
    await scene.bank.pull(scene.instruct(OPENING))
    await scene.fault(FaultKind.SETTLE_LATER, operation=Operation.PUSH, seconds=0.3)
    asked = scene.instruct(OPENING)
    assert (await scene.bank.push(asked)).state is PaymentState.ACCEPTED
    totals = await scene.admin.totals()
    assert totals is not None
    assert totals.settlement_held == OPENING
    await eventually_settled(scene, asked)
    assert await scene.balance() == OPENING


async def test_a_push_beyond_our_own_money_is_refused(scene: Scene) -> None:
    totals = await scene.admin.totals()
    assert totals is not None
    refused = await scene.bank.push(scene.instruct(totals.settlement_balance + 1))
    assert (refused.state, refused.refusal_code, refused.retryable) == (PaymentState.REFUSED, "S01", True)


async def test_duplicate_is_paid_twice_answered_once_and_corrected(scene: Scene) -> None:
    await scene.fault(FaultKind.DUPLICATE, operation=Operation.PULL)
    asked = scene.instruct()
    paid = await scene.bank.pull(asked)
    assert await scene.bank.pull(asked) == await scene.look_up(asked) == paid
    assert await scene.balance() == OPENING - 2_000
    first, second = await scene.lines(asked)
    assert (first.minor_units, second.minor_units) == (1_000, 1_000)
    assert first.bank_payment_id == paid.bank_payment_id != second.bank_payment_id
    totals = await scene.admin.totals()
    assert totals is not None
    assert totals.duplicated == 1_000

    assert await scene.admin.correct(asked.reference) == 1
    correction = (await scene.lines(asked))[-1]
    assert (correction.kind, correction.minor_units) == (LineKind.CORRECTION, -1_000)
    assert correction.bank_payment_id == second.bank_payment_id
    assert await scene.balance() == OPENING - 1_000
    totals = await scene.admin.totals()
    assert totals is not None
    assert totals.duplicated == 0
    assert await scene.admin.correct(asked.reference) == 0


async def test_a_duplicate_can_be_noticed_by_the_bank_itself(scene: Scene) -> None:
    await scene.fault(FaultKind.DUPLICATE, operation=Operation.PULL, seconds=0.3)
    await scene.bank.pull(scene.instruct())
    assert await scene.balance() == OPENING - 2_000
    await asyncio.sleep(0.4)
    assert await scene.balance() == OPENING - 1_000


async def test_wrong_order_tells_the_other_state(scene: Scene) -> None:
    await scene.fault(FaultKind.WRONG_ORDER, operation=Operation.PULL)
    asked = scene.instruct()
    told = await scene.bank.pull(asked)
    assert (told.state, told.settled_at) == (PaymentState.ACCEPTED, None)
    assert (await scene.look_up(asked)).state is PaymentState.SETTLED
    await scene.fault(FaultKind.WRONG_ORDER, operation=Operation.LOOK_UP)
    assert (await scene.look_up(asked)).state is PaymentState.ACCEPTED
    assert (await scene.look_up(asked)).state is PaymentState.SETTLED
    assert len(await scene.lines(asked)) == 1


async def test_wrong_order_tells_settled_too_early(scene: Scene) -> None:
    await scene.fault(FaultKind.SETTLE_LATER, seconds=0.5)
    await scene.fault(FaultKind.WRONG_ORDER, operation=Operation.PULL)
    asked = scene.instruct()
    assert (await scene.bank.pull(asked)).state is PaymentState.SETTLED
    assert (await scene.look_up(asked)).state is PaymentState.ACCEPTED
    assert (await eventually_settled(scene, asked)).settled_at is not None


async def test_faults_survive_kill_and_say_how_often_they_struck(process: BankProcess, scene: Scene) -> None:
    await scene.fault(FaultKind.REFUSE, times=2, code="R20")
    assert (await scene.bank.pull(scene.instruct())).refusal_code == "R20"
    process.restart()
    assert (await scene.bank.pull(scene.instruct())).refusal_code == "R20"
    assert (await scene.bank.pull(scene.instruct())).state is PaymentState.SETTLED
    (fault,) = await scene.admin.faults()
    assert (fault.used, fault.times_left) == (2, 0)
    await scene.admin.remove_fault(fault.fault_id)
    assert await scene.admin.faults() == []
    with pytest.raises(BankRefused):
        await scene.admin.remove_fault(fault.fault_id)


async def test_a_frozen_account_refuses_until_it_is_open_again(scene: Scene) -> None:
    await scene.admin.set_account_status(scene.customer.account_id, AccountStatus.FROZEN)
    assert (await scene.bank.pull(scene.instruct())).refusal_code == "R16"
    await scene.admin.set_account_status(scene.customer.account_id, AccountStatus.OPEN)
    assert (await scene.bank.pull(scene.instruct())).state is PaymentState.SETTLED


async def test_a_hanging_request_does_not_hold_up_a_shutdown(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_bank(tmp_path_factory.mktemp("hanging")) as process:
        bank = SimulatedBank(process.url, request_timeout_seconds=20)
        async with process.admin() as admin:
            customer = await link_customer(bank, admin)
            await admin.set_fault(FaultKind.TIMEOUT_BEFORE, operation=Operation.PULL)
            asked = PaymentInstruction(
                reference="txn_1:pull", account_token=customer.account_token, amount=Money(1, "USD")
            )
            hanging = asyncio.create_task(bank.pull(asked))
            await asyncio.sleep(0.3)
            started = time.monotonic()
            await asyncio.to_thread(process.stop)
            assert time.monotonic() - started < 4
            with pytest.raises(BankUnknown):
                await hanging
        await bank.aclose()


async def test_what_the_api_does_not_understand_is_a_problem_not_an_error(process: BankProcess) -> None:
    good = {"reference": "txn_1:pull", "account_token": "at_1", "amount": 1, "currency": "USD"}
    bad: list[dict[str, object]] = [
        {**good, "amount": 0},
        {**good, "amount": -1},
        {**good, "amount": 1.0},
        {**good, "amount": "1"},
        {**good, "amount": True},
        {**good, "amount": 10**12 + 1},
        {**good, "currency": "XXX"},
        {**good, "reference": "has a space"},
        {**good, "reference": ""},
        {**good, "surprise": 1},
        {},
    ]
    async with httpx.AsyncClient(base_url=process.url, trust_env=False) as client:
        for body in bad:
            answer = await client.post("/v1/pulls", json=body)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), body
        assert (await client.get("/nowhere")).json()["code"] == "not_found"
        assert (await client.post("/v1/pulls", content=b"{")).status_code == 422
        bad_fault = await client.post("/v1/faults", json={"kind": "down", "code": "R01"})
        assert bad_fault.status_code == 422
        document = (await client.get("/openapi.json")).json()
        assert {"/v1/pulls", "/v1/pushes", "/v1/payments/{reference}", "/v1/statement"} <= set(document["paths"])
