"""What hypothesis comes up with: a kind of call and some numbers, which choose among what there is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from hypothesis import strategies as st

from domain.batches import BatchMode, BatchStatus
from domain.contracts.holds import HoldRequest
from domain.contracts.payments import PaymentRequest
from domain.contracts.suspense import Clearance
from domain.contracts.wallets import ChangeKind, WalletChange, WalletLimits
from domain.holds import HoldStatus
from domain.ids import WalletId
from domain.rails import Rail
from domain.transactions import Step, TransactionKind
from tests.money.batches import new_batch, unused_key
from tests.money.holds import HOUR, hold_request
from tests.money.requests import Client, again
from tests.money.suspense import line_of
from tests.money.write_offs import asking
from tests.property.asks import (
    AcceptBatch,
    Ask,
    ChangeRules,
    ClearSuspense,
    CloseBatch,
    ExpireHolds,
    MatureDeposits,
    Pay,
    PayItem,
    PlaceHold,
    ReadWallet,
    ReceiveTransfer,
    ReleaseHold,
    SettleBatch,
    Suspend,
    TakeStep,
    WriteOffDebt,
)
from tests.property.ledger_model import LedgerModel
from tests.property.payment_model import PaymentModel
from tests.property.wallet_model import NOON, at_noon, shard_of

T = TypeVar("T")


@dataclass(frozen=True)
class Wish:
    """One of ASKS, and numbers that mean what they can. `pick` and `other` choose; `day` is business time."""

    kind: str
    pick: int
    other: int
    amount: int
    day: int
    flag: bool


LATER: Final = [
    *(Step.RECEIVE_TRANSFER, Step.COMPLETE_TRANSFER, Step.REVERSE_TRANSFER),
    *(Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT, Step.FAIL_DEPOSIT, Step.MATURE_DEPOSIT),
    *(Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL, Step.RELEASE_WITHDRAWAL),
    *(Step.RETURN_DEPOSIT, Step.RETURN_WITHDRAWAL),
]
MOST_LINES: Final = 5
SIDES: Final = ((True, True), (True, False), (False, True))
PICK: Final = st.integers(0, 30)
AMOUNT: Final = st.sampled_from([1, 10, 20, 50, 100, 500, 1_000]) | st.integers(1, 2_000)


@dataclass(frozen=True)
class Caller:
    """Turns wishes into calls on what the model says there is, and on what is `asked` for at the same moment."""

    client: Client
    model: LedgerModel
    asked: Sequence[Ask] = ()

    def ask(self, wish: Wish) -> Ask | None:
        """The call, or None where there is nothing to call it on."""
        return ASKS[wish.kind](self, wish)

    # -- payments ------------------------------------------------------------------------------------

    def transfer(self, wish: Wish) -> Ask | None:
        """From any wallet to any other."""
        return self._transfer(wish, list(self.model.wallets))

    def near_transfer(self, wish: Wish) -> Ask | None:
        """To a wallet on the same shard."""
        return self._transfer(wish, self._neighbours(self._wallet(wish)))

    def _transfer(self, wish: Wish, receivers: Sequence[WalletId]) -> Ask | None:
        source = self._wallet(wish)
        destination = _one_of([wallet for wallet in receivers if wallet != source], wish.other)
        return self._pay(wish, TransactionKind.TRANSFER, source, destination) if destination else None

    def deposit(self, wish: Wish) -> Ask:
        """Its first step; over ACH, something of it may have to wait."""
        asked = self._pay(wish, TransactionKind.DEPOSIT, None, self._wallet(wish))
        return Pay(replace(asked.request, rails=(Rail.ACH,))) if wish.flag else asked

    def withdrawal(self, wish: Wish) -> Ask:
        """Its hold."""
        return self._pay(wish, TransactionKind.WITHDRAWAL, self._wallet(wish), None)

    def _pay(self, wish: Wish, kind: TransactionKind, source: WalletId | None, destination: WalletId | None) -> Pay:
        amount = self._amount(wish, source) if source else wish.amount
        asked = self.client.request(kind, amount, source=source, destination=destination)
        return Pay(replace(asked, effective_at=at_noon(wish.day)))

    def _amount(self, wish: Wish, source: WalletId) -> int:
        """Any, or to the cent what may leave the wallet, or one too many."""
        return max(1, self.model.wallets[source].most(wish.day) + wish.other % 2) if wish.flag else wish.amount

    def next_step(self, wish: Wish) -> Ask | None:
        """An open payment goes on, one way or the other."""
        payment = _one_of([payment for payment in self.model.payments.values() if payment.possible], wish.pick)
        return self._take(payment, payment.possible[wish.other % len(payment.possible)]) if payment else None

    def any_step(self, wish: Wish) -> Ask | None:
        """Any step on any payment: again, too late, of another kind."""
        payment = _one_of(list(self.model.payments.values()), wish.pick)
        return self._take(payment, LATER[wish.other % len(LATER)]) if payment else None

    def _take(self, payment: PaymentModel, step: Step) -> Ask:
        return TakeStep(payment.request.transaction_id, step, payment.undeliverable or "bank_refused")

    def receive(self, wish: Wish) -> Ask | None:
        """A transfer that was sent, whatever became of it; or that it is given up."""
        sent = [payment for payment in self.model.payments.values() if payment.sent]
        payment = _one_of(sorted(sent, key=lambda payment: payment.received is not None), wish.pick)
        failure = "cancelled" if wish.flag and wish.other % 3 == 0 else None
        return ReceiveTransfer(payment.request, failure) if payment else None

    def replay(self, wish: Wish) -> Ask | None:
        """An old request again, or one that is being asked for at this moment."""
        request = self._known_request(wish)
        return Pay(again(request)) if request else None

    def reuse_key(self, wish: Wish) -> Ask | None:
        """An old key with another body."""
        request = self._known_request(wish)
        if request is None or request.idempotency is None:
            return None
        other = replace(request.idempotency, fingerprint="00" * 32)
        return Pay(replace(again(request), idempotency=other))

    def _known_request(self, wish: Wish) -> PaymentRequest | None:
        now = [ask.request for ask in self.asked if isinstance(ask, Pay)]
        return _one_of([*reversed(now), *(payment.request for payment in self.model.payments.values())], wish.pick)

    # -- holds ---------------------------------------------------------------------------------------

    def place_hold(self, wish: Wish) -> Ask:
        """Money for later, sometimes when it is already too late; sometimes asked for twice."""
        now = [ask.request for ask in self.asked if isinstance(ask, PlaceHold)]
        if now and wish.flag:
            return PlaceHold(now[0])
        return PlaceHold(self._hold(wish, overdue=wish.other % 3 == 0))

    def _hold(self, wish: Wish, *, overdue: bool) -> HoldRequest:
        wallet = self._wallet(wish)
        asked = hold_request(self.client, wallet, self._amount(wish, wallet))
        # An overdue one has expired before the first day.
        expires_at = NOON - HOUR if overdue else asked.expires_at
        return replace(asked, effective_at=at_noon(wish.day), expires_at=expires_at)

    def capture_hold(self, wish: Wish) -> Ask | None:
        """From any hold, rather one that stands, to any other wallet, rather on its shard."""
        holds = sorted(self.model.holds.items(), key=lambda found: found[1].status is not HoldStatus.ACTIVE)
        found = _one_of(holds, wish.pick % 4)
        if found is None:
            return None
        hold_id, hold = found
        wallets = list(self.model.wallets) if wish.day % 2 else self._neighbours(hold.wallet)
        receiver = _one_of([wallet for wallet in wallets if wallet != hold.wallet], wish.other)
        amount = hold.remaining or wish.amount if wish.other % 2 else wish.amount
        asked = self.client.request(TransactionKind.TRANSFER, amount, source=hold.wallet, destination=receiver)
        return Pay(replace(asked, effective_at=at_noon(wish.day), hold_id=hold_id, releases_rest=wish.flag))

    def release_hold(self, wish: Wish) -> Ask | None:
        """Any hold."""
        hold_id = _one_of(list(self.model.holds), wish.pick)
        return ReleaseHold(hold_id) if hold_id else None

    def expire_holds(self, _wish: Wish) -> Ask | None:
        """A sweep, where there may be something to find."""
        return ExpireHolds() if self.model.holds else None

    def mature_deposits(self, _wish: Wish) -> Ask | None:
        """A sweep, where there may be something to find."""
        return MatureDeposits() if any(payment.deferred for payment in self.model.payments.values()) else None

    # -- rules ---------------------------------------------------------------------------------------

    def freeze(self, wish: Wish) -> Ask:
        """One side or both."""
        return self._change(wish, ChangeKind.FREEZE)

    def unfreeze(self, wish: Wish) -> Ask:
        """One side or both."""
        return self._change(wish, ChangeKind.UNFREEZE)

    def limit(self, wish: Wish) -> Ask:
        """What may leave at once, or on a day; or whatever is there."""
        limits = (
            WalletLimits(per_transaction=wish.amount),
            WalletLimits(daily=wish.amount),
            WalletLimits(daily=2 * wish.amount),
            WalletLimits(),
        )
        return self._change(wish, ChangeKind.LIMIT, limits[wish.other % len(limits)])

    def close(self, wish: Wish) -> Ask | None:
        """Only an empty wallet can be; seldom, as it is for ever."""
        return self._change(wish, ChangeKind.CLOSE) if wish.day == 0 else None

    def _change(self, wish: Wish, kind: ChangeKind, limits: WalletLimits | None = None) -> Ask:
        debits, credited = SIDES[wish.other % 3]
        change = WalletChange(
            kind=kind, by="tests", reason="a test", debits=debits, credits=credited, limits=limits or WalletLimits()
        )
        return ChangeRules(self._wallet(wish), change)

    def read(self, wish: Wish) -> Ask:
        """Any wallet."""
        return ReadWallet(self._wallet(wish))

    # -- batches -------------------------------------------------------------------------------------

    def batch(self, wish: Wish) -> Ask:
        """A few transfers under one key, perhaps one of them made before; sometimes asked for twice."""
        now = [ask for ask in self.asked if isinstance(ask, AcceptBatch)]
        if now and wish.flag:
            return now[0]
        sender, mode = self._wallet(wish), BatchMode.ATOMIC if wish.flag else BatchMode.INDEPENDENT
        near = self._neighbours(sender) if mode is BatchMode.ATOMIC else list(self.model.wallets)
        receivers = [wallet for wallet in near if wallet != sender]
        transfers = [(_one_of(receivers, wish.other + n) or receivers[0], wish.amount + n) for n in range(2 + wish.day)]
        batch = new_batch(self.client, sender, transfers, mode, self._made_before(wish, sender, receivers))
        return AcceptBatch(replace(batch, effective_at=at_noon(wish.day)), unused_key())

    def _made_before(self, wish: Wish, sender: WalletId, receivers: Sequence[WalletId]) -> Mapping[int, PaymentRequest]:
        """In every other batch one of the transfers has a key that was used before, or is in use."""
        if wish.other % 2:
            return {}
        asked = [ask.request for ask in self.asked if isinstance(ask, Pay)]
        known = [
            request
            for request in [*asked, *(payment.request for payment in self.model.payments.values())]
            if request.source_wallet_id == sender
            and request.destination_wallet_id in receivers
            and request.hold_id is None
        ]
        found = _one_of(known, wish.pick)
        return {wish.day: again(found)} if found else {}

    def batch_item(self, wish: Wish) -> Ask | None:
        """The next transfer of an independent batch, or one that is being paid at this moment."""
        batches = [batch for batch in self.model.batches.values() if batch.mode is BatchMode.INDEPENDENT]
        pending = [(batch, n) for batch in batches for n in range(len(batch.items)) if n not in batch.begun]
        found = _one_of(pending, wish.pick % 3)
        return PayItem(*found) if found else None

    def settle_batch(self, wish: Wish) -> Ask | None:
        """An atomic batch, rather one that is not settled yet."""
        batches = [batch for batch in self.model.batches.values() if batch.mode is BatchMode.ATOMIC]
        batch = _one_of(sorted(batches, key=lambda batch: batch.status is not BatchStatus.ACCEPTED), wish.pick % 3)
        return SettleBatch(batch) if batch else None

    def close_batch(self, wish: Wish) -> Ask | None:
        """Any batch."""
        batch = _one_of(list(self.model.batches.values()), wish.pick)
        return CloseBatch(batch) if batch else None

    # -- what is no payment's ------------------------------------------------------------------------

    def suspend(self, wish: Wish) -> Ask:
        """One of a few lines of the bank's statement, sometimes with another amount than before."""
        moved = wish.amount if wish.flag else -wish.amount
        return Suspend(line_of(f"ret_{wish.pick % MOST_LINES}", moved, self.client.bank))

    def clear_suspense(self, wish: Wish) -> Ask:
        """One of them, whether it is there or not."""
        outcome = Clearance.CORRECTED if wish.flag else Clearance.MATCHED
        return ClearSuspense(self.client.bank, f"ret_{wish.pick % MOST_LINES}", outcome)

    def write_off(self, wish: Wish) -> Ask:
        """All or a part of what a wallet owes, rather one that owes."""
        owing = [wallet for wallet, model in self.model.wallets.items() if model.owed]
        wallet = _one_of(owing, wish.pick) or self._wallet(wish)
        return WriteOffDebt(asking(wallet, None if wish.flag else wish.amount))

    # -- what there is -------------------------------------------------------------------------------

    def _wallet(self, wish: Wish) -> WalletId:
        wallets = list(self.model.wallets)
        return wallets[wish.pick % len(wallets)]

    def _neighbours(self, wallet: WalletId) -> list[WalletId]:
        return [other for other in self.model.wallets if shard_of(other) == shard_of(wallet)]


def _one_of(things: Sequence[T], pick: int) -> T | None:
    return things[pick % len(things)] if things else None


ASKS: Final[Mapping[str, Callable[[Caller, Wish], Ask | None]]] = {
    ask.__name__: ask
    for ask in (
        *(Caller.transfer, Caller.near_transfer, Caller.deposit, Caller.withdrawal),
        *(Caller.next_step, Caller.any_step, Caller.receive, Caller.replay, Caller.reuse_key),
        *(Caller.place_hold, Caller.capture_hold, Caller.release_hold, Caller.expire_holds, Caller.mature_deposits),
        *(Caller.freeze, Caller.unfreeze, Caller.limit, Caller.close, Caller.read),
        *(Caller.suspend, Caller.clear_suspense, Caller.write_off),
        *(Caller.batch, Caller.batch_item, Caller.settle_batch, Caller.close_batch),
    )
}
OFTEN: Final = ("transfer", "near_transfer", "next_step", "receive", "capture_hold", "unfreeze", "batch_item")
WISHES: Final = st.builds(
    Wish,
    kind=st.sampled_from([*ASKS, *OFTEN]),
    pick=PICK,
    other=PICK,
    amount=AMOUNT,
    day=st.integers(0, 2),
    flag=st.booleans(),
)
