"""Pulls and pushes: decided once per reference; over instant settled at once unless told otherwise, over ACH later."""

from typing import Final

from bank_adapters.simulator import books, faults
from bank_adapters.simulator.books import Account, AccountStatus, MovementKind
from bank_adapters.simulator.database import Session
from bank_adapters.simulator.faults import FaultKind, Operation, Taken
from bank_adapters.simulator.links import account_behind
from bank_adapters.simulator.problems import ReferenceReused, TooLate
from bank_adapters.simulator.rails import LIMITS, Rail, batch_for
from bank_adapters.simulator.records import Direction, Order, Payment, State, ends, find, record
from bank_adapters.simulator.refusals import (
    ACCOUNT_CLOSED,
    ACCOUNT_FROZEN,
    INSUFFICIENT_FUNDS,
    NO_ACCOUNT,
    OVER_LIMIT,
    SETTLEMENT_EMPTY,
    WRONG_CURRENCY,
    Refusal,
    refusal_of,
)

SETTLE_LATER_SECONDS: Final = 5.0


def receive(session: Session, order: Order) -> tuple[Payment, bool]:
    """The payment of this reference, and whether it is new. The first order of a reference decides, for ever.

    Raises ReferenceReused for another order under a known reference, TooLate for a new one past its time.
    """
    known = find(session, order.reference)
    if known is not None:
        if _essence(known) != _essence(order):
            raise ReferenceReused(f"reference {order.reference} was used for another payment")
        return known, False
    if order.valid_until is not None and session.machine_now > order.valid_until:
        raise TooLate
    account = account_behind(session, order.account_token)
    if account is None:
        return record(session, order, None, refusal=NO_ACCOUNT), True
    taken = faults.take(session, Operation(order.direction), lambda _: account.account_id, faults.DECIDING)
    refusal = _decide(session, order, account, taken)
    if refusal is not None:
        return record(session, order, account.account_id, refusal=refusal), True
    payment = _carry_out(session, order, account, taken)
    if FaultKind.DUPLICATE in taken and _decide(session, order, account, {}) is None:
        _carry_out(session, order, account, taken, duplicate_of=payment.payment_id)
    return payment, True


def _decide(session: Session, order: Order, account: Account, taken: Taken) -> Refusal | None:
    if account.status is not AccountStatus.OPEN:
        return ACCOUNT_CLOSED if account.status is AccountStatus.CLOSED else ACCOUNT_FROZEN
    if account.currency != order.currency:
        return WRONG_CURRENCY
    if order.amount > LIMITS[order.rail]:
        return OVER_LIMIT
    if FaultKind.REFUSE in taken:
        return refusal_of(taken[FaultKind.REFUSE].code)
    source, _ = ends(session, order.direction, account.account_id, order.currency)
    if books.available(session, source) < order.amount:
        return INSUFFICIENT_FUNDS if order.direction is Direction.PULL else SETTLEMENT_EMPTY
    return None


def _carry_out(
    session: Session, order: Order, account: Account, taken: Taken, duplicate_of: str | None = None
) -> Payment:
    later = taken.get(FaultKind.SETTLE_LATER)
    batch = batch_for(session.now) if order.rail is Rail.ACH else None
    settles_at = batch.settles_at if batch else None
    if later is not None:
        settles_at = (settles_at or session.now) + _micros(later.seconds, SETTLE_LATER_SECONDS)
    corrects_at = None
    if duplicate_of is not None and taken[FaultKind.DUPLICATE].seconds is not None:
        corrects_at = (settles_at or session.now) + _micros(taken[FaultKind.DUPLICATE].seconds, 0)
    payment = record(
        session,
        order,
        account.account_id,
        batch=batch,
        settles_at=settles_at,
        duplicate_of=duplicate_of,
        corrects_at=corrects_at,
    )
    source, destination = ends(session, order.direction, account.account_id, order.currency)
    if settles_at is None:
        books.move(
            session,
            MovementKind.PAYMENT,
            payment.payment_id,
            source=source,
            destination=destination,
            amount=order.amount,
            booked_at=session.now,
        )
    else:
        books.reserve(session, source, order.amount)
    return payment


def cancel(session: Session, reference: str) -> Payment | None:
    """Take a payment back whose batch is still open: what is reserved for it is free again. Else it stays as it is."""
    payment = find(session, reference)
    if payment is None or payment.state is not State.ACCEPTED or session.now >= (payment.cancellable_until or 0):
        return payment
    assert payment.account_id is not None
    source, _ = ends(session, payment.direction, payment.account_id, payment.currency)
    books.reserve(session, source, -payment.amount)
    session.connection.execute("UPDATE payments SET state = 'cancelled' WHERE payment_id = ?", (payment.payment_id,))
    return find(session, reference)


def _essence(asked: Order | Payment) -> tuple[str, str, int, str, str, str | None]:
    return asked.direction, asked.account_token, asked.amount, asked.currency, asked.rail, asked.memo


def _micros(seconds: float | None, default: float) -> int:
    return round((default if seconds is None else seconds) * 1_000_000)
