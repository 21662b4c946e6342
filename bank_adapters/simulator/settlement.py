"""What happens by itself as time passes: accepted payments settle, and the bank undoes what it paid twice."""

from bank_adapters.simulator import books
from bank_adapters.simulator.books import MovementKind
from bank_adapters.simulator.database import Session
from bank_adapters.simulator.problems import PaymentNotSeen
from bank_adapters.simulator.records import Payment, ends, find, payment_of


def advance(session: Session) -> None:
    """Settle what is due, then undo the duplicates that the bank has noticed by now, each in the order of its time.

    It runs before anything else looks at the books, so that everybody sees them as if it had happened on time.
    """
    due = session.connection.execute(
        "SELECT * FROM payments WHERE state = 'accepted' AND settles_at <= ? ORDER BY settles_at, rowid", (session.now,)
    ).fetchall()
    for payment in map(payment_of, due):
        _settle(session, payment)
    noticed = session.connection.execute(
        "SELECT * FROM payments WHERE duplicate_of IS NOT NULL AND state = 'settled' AND corrected_at IS NULL"
        " AND corrects_at <= ? ORDER BY corrects_at, rowid",
        (session.now,),
    ).fetchall()
    for payment in map(payment_of, noticed):
        _undo(session, payment)


def correct(session: Session, reference: str) -> int:
    """Have the bank notice now that it made this payment twice. Returns how many payments it will undo.

    One that has not settled, or whose money is spent, is undone as soon as it can be. Raises PaymentNotSeen.
    """
    if find(session, reference) is None:
        raise PaymentNotSeen
    noticed = session.connection.execute(
        "UPDATE payments SET corrects_at = ? WHERE reference = ? AND duplicate_of IS NOT NULL AND corrected_at IS NULL",
        (session.now, reference),
    ).rowcount
    advance(session)
    return noticed


def settle_now(session: Session, reference: str) -> Payment:
    """Settle an accepted payment without waiting for its time. Raises PaymentNotSeen."""
    session.connection.execute(
        "UPDATE payments SET settles_at = ? WHERE reference = ? AND state = 'accepted'", (session.now, reference)
    )
    advance(session)
    payment = find(session, reference)
    if payment is None:
        raise PaymentNotSeen
    return payment


def _settle(session: Session, payment: Payment) -> None:
    assert payment.account_id is not None
    assert payment.settles_at is not None
    source, destination = ends(session, payment.direction, payment.account_id, payment.currency)
    books.reserve(session, source, -payment.amount)
    books.move(
        session,
        MovementKind.PAYMENT,
        payment.payment_id,
        source=source,
        destination=destination,
        amount=payment.amount,
        booked_at=payment.settles_at,
    )
    session.connection.execute(
        "UPDATE payments SET state = 'settled', settled_at = settles_at WHERE payment_id = ?", (payment.payment_id,)
    )


def _undo(session: Session, payment: Payment) -> None:
    assert payment.account_id is not None
    destination, source = ends(session, payment.direction, payment.account_id, payment.currency)
    if books.available(session, source) < payment.amount:
        return
    books.move(
        session,
        MovementKind.CORRECTION,
        payment.payment_id,
        source=source,
        destination=destination,
        amount=payment.amount,
        booked_at=session.now,
    )
    session.connection.execute(
        "UPDATE payments SET corrected_at = ? WHERE payment_id = ?", (session.now, payment.payment_id)
    )
