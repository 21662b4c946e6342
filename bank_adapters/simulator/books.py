"""The bank's double-entry book: accounts, movements between two of them, and money reserved for a later movement.

Balances are what the bank owes the account's holder. Customers' money comes from the bank's vault, whose balance is
negative by just as much, so that all balances of a currency sum to zero, always.
"""

import secrets
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bank_adapters.simulator.database import Session

ROUTING_NUMBER: Final = "021000021"


class AccountKind(StrEnum):
    """Whose account it is: a customer's, Sagapay's, or the bank's own."""

    CUSTOMER = "customer"
    SETTLEMENT = "settlement"
    VAULT = "vault"


class AccountStatus(StrEnum):
    """Payments from or to an account that is not open are refused."""

    OPEN = "open"
    FROZEN = "frozen"
    CLOSED = "closed"


class MovementKind(StrEnum):
    """Why money moved: an account's opening balance, a payment, the undoing of a duplicate, a payment coming back."""

    OPENING = "opening"
    PAYMENT = "payment"
    CORRECTION = "correction"
    RETURN = "return"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account at this bank, in minor units of its one currency. `held` is reserved for accepted payments."""

    account_id: str
    kind: AccountKind
    holder_name: str
    mask: str
    currency: str
    status: AccountStatus
    balance: int
    held: int

    @property
    def routing_number(self) -> str:
        """Where this bank is reached."""
        return ROUTING_NUMBER

    @property
    def account_number(self) -> str:
        """Twelve digits that end in the mask, the same for ever."""
        return f"{int(self.account_id.removeprefix('acct_'), 16) % 10**8:08d}{self.mask}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All balances of one currency. `balance_sum` and `entry_sum` are 0 unless the bank has miscounted.

    `duplicated` is how much of the settlement balance comes from payments made twice and not corrected.
    """

    currency: str
    settlement_balance: int
    settlement_held: int
    customers_balance: int
    vault_balance: int
    balance_sum: int
    entry_sum: int
    duplicated: int


def open_customer(session: Session, holder_name: str, opening_balance: int, currency: str) -> Account:
    """A new customer's account with `opening_balance` from the vault."""
    account = _insert(session, AccountKind.CUSTOMER, holder_name, currency)
    if opening_balance:
        vault = house_account(session, AccountKind.VAULT, currency)
        move(
            session,
            MovementKind.OPENING,
            None,
            source=vault,
            destination=account.account_id,
            amount=opening_balance,
            booked_at=session.now,
        )
    return account


def house_account(session: Session, kind: AccountKind, currency: str) -> str:
    """The id of Sagapay's settlement account or of the bank's vault in a currency; opened at its first use."""
    row = session.connection.execute(
        "SELECT account_id FROM accounts WHERE kind = ? AND currency = ? AND kind <> 'customer'", (kind, currency)
    ).fetchone()
    if row is not None:
        return str(row["account_id"])
    name = "Sagapay" if kind is AccountKind.SETTLEMENT else "The bank"
    return _insert(session, kind, name, currency).account_id


def find_account(session: Session, account_id: str) -> Account | None:
    """The account, if there is one."""
    row = session.connection.execute("SELECT * FROM accounts WHERE account_id = ?", (account_id,)).fetchone()
    return None if row is None else account_of(row)


def available(session: Session, account_id: str) -> int:
    """What can be moved out of an account now."""
    row = session.connection.execute(
        "SELECT balance - held AS available FROM accounts WHERE account_id = ?", (account_id,)
    ).fetchone()
    return int(row["available"])


def account_of(row: sqlite3.Row) -> Account:
    """A row of `accounts` as an Account."""
    return Account(
        account_id=row["account_id"],
        kind=AccountKind(row["kind"]),
        holder_name=row["holder_name"],
        mask=row["mask"],
        currency=row["currency"],
        status=AccountStatus(row["status"]),
        balance=row["balance"],
        held=row["held"],
    )


def customers(session: Session, after: str, limit: int) -> list[Account]:
    """Customers' accounts with an id above `after`, by id."""
    rows = session.connection.execute(
        "SELECT * FROM accounts WHERE kind = 'customer' AND account_id > ? ORDER BY account_id LIMIT ?", (after, limit)
    )
    return [account_of(row) for row in rows]


def set_status(session: Session, account_id: str, status: AccountStatus) -> Account | None:
    """Open, freeze or close an account; None if there is no such customer."""
    session.connection.execute(
        "UPDATE accounts SET status = ? WHERE account_id = ? AND kind = 'customer'", (status, account_id)
    )
    account = find_account(session, account_id)
    return account if account is not None and account.kind is AccountKind.CUSTOMER else None


def move(
    session: Session,
    kind: MovementKind,
    payment_id: str | None,
    *,
    source: str,
    destination: str,
    amount: int,
    booked_at: int,
    return_id: str | None = None,
) -> None:
    """Move `amount` between two accounts: two balances and two immutable entries.

    Raises sqlite3.IntegrityError where a customer has less than that available. What comes back is taken from Sagapay
    even where it is no longer there.
    """
    movement_id = secrets.token_hex(8)
    for account_id, change in ((source, -amount), (destination, amount)):
        (balance,) = session.connection.execute(
            "UPDATE accounts SET balance = balance + ? WHERE account_id = ? RETURNING balance", (change, account_id)
        ).fetchone()
        session.connection.execute(
            "INSERT INTO entries (movement_id, kind, payment_id, return_id, account_id, amount, balance_after,"
            " booked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (movement_id, kind, payment_id, return_id, account_id, change, balance, booked_at),
        )


def enter(session: Session, movement_id: str, payment_id: str, account_id: str, change: int) -> None:
    """One side of a payment's movement, now. Whoever enters one enters the other in the same transaction.

    Raises sqlite3.IntegrityError where the account has less than that available.
    """
    (balance,) = session.connection.execute(
        "UPDATE accounts SET balance = balance + ? WHERE account_id = ? RETURNING balance", (change, account_id)
    ).fetchone()
    session.connection.execute(
        "INSERT INTO entries (movement_id, kind, payment_id, account_id, amount, balance_after, booked_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (movement_id, MovementKind.PAYMENT, payment_id, account_id, change, balance, session.now),
    )


def reserve(session: Session, account_id: str, amount: int) -> None:
    """Reserve `amount` (negative: give it back). Raises sqlite3.IntegrityError beyond what is available."""
    session.connection.execute("UPDATE accounts SET held = held + ? WHERE account_id = ?", (amount, account_id))


def totals(session: Session) -> list[Totals]:
    """The totals of each currency, computed from accounts, entries and payments as they stand."""
    rows = session.connection.execute(
        """
        SELECT currency,
               sum(iif(kind = 'settlement', balance, 0)) AS settlement_balance,
               sum(iif(kind = 'settlement', held, 0))    AS settlement_held,
               sum(iif(kind = 'customer', balance, 0))   AS customers_balance,
               sum(iif(kind = 'vault', balance, 0))      AS vault_balance,
               sum(balance)                              AS balance_sum,
               (SELECT coalesce(sum(e.amount), 0) FROM entries e JOIN accounts a USING (account_id)
                 WHERE a.currency = accounts.currency)   AS entry_sum,
               (SELECT coalesce(sum(iif(p.direction = 'pull', p.amount, -p.amount)), 0) FROM payments p
                 WHERE p.currency = accounts.currency AND p.duplicate_of IS NOT NULL
                   AND p.state = 'settled' AND p.corrected_at IS NULL) AS duplicated
          FROM accounts GROUP BY currency ORDER BY currency
        """
    )
    return [Totals(**dict(row)) for row in rows]


def _insert(session: Session, kind: AccountKind, holder_name: str, currency: str) -> Account:
    account = Account(
        account_id=f"acct_{secrets.token_hex(12)}",
        kind=kind,
        holder_name=holder_name,
        mask=f"{secrets.randbelow(10_000):04d}",
        currency=currency,
        status=AccountStatus.OPEN,
        balance=0,
        held=0,
    )
    session.connection.execute(
        "INSERT INTO accounts (account_id, kind, holder_name, mask, currency, status) VALUES (?, ?, ?, ?, ?, ?)",
        (account.account_id, kind, holder_name, account.mask, currency, AccountStatus.OPEN),
    )
    return account
