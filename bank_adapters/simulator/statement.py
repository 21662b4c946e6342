"""The statement of Sagapay's settlement account: every entry on it, in order, with the balance after it."""

from dataclasses import dataclass

from bank_adapters.simulator.books import MovementKind
from bank_adapters.simulator.database import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry. `amount` is signed, positive where Sagapay received; `booked_at` in microseconds since 1970.

    A return has its own reference beside that of the payment, which may be one that the bank was never given, and says
    when the payment had settled.
    """

    line: int
    kind: MovementKind
    reference: str
    payment_id: str
    amount: int
    balance_after: int
    currency: str
    booked_at: int
    return_id: str | None
    return_code: str | None
    return_detail: str | None
    settled_at: int | None


def lines(
    session: Session, currency: str | None, *, since: int, booked_from: int, booked_until: int, limit: int
) -> list[Line]:
    """At most `limit` lines above line `since` that were booked in [booked_from, booked_until); None: any currency."""
    rows = session.connection.execute(
        """
        SELECT e.entry_id AS line, e.kind, coalesce(p.reference, r.reference) AS reference,
               coalesce(e.payment_id, e.return_id) AS payment_id, e.amount, e.balance_after, a.currency,
               e.booked_at, r.return_id, r.code AS return_code, r.detail AS return_detail,
               iif(e.kind = 'return', p.settled_at, NULL) AS settled_at
          FROM entries e JOIN accounts a USING (account_id) LEFT JOIN payments p USING (payment_id)
          LEFT JOIN returns r ON r.return_id = e.return_id
         WHERE a.kind = 'settlement' AND a.kind <> 'customer' AND a.currency = coalesce(:currency, a.currency)
           AND e.entry_id > :since AND e.booked_at >= :booked_from AND e.booked_at < :booked_until
         ORDER BY e.entry_id LIMIT :limit
        """,
        {
            "currency": currency,
            "since": since,
            "booked_from": booked_from,
            "booked_until": booked_until,
            "limit": limit,
        },
    )
    return [Line(**{**dict(row), "kind": MovementKind(row["kind"])}) for row in rows]
