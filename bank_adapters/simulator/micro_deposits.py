"""Micro-deposits: two small amounts to an account that is known by its number, taken back in the same moment.

All three payments are on both statements; together they are zero, whatever either account holds.
"""

import secrets
from dataclasses import dataclass
from typing import Final

from bank_adapters.simulator import books
from bank_adapters.simulator.books import Account, AccountKind, AccountStatus
from bank_adapters.simulator.database import Session
from bank_adapters.simulator.problems import AccountUnknown
from bank_adapters.simulator.records import Direction, Order, find, record

MOST: Final = 99
"""Minor units of the larger amount, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The amounts (minor units), and the token that opens the account they went to."""

    account_token: str
    mask: str
    amounts: tuple[int, int]
    currency: str


def send(session: Session, reference: str, user_reference: str, routing_number: str, account_number: str) -> Sent:
    """Send them once: the same for whoever asks again. Raises AccountUnknown."""
    account = _by_number(session, routing_number, account_number)
    first, second = find(session, f"{reference}:1"), find(session, f"{reference}:2")
    if first is None or second is None:
        token = _new_token(session, reference, user_reference, account)
        amounts = _two_amounts()
        _send(session, reference, token, account, amounts)
    else:
        token, amounts = first.account_token, (first.amount, second.amount)
    return Sent(account_token=token, mask=account.mask, amounts=amounts, currency=account.currency)


def _by_number(session: Session, routing_number: str, account_number: str) -> Account:
    rows = session.connection.execute(
        "SELECT * FROM accounts WHERE kind = 'customer' AND mask = ?", (account_number[-4:],)
    )
    for account in map(books.account_of, rows):
        wanted = (account.routing_number, account.account_number, AccountStatus.OPEN)
        if wanted == (routing_number, account_number, account.status):
            return account
    raise AccountUnknown


def _new_token(session: Session, reference: str, user_reference: str, account: Account) -> str:
    token = f"at_{secrets.token_hex(16)}"
    session.connection.execute(
        "INSERT INTO links (link_token, user_reference, expires_at, account_id, account_token) VALUES (?, ?, ?, ?, ?)",
        (f"micro_{reference}", user_reference, session.now, account.account_id, token),
    )
    return token


def _two_amounts() -> tuple[int, int]:
    first = 1 + secrets.randbelow(MOST)
    second = 1 + secrets.randbelow(MOST - 1)
    return first, second + (second >= first)


def _send(session: Session, reference: str, token: str, account: Account, amounts: tuple[int, int]) -> None:
    ours = books.house_account(session, AccountKind.SETTLEMENT, account.currency)
    parts = ((Direction.PUSH, "1", amounts[0]), (Direction.PUSH, "2", amounts[1]), (Direction.PULL, "3", sum(amounts)))
    theirs, our_own = [], []
    for direction, number, amount in parts:
        order = Order(
            reference=f"{reference}:{number}",
            direction=direction,
            account_token=token,
            amount=amount,
            currency=account.currency,
            memo="micro-deposit",
        )
        payment = record(session, order, account.account_id)
        movement = secrets.token_hex(8)
        change = amount if direction is Direction.PUSH else -amount
        theirs.append((movement, payment.payment_id, account.account_id, change))
        our_own.append((movement, payment.payment_id, ours, -change))
    # Each account receives before it gives, so that neither has to hold anything.
    for movement, payment_id, account_id, change in (*theirs, *reversed(our_own)):
        books.enter(session, movement, payment_id, account_id, change)
