"""Settled payments that come back: the network returns them with a code, and the money goes the other way."""

import secrets
from dataclasses import asdict
from types import MappingProxyType
from typing import Final

from bank_adapters.simulator import books
from bank_adapters.simulator.books import MovementKind
from bank_adapters.simulator.database import Session
from bank_adapters.simulator.problems import CannotReturn, PaymentNotSeen
from bank_adapters.simulator.records import Payment, Return, State, ends, find

# Nacha Operating Rules, return reason codes.
MEANINGS: Final = MappingProxyType(
    {
        "R01": "Insufficient funds",
        "R02": "Account closed",
        "R03": "No account",
        "R04": "Invalid account number",
        "R05": "Unauthorised debit with a corporate code",
        "R07": "Authorisation revoked",
        "R08": "Payment stopped",
        "R09": "Uncollected funds",
        "R10": "Not known or not authorised",
        "R11": "Not according to the terms of the authorisation",
        "R13": "Invalid routing number",
        "R14": "Payee deceased",
        "R15": "Beneficiary deceased",
        "R16": "Account frozen",
        "R20": "Not a transaction account",
        "R23": "Credit refused by the receiver",
        "R29": "Corporate customer: not authorised",
    }
)


def give_back(session: Session, reference: str, code: str, amount: int | None) -> Return:
    """Return a settled payment: whole, or another amount, or once more, where somebody makes a mistake.

    Raises PaymentNotSeen, and CannotReturn for one that has not settled or whose money is not there.
    """
    payment = find(session, reference)
    if payment is None:
        raise PaymentNotSeen
    if payment.state not in (State.SETTLED, State.RETURNED):
        raise CannotReturn(f"{reference} is {payment.state}, not settled")
    made = Return(
        return_id=f"ret_{secrets.token_hex(12)}",
        payment_id=payment.payment_id,
        code=code,
        detail=MEANINGS.get(code, "Returned"),
        amount=payment.amount if amount is None else amount,
        returned_at=session.now,
    )
    session.connection.execute(
        "INSERT INTO returns VALUES (:return_id, :payment_id, :code, :detail, :amount, :returned_at)", asdict(made)
    )
    _move_back(session, payment, made)
    session.connection.execute("UPDATE payments SET state = 'returned' WHERE payment_id = ?", (payment.payment_id,))
    return made


def _move_back(session: Session, payment: Payment, made: Return) -> None:
    assert payment.account_id is not None
    destination, source = ends(session, payment.direction, payment.account_id, payment.currency)
    if books.available(session, source) < made.amount:
        raise CannotReturn("the money is not there to be given back")
    books.move(
        session,
        MovementKind.RETURN,
        payment.payment_id,
        source=source,
        destination=destination,
        amount=made.amount,
        booked_at=made.returned_at,
        return_id=made.return_id,
    )
