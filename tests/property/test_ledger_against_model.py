"""Random payments on the real ledger and on a dictionary: they agree at every step, and the books stay sound."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.contracts.payments import Failure, StepCommand, StepResult
from domain.contracts.wallets import ChangeKind
from domain.errors import IdempotencyKeyReused, LedgerRejected
from domain.holds import HoldStatus
from domain.ids import WalletId
from domain.transactions import Step, StepDecision, TransactionKind
from ledger.invariants import BankBalance, verify
from ledger.local import LocalLedger
from ledger.service import AccountStatus, Hold
from tests.money.holds import HOUR, capture_request, hold_request
from tests.money.requests import Client, again, change_wallet
from tests.money.scratch import Database
from tests.property.ledger_model import FAILING, LedgerModel, PaymentModel, WalletModel
from tests.stack.servers import Servers

T = TypeVar("T")
FIRST = {
    TransactionKind.TRANSFER: Step.SETTLE_TRANSFER,
    TransactionKind.DEPOSIT: Step.RECORD_DEPOSIT,
    TransactionKind.WITHDRAWAL: Step.HOLD_WITHDRAWAL,
}
LATER = [step for step in Step if step not in (*FIRST.values(), Step.CAPTURE_HOLD, Step.SEND_TRANSFER)]
REASON = Failure(code="bank_refused", detail="The bank refused.")
PICK = st.integers(0, 1_000)
AMOUNT = st.integers(1, 60) | st.integers(1, 2_000)


class Books(RuleBasedStateMachine):
    """A handful of wallets, and whatever payments hypothesis thinks of."""

    def __init__(self, loop: asyncio.AbstractEventLoop, service: LocalLedger) -> None:
        super().__init__()
        self.loop, self.service = loop, service
        self.model = LedgerModel()
        self.client = Client(service, bank=f"bank-{uuid4().hex[:12]}")
        self.touched: set[WalletId] = set()

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Wait for the ledger."""
        return self.loop.run_until_complete(work)

    @initialize(balances=st.lists(st.sampled_from([0, 1, 500, 10_000]), min_size=2, max_size=4))
    def open_wallets(self, balances: Sequence[int]) -> None:
        """Two to four of them, some with money."""
        for balance in balances:
            wallet = self.run(self.client.open_wallet())
            self.model.wallets[wallet] = WalletModel()
            if balance:
                self.pay(TransactionKind.DEPOSIT, balance, wallet, wallet)
                for step in (Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT):
                    self.take(self.model.payments[-1], step)

    def pay(self, kind: TransactionKind, amount: int, source: WalletId, destination: WalletId) -> None:
        """Begin a payment in both books."""
        request = self.client.request(
            kind,
            amount,
            source=None if kind is TransactionKind.DEPOSIT else source,
            destination=None if kind is TransactionKind.WITHDRAWAL else destination,
        )
        expected = self.model.begin(request, FIRST[kind])
        result = self.run(self.service.begin(request, FIRST[kind]))
        assert not result.replayed
        assert result.transaction_id == request.transaction_id
        self.agree(result, expected, FIRST[kind])

    def take(self, payment: PaymentModel, step: Step) -> None:
        """Try a later step in both books, whatever it is."""
        command = StepCommand(
            transaction_id=payment.request.transaction_id, step=step, failure=REASON if step in FAILING else None
        )
        if step not in payment.steps and step not in payment.possible:
            with pytest.raises(LedgerRejected):
                self.run(self.service.take_step(command))
            return
        replayed = step in payment.steps
        if not replayed:
            self.model.take(payment, step)
        result = self.run(self.service.take_step(command))
        assert result.replayed is replayed
        self.agree(result, payment, step)

    def agree(self, result: StepResult, payment: PaymentModel, step: Step) -> None:
        """The ledger's answer is the model's."""
        refused = payment.refusal is not None
        assert result.step is step
        assert result.decision is (StepDecision.REFUSED if refused else StepDecision.POSTED)
        assert result.status is payment.status
        code = payment.refusal or (REASON.code if set(FAILING) & set(payment.steps) else None)
        assert (result.failure and result.failure.code) == code
        wallets = (payment.request.source_wallet_id, payment.request.destination_wallet_id)
        self.touched |= {wallet for wallet in wallets if wallet}

    def wallet(self, pick: int) -> WalletId:
        """One of the wallets."""
        wallets = list(self.model.wallets)
        return wallets[pick % len(wallets)]

    @rule(source=PICK, other=PICK, amount=AMOUNT)
    def transfer(self, source: int, other: int, amount: int) -> None:
        """From any wallet to any other."""
        distance = 1 + other % (len(self.model.wallets) - 1)
        self.pay(TransactionKind.TRANSFER, amount, self.wallet(source), self.wallet(source + distance))

    @rule(pick=PICK, amount=AMOUNT)
    def begin_deposit(self, pick: int, amount: int) -> None:
        """Its later steps come by `later_step`."""
        self.pay(TransactionKind.DEPOSIT, amount, self.wallet(pick), self.wallet(pick))

    @rule(pick=PICK, amount=AMOUNT)
    def begin_withdrawal(self, pick: int, amount: int) -> None:
        """The hold."""
        self.pay(TransactionKind.WITHDRAWAL, amount, self.wallet(pick), self.wallet(pick))

    @precondition(lambda self: any(payment.possible for payment in self.model.payments))
    @rule(pick=PICK, way=PICK)
    def next_step(self, pick: int, way: int) -> None:
        """An open payment goes on, one way or the other."""
        going = [payment for payment in self.model.payments if payment.possible]
        payment = going[pick % len(going)]
        self.take(payment, payment.possible[way % len(payment.possible)])

    @precondition(lambda self: self.model.payments)
    @rule(pick=PICK, step=st.sampled_from(LATER))
    def any_step(self, pick: int, step: Step) -> None:
        """Any step on any payment: again, too late, of another kind."""
        self.take(self.model.payments[pick % len(self.model.payments)], step)

    @rule(pick=PICK, amount=AMOUNT, overdue=st.booleans())
    def place_hold(self, pick: int, amount: int, overdue: bool) -> None:
        """Money for later, sometimes when it is already too late; the same call twice places one."""
        wallet = self.wallet(pick)
        asked = hold_request(self.client, wallet, amount, life=-HOUR if overdue else HOUR)
        refusal = self.model.place(asked.hold_id, wallet, amount, overdue=overdue)
        placed = self.run(self.service.place_hold(asked))
        assert self.run(self.service.place_hold(asked)) == replace(placed, replayed=True)
        assert (placed.replayed, placed.hold.hold_id) == (False, asked.hold_id)
        assert (placed.hold.failure and placed.hold.failure.code) == refusal
        self.touched.add(wallet)

    @precondition(lambda self: self.model.holds)
    @rule(pick=PICK, other=PICK, amount=AMOUNT, rest=st.booleans())
    def capture_hold(self, pick: int, other: int, amount: int, rest: bool) -> None:
        """From any hold, in whatever state, to any other wallet."""
        hold = self.hold(pick)
        receivers = [wallet for wallet in self.model.wallets if wallet != hold.wallet_id]
        receiver = receivers[other % len(receivers)]
        request = capture_request(self.client, hold, receiver, amount, rest=rest)
        expected = self.model.begin(request, Step.CAPTURE_HOLD)
        self.agree(self.run(self.service.begin(request, Step.CAPTURE_HOLD)), expected, Step.CAPTURE_HOLD)

    @precondition(lambda self: self.model.holds)
    @rule(pick=PICK)
    def release_hold(self, pick: int) -> None:
        """Any hold; one that has ended stays as it is."""
        hold = self.hold(pick)
        self.model.end(self.model.holds[hold.hold_id], HoldStatus.RELEASED)
        released = self.run(self.service.release_hold(hold.hold_id))
        assert released.status is self.model.holds[hold.hold_id].status
        self.touched.add(hold.wallet_id)

    @precondition(lambda self: self.model.holds)
    @rule()
    def expire_holds(self) -> None:
        """A sweep."""
        for hold in self.model.holds.values():
            if hold.overdue:
                self.model.end(hold, HoldStatus.EXPIRED)
                self.touched.add(hold.wallet)
        while self.run(self.service.expire_holds(100)):
            pass

    def hold(self, pick: int) -> Hold:
        """One of the holds."""
        ids = list(self.model.holds)
        found = self.run(self.service.hold(ids[pick % len(ids)]))
        assert found is not None
        return found

    @rule(pick=PICK, frozen=st.booleans())
    def freeze(self, pick: int, frozen: bool) -> None:
        """Or unfreeze."""
        wallet = self.wallet(pick)
        self.model.wallets[wallet].frozen = frozen
        self.run(change_wallet(self.service, wallet, ChangeKind.FREEZE if frozen else ChangeKind.UNFREEZE))
        self.touched.add(wallet)

    @precondition(lambda self: self.model.payments)
    @rule(pick=PICK, callers=st.sampled_from([1, 1, 3]))
    def replay(self, pick: int, callers: int) -> None:
        """An old request again, from one caller or from three at once."""
        payment = self.model.payments[pick % len(self.model.payments)]
        step = payment.steps[0]
        results = self.run(_together(self.service, payment, step, callers))
        for result in results:
            assert result.replayed
            assert result.transaction_id == payment.request.transaction_id
            self.agree(result, payment, step)

    @precondition(lambda self: self.model.payments)
    @rule(pick=PICK)
    def reuse_a_key(self, pick: int) -> None:
        """An old key with another body."""
        payment = self.model.payments[pick % len(self.model.payments)]
        assert payment.request.idempotency is not None
        changed = replace(payment.request.idempotency, fingerprint="00" * 32)
        with pytest.raises(IdempotencyKeyReused):
            self.run(self.service.begin(replace(again(payment.request), idempotency=changed), payment.steps[0]))

    @invariant()
    def touched_wallets_agree(self) -> None:
        """Balances after every rule."""
        for wallet in self.touched:
            found, expected = self.run(self.client.wallet(wallet)), self.model.wallets[wallet]
            assert (found.posted, found.held, found.version) == (expected.posted, expected.held, expected.entries)
            assert found.available >= 0
            assert (found.status is AccountStatus.FROZEN) is expected.frozen
        self.touched.clear()

    def teardown(self) -> None:
        """At the end every record is looked at, and the bank's books agree with ours."""
        self.touched = set(self.model.wallets)
        self.touched_wallets_agree()
        self.run(self.records_agree())

    async def records_agree(self) -> None:
        """Timelines, statuses, and every invariant."""
        for payment in self.model.payments:
            transaction = await self.service.transaction(payment.request.transaction_id)
            assert transaction is not None
            assert transaction.status is payment.status
            timeline = await self.service.timeline(payment.request.transaction_id)
            assert [item.step for item in timeline] == payment.steps
        for hold_id, hold in self.model.holds.items():
            found = await self.service.hold(hold_id)
            assert found is not None
            assert (found.status, found.captured, found.remaining) == (hold.status, hold.captured, hold.remaining)
        for wallet, expected in self.model.wallets.items():
            statement = await self.service.entries(wallet, before_version=None, limit=1_000)
            assert [entry.version for entry in statement] == list(range(expected.entries, 0, -1))
            moved = sum(entry.amount if entry.side == "CREDIT" else -entry.amount for entry in statement)
            assert moved == expected.posted
        findings = await verify(self.service.shards.all[0].engine)
        assert [(finding.name, finding.violations) for finding in findings if not finding.ok] == []


async def _together(service: LocalLedger, payment: PaymentModel, step: Step, callers: int) -> list[StepResult]:
    return await asyncio.gather(*(service.begin(again(payment.request), step) for _ in range(callers)))


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Hypothesis is not asynchronous: it drives a loop of its own."""
    own = asyncio.new_event_loop()
    yield own
    own.close()


@pytest.fixture
def service(loop: asyncio.AbstractEventLoop, database: Database, bare_servers: Servers) -> Iterator[LocalLedger]:
    """The ledger on that loop."""
    made = LocalLedger(database.settings(bare_servers.settings))
    yield made
    loop.run_until_complete(made.aclose())


def test_random_payments_agree_with_the_model(
    loop: asyncio.AbstractEventLoop, service: LocalLedger, database: Database
) -> None:
    ran: list[Books] = []

    def books() -> Books:
        ran.append(Books(loop, service))
        return ran[-1]

    run_state_machine_as_test(
        books,
        settings=settings(
            max_examples=15, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow], deadline=None
        ),
    )
    assert sum(len(run.model.payments) for run in ran) > 50
    with database.connect() as connection:
        for run in ran:
            for kind, expected in (("clearing", run.model.clearing), ("bank_settlement", run.model.at_bank)):
                total = connection.execute(
                    "SELECT coalesce(sum(balance), 0)::bigint FROM ledger.accounts WHERE code LIKE %s",
                    [f"{kind}:{run.client.bank}:%"],
                ).fetchone()
                assert total == (expected,)

    async def read_banks() -> list[BankBalance]:
        return [
            BankBalance(bank=run.client.bank, currency="USD", minor_units=run.model.at_bank)
            for run in ran
            if any(Step.SETTLE_DEPOSIT in payment.steps for payment in run.model.payments) or run.model.at_bank
        ]

    findings = loop.run_until_complete(verify(service.shards.all[0].engine, read_banks))
    assert [(finding.name, finding.violations) for finding in findings if not finding.ok] == []
