"""The machine that hypothesis drives: what is asked of the ledger at once, and in which order the model agrees."""

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import permutations
from typing import TypeVar
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from domain.batches import BatchItemStatus
from domain.ids import WalletId
from domain.transactions import Step, TransactionKind, TransactionStatus
from ledger.batches import Batches
from ledger.invariants import verify_shards
from ledger.local import LocalLedger
from tests.money.requests import Client
from tests.property.asks import ALONE, Ask, Pay, ReceiveTransfer, TakeStep, answered, standing_of
from tests.property.ledger_model import LedgerModel
from tests.property.payment_model import KEY_REUSED, Answer
from tests.property.wallet_model import SHARDS, Standing, WalletModel
from tests.property.wishes import WISHES, Caller, Wish

T = TypeVar("T")
MOST_AT_ONCE = 4
"""Calls that are under way together: the model looks for their order among all that there are."""
BALANCES = st.lists(st.sampled_from([0, 1_000, 10_000]), min_size=2, max_size=2)


class Books(RuleBasedStateMachine):
    """A handful of wallets on each shard, and whatever payments hypothesis thinks of.

    What is drawn never depends on what was answered: of calls that race, each order is right.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ledgers: Sequence[LocalLedger]) -> None:
        super().__init__()
        self.loop, self.ledgers = loop, ledgers
        self.model = LedgerModel()
        self.tidy = False
        self.client = Client(ledgers[0], bank=f"bank-{uuid4().hex[:12]}")

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Wait for the ledger."""
        return self.loop.run_until_complete(work)

    @initialize(balances=st.tuples(*[BALANCES] * SHARDS), tidy=st.booleans())
    def open_wallets(self, balances: Sequence[Sequence[int]], tidy: bool) -> None:
        """Two on each shard, some with money. A `tidy` example leaves nothing between the shards."""
        self.tidy = tidy
        for shard, wanted in enumerate(balances):
            for balance in wanted:
                wallet = self.run(self.client.open_wallet(shard=shard))
                self.model.wallets[wallet] = WalletModel()
                if balance:
                    request = self.client.request(TransactionKind.DEPOSIT, balance, destination=wallet)
                    self.ask(Pay(request))
                    for step in (Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT):
                        self.ask(TakeStep(request.transaction_id, step, None))

    @rule(wishes=st.lists(WISHES, min_size=1, max_size=MOST_AT_ONCE))
    def ask_for(self, wishes: Sequence[Wish]) -> None:
        """Anything, or a few things at once: the same money, the same key, a rule that changes meanwhile."""
        asks: list[Ask] = []
        for wish in wishes:
            ask = Caller(self.client, self.model, asks).ask(wish)
            if isinstance(ask, ALONE):
                self.ask(*asks)
                self.ask(ask)
                asks = []
            elif ask is not None:
                asks.append(ask)
        self.ask(*asks)

    def ask(self, *asks: Ask) -> None:
        """Send these calls at once, in turn through one ledger and the other: some order of the model agrees."""
        seen = self.run(self._seen(asks))
        possible = []
        for order in permutations(range(len(asks))):
            trial = self.model.copy()
            said = {place: asks[place].expect(trial) for place in order}
            told = [said[place] for place in range(len(asks))], trial.standings
            if told == seen:
                self.model = trial
                return
            possible.append(told)
        # A race that goes well the next time would leave nothing to look at but this.
        print("The model disagrees with what was seen of", *asks, "Seen:", seen, sep="\n")
        assert seen in possible, "no order of these calls gives these answers and balances"

    async def _seen(self, asks: Sequence[Ask]) -> tuple[list[Answer], dict[WalletId, Standing]]:
        sent = [answered(ask.send(self.ledgers[place % len(self.ledgers)])) for place, ask in enumerate(asks)]
        answers = await asyncio.gather(*sent)
        wallets = await asyncio.gather(*(self.client.wallet(wallet) for wallet in self.model.wallets))
        return answers, {wallet.wallet_id: standing_of(wallet) for wallet in wallets}

    def teardown(self) -> None:
        """At the end every record is looked at, and the books are sound: as they are, or with every transfer ended."""
        if self.tidy:
            self.end_transfers()
        self.run(self.records_agree())
        self.run(self.books_are_sound())

    def end_transfers(self) -> None:
        """Receive whatever was sent to another shard, or give it back."""
        for transaction_id, payment in list(self.model.payments.items()):
            if payment.sent and payment.status is TransactionStatus.PROCESSING:
                self.ask(ReceiveTransfer(payment.request, None))
                received = self.model.payments[transaction_id]
                (last,) = received.possible
                self.ask(TakeStep(transaction_id, last, received.undeliverable))

    async def books_are_sound(self) -> None:
        """Every invariant, on both shards and between them."""
        found = await verify_shards([shard.engine for shard in self.ledgers[0].shards.all])
        assert [(finding.name, finding.violations) for finding in found.findings if not finding.ok] == []

    async def records_agree(self) -> None:
        """Statuses, timelines, holds, batches and statements."""
        ledger = self.ledgers[-1]
        for transaction_id, payment in self.model.payments.items():
            transaction = await ledger.transaction(transaction_id)
            assert transaction is not None
            assert transaction.status is payment.status
            assert (transaction.failure and transaction.failure.code) == (payment.refusal or payment.reason)
            assert [item.step for item in await ledger.timeline(transaction_id)] == payment.steps
        for hold_id, hold in self.model.holds.items():
            kept = await ledger.hold(hold_id)
            assert kept is not None
            assert (kept.status, kept.captured, kept.remaining) == hold.standing[:3]
        for batch_id, batch in self.model.batches.items():
            items = await Batches(ledger.shards).items(batch_id, first=0, limit=100)
            assert {item.index for item in items if item.status is BatchItemStatus.PENDING}.isdisjoint(batch.begun)
            assert {item.index: item.transaction_id or KEY_REUSED for item in items if item.index in batch.begun} == (
                batch.begun
            )
        for wallet, expected in self.model.wallets.items():
            statement = await ledger.entries(wallet, before_version=None, limit=1_000)
            assert [entry.version for entry in statement] == list(range(expected.entries, 0, -1))
            moved = sum(entry.amount if entry.side == "CREDIT" else -entry.amount for entry in statement)
            assert moved == expected.posted
