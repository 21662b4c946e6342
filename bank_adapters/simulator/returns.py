"""Settled payments that come back: the network returns them with a code, and the money goes the other way.

It happens when a test orders it, also in ways in which no bank should return.
"""

import secrets
from dataclasses import asdict, dataclass

from bank_adapters.simulator import books
from bank_adapters.simulator.books import AccountKind, MovementKind
from bank_adapters.simulator.database import Session
from bank_adapters.simulator.problems import CannotReturn, PaymentNotSeen
from bank_adapters.simulator.records import Direction, Payment, Return, State, ends, find
from domain.returns import return_code


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnOrder:
    """Return a payment with a code: the whole of it unless `amount` says otherwise.

    With `invented`, the reference may be one that the bank was never given: then nobody's money is taken back (as if
    from a pull) or brought back (as if from a push).
    """

    reference: str
    code: str
    amount: int | None = None
    currency: str = "USD"
    invented: Direction | None = None


def give_back(session: Session, order: ReturnOrder) -> Return:
    """Move the money back, each time it is asked; from Sagapay even what is no longer there.

    Raises PaymentNotSeen, and CannotReturn for one that has not settled.
    """
    payment = find(session, order.reference)
    if payment is None:
        return _invent(session, order)
    if payment.state not in (State.SETTLED, State.RETURNED):
        raise CannotReturn(f"{order.reference} is {payment.state}, not settled")
    assert payment.account_id is not None
    made = _record(session, order, payment)
    _move_back(session, made, payment.account_id)
    session.connection.execute("UPDATE payments SET state = 'returned' WHERE payment_id = ?", (payment.payment_id,))
    return made


def _invent(session: Session, order: ReturnOrder) -> Return:
    if order.invented is None or order.amount is None:
        raise PaymentNotSeen
    made = _record(session, order, None)
    _move_back(session, made, books.house_account(session, AccountKind.VAULT, order.currency))
    return made


def _record(session: Session, order: ReturnOrder, payment: Payment | None) -> Return:
    direction = payment.direction if payment else order.invented
    amount = order.amount or (payment.amount if payment else 0)
    assert direction is not None
    made = Return(
        return_id=f"ret_{secrets.token_hex(12)}",
        payment_id=payment.payment_id if payment else None,
        reference=order.reference,
        direction=direction,
        code=order.code,
        detail=return_code(order.code).meaning,
        amount=amount,
        currency=payment.currency if payment else order.currency,
        returned_at=session.now,
    )
    session.connection.execute(
        "INSERT INTO returns (return_id, payment_id, reference, direction, code, detail, amount, currency, returned_at)"
        " VALUES (:return_id, :payment_id, :reference, :direction, :code, :detail, :amount, :currency, :returned_at)",
        asdict(made),
    )
    return made


def _move_back(session: Session, made: Return, account_id: str) -> None:
    destination, source = ends(session, made.direction, account_id, made.currency)
    books.move(
        session,
        MovementKind.RETURN,
        made.payment_id,
        source=source,
        destination=destination,
        amount=made.amount,
        booked_at=made.returned_at,
        return_id=made.return_id,
    )
