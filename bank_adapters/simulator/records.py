"""Payments as the books keep them: one per reference, and a second one where the bank was told to pay twice."""

import secrets
import sqlite3
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from bank_adapters.simulator import books
from bank_adapters.simulator.books import AccountKind
from bank_adapters.simulator.database import Session
from bank_adapters.simulator.rails import Batch, Rail
from bank_adapters.simulator.refusals import Refusal


class Direction(StrEnum):
    """Which way the money goes, seen from the customer's account."""

    PULL = "pull"
    PUSH = "push"


class State(StrEnum):
    """An accepted payment has its money reserved and settles later. A settled one may be returned later still."""

    ACCEPTED = "accepted"
    SETTLED = "settled"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for. `valid_until`: do not start later, by the machine's time (microseconds since 1970)."""

    reference: str
    direction: Direction
    account_token: str
    amount: int
    currency: str
    rail: Rail = Rail.INSTANT
    memo: str | None = None
    valid_until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What came back: the bank's own id of it, and the payment's reference. `returned_at` in microseconds since 1970.

    `payment_id` is None where the bank was never given such a payment.
    """

    return_id: str
    payment_id: str | None
    reference: str
    direction: Direction
    code: str
    detail: str
    amount: int
    currency: str
    returned_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What the bank has made of an order. Times are microseconds since 1970."""

    payment_id: str
    reference: str
    direction: Direction
    account_token: str
    account_id: str | None
    amount: int
    currency: str
    memo: str | None
    rail: Rail
    batch: str | None
    state: State
    refusal_code: str | None
    refusal_detail: str | None
    retryable: bool
    rail_only: bool
    received_at: int
    cancellable_until: int | None
    settles_at: int | None
    settled_at: int | None
    duplicate_of: str | None
    corrects_at: int | None
    corrected_at: int | None
    returned: Return | None = None


def record(
    session: Session,
    order: Order,
    account_id: str | None,
    *,
    refusal: Refusal | None = None,
    batch: Batch | None = None,
    settles_at: int | None = None,
    duplicate_of: str | None = None,
    corrects_at: int | None = None,
) -> Payment:
    """Write down a new payment: refused, or accepted until `settles_at`, or settled now."""
    if refusal is not None:
        state, settled_at = State.REFUSED, None
    elif settles_at is not None:
        state, settled_at = State.ACCEPTED, None
    else:
        state, settled_at = State.SETTLED, session.now
    payment = Payment(
        payment_id=f"bp_{secrets.token_hex(12)}",
        reference=order.reference,
        direction=order.direction,
        account_token=order.account_token,
        account_id=account_id,
        amount=order.amount,
        currency=order.currency,
        memo=order.memo,
        rail=order.rail,
        batch=batch.name if batch else None,
        state=state,
        refusal_code=refusal.code if refusal else None,
        refusal_detail=refusal.detail if refusal else None,
        retryable=refusal.retryable if refusal else False,
        rail_only=refusal.rail_only if refusal else False,
        received_at=session.now,
        cancellable_until=batch.closes_at if batch else None,
        settles_at=settles_at,
        settled_at=settled_at,
        duplicate_of=duplicate_of,
        corrects_at=corrects_at,
        corrected_at=None,
    )
    session.connection.execute(
        """
        INSERT INTO payments (payment_id, reference, direction, account_token, account_id, amount, currency, memo,
                              rail, batch, state, refusal_code, refusal_detail, retryable, rail_only, received_at,
                              cancellable_until, settles_at, settled_at, duplicate_of, corrects_at, corrected_at)
        VALUES (:payment_id, :reference, :direction, :account_token, :account_id, :amount, :currency, :memo,
                :rail, :batch, :state, :refusal_code, :refusal_detail, :retryable, :rail_only, :received_at,
                :cancellable_until, :settles_at, :settled_at, :duplicate_of, :corrects_at, :corrected_at)
        """,
        asdict(payment),
    )
    return payment


def find(session: Session, reference: str) -> Payment | None:
    """The payment of a reference; of one made twice, the first."""
    row = session.connection.execute(
        "SELECT * FROM payments WHERE reference = ? AND duplicate_of IS NULL", (reference,)
    ).fetchone()
    if row is None:
        return None
    payment = payment_of(row)
    return replace(payment, returned=_first_return(session, payment)) if payment.state is State.RETURNED else payment


def _first_return(session: Session, payment: Payment) -> Return:
    row = session.connection.execute(
        "SELECT * FROM returns WHERE payment_id = ? ORDER BY rowid LIMIT 1", (payment.payment_id,)
    ).fetchone()
    return Return(**{**dict(row), "direction": Direction(row["direction"])})


def payment_of(row: sqlite3.Row) -> Payment:
    """A row of `payments` as a Payment."""
    return Payment(
        **{
            **dict(row),
            "direction": Direction(row["direction"]),
            "rail": Rail(row["rail"]),
            "state": State(row["state"]),
            "retryable": bool(row["retryable"]),
            "rail_only": bool(row["rail_only"]),
        }
    )


def ends(session: Session, direction: Direction, account_id: str, currency: str) -> tuple[str, str]:
    """From which account to which the money goes: the customer's and Sagapay's, or the other way round."""
    ours = books.house_account(session, AccountKind.SETTLEMENT, currency)
    return (account_id, ours) if direction is Direction.PULL else (ours, account_id)


def counts(session: Session) -> dict[State, int]:
    """How many payments, duplicates included, are in each state."""
    rows = session.connection.execute("SELECT state, count(*) AS payments FROM payments GROUP BY state")
    return {State(row["state"]): row["payments"] for row in rows}
