"""Linking: a link token (the app's) → the user says yes → a public token → an account token (the platform's)."""

import secrets
from dataclasses import dataclass
from typing import Final

from bank_adapters.simulator.books import Account, account_of, find_account
from bank_adapters.simulator.database import Session
from bank_adapters.simulator.problems import AccountUnknown, LinkExpired, LinkUnknown

LINK_LIFETIME_MICROS: Final = 30 * 60 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A finished link: the account, and the secret by which the platform may move its money."""

    account_token: str
    user_reference: str
    account: Account


def begin(session: Session, user_reference: str) -> tuple[str, int]:
    """A link token and when it expires."""
    link_token, expires_at = f"link_{secrets.token_hex(16)}", session.now + LINK_LIFETIME_MICROS
    session.connection.execute(
        "INSERT INTO links (link_token, user_reference, expires_at) VALUES (?, ?, ?)",
        (link_token, user_reference, expires_at),
    )
    return link_token, expires_at


def approve(session: Session, link_token: str, account: Account) -> str:
    """The user agrees that `account` be linked: the public token. A link is approved once.

    Raises LinkUnknown, LinkExpired.
    """
    public_token = f"public_{secrets.token_hex(16)}"
    row = session.connection.execute(
        "UPDATE links SET public_token = ?, account_id = ? WHERE link_token = ? AND public_token IS NULL"
        " RETURNING expires_at",
        (public_token, account.account_id, link_token),
    ).fetchone()
    if row is None:
        raise LinkUnknown
    if row["expires_at"] < session.now:
        raise LinkExpired
    return public_token


def exchange(session: Session, public_token: str) -> Link:
    """The account token of a public token, the same each time: who lost the answer may ask again.

    Raises LinkUnknown, LinkExpired.
    """
    row = session.connection.execute("SELECT * FROM links WHERE public_token = ?", (public_token,)).fetchone()
    if row is None:
        raise LinkUnknown
    if row["expires_at"] < session.now:
        raise LinkExpired
    account_token = row["account_token"]
    if account_token is None:
        account_token = f"at_{secrets.token_hex(16)}"
        session.connection.execute(
            "UPDATE links SET account_token = ? WHERE public_token = ?", (account_token, public_token)
        )
    account = find_account(session, row["account_id"])
    if account is None:
        raise AccountUnknown
    return Link(account_token=account_token, user_reference=row["user_reference"], account=account)


def account_behind(session: Session, account_token: str) -> Account | None:
    """The account that a token opens, if it opens one."""
    row = session.connection.execute(
        "SELECT accounts.* FROM accounts JOIN links USING (account_id) WHERE account_token = ?", (account_token,)
    ).fetchone()
    return None if row is None else account_of(row)
