"""What must hold at the end of every simulated day."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bank_adapters.port import PaymentState
from bank_adapters.simulator.faults import FaultKind
from domain.contracts.returns import Unmatched
from domain.errors import DecisionCode
from domain.ids import TransactionId
from domain.rails import Rail
from domain.transactions import TransactionKind, TransactionStatus
from ledger.invariants import BankBalance, verify
from tests.simulation.books import (
    BankBooks,
    BankReturn,
    OurPayment,
    bank_books,
    our_clearing,
    our_payments,
    our_wallets,
)
from tests.simulation.expectations import ACH_AT_ONCE, FAILURES
from tests.simulation.plan import PlannedPayment
from tests.workflow.scene import Payment, Person, Scene

_SINCE: Final = datetime(2020, 1, 1, tzinfo=UTC)
_DEPOSIT, _WITHDRAWAL, _TRANSFER = TransactionKind.DEPOSIT, TransactionKind.WITHDRAWAL, TransactionKind.TRANSFER
_SUCCEEDED, _RETURNED, _FAILED = TransactionStatus.SUCCEEDED, TransactionStatus.RETURNED, TransactionStatus.FAILED


@dataclass(frozen=True, slots=True)
class Made:
    """A planned payment that was made."""

    planned: PlannedPayment
    payment: Payment

    @property
    def transaction_id(self) -> TransactionId:
        """As recorded."""
        return self.payment.transaction_id


@dataclass(frozen=True, slots=True)
class State:
    """Everything there is to compare. `parks` says of each return at the bank why it has to park, or None."""

    people: Sequence[Person]
    planned: Mapping[TransactionId, PlannedPayment]
    parks: Mapping[str, Unmatched | None]
    ours: Mapping[TransactionId, OurPayment]
    bank: BankBooks

    def suspended(self) -> Counter[str]:
        """What returns that park have moved at the bank, by reference: in our books it is nobody's."""
        found: Counter[str] = Counter()
        for back in self.bank.returns:
            if self.parks[back.return_id] is not None:
                found[back.reference] += back.moved
        return found

    def booked(self, payment: TransactionId) -> BankReturn | None:
        """The return of a payment that is in our books."""
        for back in self.bank.returns:
            if back.reference.startswith(payment) and self.parks[back.return_id] is None:
                return back
        return None


def signed(payment: OurPayment) -> int:
    """What it adds to our account at the bank."""
    return payment.amount if payment.kind == _DEPOSIT else -payment.amount


async def state_of(
    scene: Scene,
    people: Sequence[Person],
    made: Mapping[TransactionId, Made],
    parks: Mapping[str, Unmatched | None],
) -> State:
    """As it is now: the bank's books first, so that what is in ours came at the same time or later."""
    bank = await bank_books(scene)
    planned = {name: each.planned for name, each in made.items()}
    return State(people, planned, parks, await our_payments(scene), bank)


async def wrong_with(scene: Scene, state: State) -> list[str]:
    """Everything that does not hold, in words."""
    found = [*payments_wrong(state), *await _wallets_wrong(scene, state), *await _invariants_wrong(scene, state)]
    if not (await scene.admin.books()).balanced:
        found.append("the bank's own books do not sum to zero")
    return found


async def unfinished(scene: Scene, state: State) -> list[str]:
    """What is still to happen: nothing, in the end."""
    found = [f"{payment} never ended" for payment in state.ours.values() if not TransactionStatus(payment.status).final]
    found += [f"{payment} is parked at the end" for payment in state.ours.values() if payment.reason]
    found += [f"clearing is not zero: {code} has {left}" for code, left in (await our_clearing(scene)).items()]
    held = {account: wallet.held for account, wallet in (await our_wallets(scene)).items() if wallet.held}
    found += [f"{held} is held at the end"] if held else []
    found += [f"the bank never corrected {reference}" for reference in state.bank.uncorrected]
    return found


def is_deferred(planned: PlannedPayment) -> bool:
    """Whether not all of a deposit may be spent at once."""
    return planned.kind == _DEPOSIT and Rail.ACH in planned.rails and planned.amount > ACH_AT_ONCE


def early(state: State) -> Counter[str]:
    """What the bank wrongly said had settled, and we have booked: by reference, until it has."""
    lied_to = {
        planned.person
        for planned in state.planned.values()
        if any(fault.kind is FaultKind.WRONG_ORDER for fault in planned.faults)
    }
    found: Counter[str] = Counter()
    for payment in state.ours.values():
        at_bank = state.bank.paid(payment.transaction_id)
        if payment.status != _SUCCEEDED or at_bank is None or at_bank.state is not PaymentState.ACCEPTED:
            continue
        if state.planned[payment.transaction_id].person in lied_to:
            found[at_bank.reference] += signed(payment)
    return found


def payments_wrong(state: State) -> Iterator[str]:
    """Each payment of ours is exactly once, for its amount and with our outcome, in the bank's books."""
    suspended, lies = state.suspended(), early(state)
    for payment in state.ours.values():
        name = f"{state.planned[payment.transaction_id]} ({payment.transaction_id}, {payment.status})"
        if payment.status == _FAILED and payment.failure not in FAILURES[TransactionKind(payment.kind)]:
            yield f"{name} failed for {payment.failure}"
        if payment.kind == _TRANSFER:
            continue
        at_bank = state.bank.payments.get(payment.transaction_id, ())
        for wrong in [found for found in at_bank if found.amount != payment.amount]:
            yield f"{name}: the bank has it as {wrong}"
        paid = state.bank.paid(payment.transaction_id)
        if (paid is not None) != payment.accepted:
            yield f"{name}: ours accepted: {payment.accepted}, the bank's: {paid}"
        if payment.failure == DecisionCode.BANK_REFUSED and not any(f.state is PaymentState.REFUSED for f in at_bank):
            yield f"{name}: the bank never refused it"
        moved = sum(found.moved for found in at_bank)
        ours = signed(payment) if payment.status == _SUCCEEDED else 0
        for found in at_bank:
            ours += suspended[found.reference] + state.bank.uncorrected.get(found.reference, 0) - lies[found.reference]
        if moved != ours:
            yield f"{name}: the bank's statement has {moved} of it, our books {ours}"
        if (payment.status == _RETURNED) != (state.booked(payment.transaction_id) is not None):
            yield f"{name}: returned at the bank: {state.booked(payment.transaction_id)}"
    for unknown in state.bank.payments.keys() - state.ours.keys():
        yield f"the bank has {unknown}, we have not"


async def _wallets_wrong(scene: Scene, state: State) -> list[str]:
    """What a wallet has, less what it owes, is what the bank's outcomes and the transfers say."""
    expected: Counter[int] = Counter()
    for transaction_id, payment in state.ours.items():
        planned = state.planned[transaction_id]
        if payment.kind == _TRANSFER:
            moved = payment.amount if payment.status == _SUCCEEDED else 0
        else:
            came_back = state.booked(transaction_id) is not None
            moved = payment.amount if state.bank.paid(transaction_id) and not came_back else 0
        if planned.source is not None:
            expected[planned.source] -= moved
        if planned.destination is not None:
            expected[planned.destination] += moved
    found, wallets = [], await our_wallets(scene)
    # What has matured on a wallet that has come to owe meanwhile is collected by its next posting.
    deferred = {planned.destination for planned in state.planned.values() if is_deferred(planned)}
    for number, person in enumerate(state.people):
        wallet = wallets[person.wallet_id.partition("_")[2]]
        if wallet.posted - wallet.owed != expected[number]:
            found.append(f"wallet {number} should have {expected[number]}: {wallet}")
        if wallet.owed and wallet.posted > wallet.held and number not in deferred:
            found.append(f"wallet {number} owes and has: {wallet}")
    return found


async def _invariants_wrong(scene: Scene, state: State) -> list[str]:
    """`sagapay verify`, where the bank's statement is compared but for what is known to differ."""
    lines = [line.minor_units async for line in scene.bank.statement("USD", since=_SINCE)]
    if sum(lines) != state.bank.statement:
        return [f"the statement adds up to {sum(lines)}, the bank's books say {state.bank.statement}"]
    known = sum(state.bank.uncorrected.values()) - early(state).total()

    async def banks() -> Sequence[BankBalance]:
        return [BankBalance(bank=scene.bank.name, currency="USD", minor_units=sum(lines) - known)]

    findings = await verify(scene.ledger.shards.all[0].engine, banks)
    return [f"{finding.name}: {finding.violations}" for finding in findings if not finding.ok]


def may_stay_parked(planned: PlannedPayment, payment: OurPayment) -> bool:
    """One that ended unpaid on a person's word shows attention until the bank, asked late enough, agrees."""
    return planned.remedy is not None and payment.failure == DecisionCode.RESOLVED_UNPAID
