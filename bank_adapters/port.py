"""The port: what Sagapay asks of a bank, and what a bank may answer.

A certain answer is a value, and so is a refusal. Only uncertainty and silence raise:

- `domain.errors.BankUnavailable`: the bank certainly did not get *this* request. It says nothing about an earlier
  request of the same reference: one that ended as BankUnknown stays unknown until the bank is asked.
- `domain.errors.BankUnknown`: the bank may or may not have done it, or its answer does not fit the question. Ask by
  reference before undoing anything.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domain.money import Money


class Direction(StrEnum):
    """Which way the money goes, seen from the user's account at the bank."""

    PULL = "pull"
    PUSH = "push"


class PaymentState(StrEnum):
    """How far the bank is. An accepted payment settles later; a settled one may come back; the others are final."""

    ACCEPTED = "accepted"
    SETTLED = "settled"
    REFUSED = "refused"
    RETURNED = "returned"


class LineKind(StrEnum):
    """What a line of the bank's statement is for."""

    PAYMENT = "payment"
    CORRECTION = "correction"
    RETURN = "return"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a bank can do.

    `rails` are the names under which our clearing accounts know its ways of moving money. After a request that ended
    as BankUnknown, its reference may still turn up for `visibility_window_seconds`; NotSeen after that is for ever.
    `settles_at_once` says that an accepted payment is the exception.
    """

    rails: tuple[str, ...]
    currencies: tuple[str, ...]
    visibility_window_seconds: float
    settles_at_once: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkToken:
    """With it the user goes to the bank and says yes to linking, which yields a public token."""

    link_token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedAccount:
    """A user's account at the bank. `account_token` is a secret; `mask` is what may be shown.

    `user_reference` is the one the link token was made for: a public token of somebody else's link shows here.
    """

    account_token: str
    mask: str
    holder_name: str
    currency: str
    user_reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentInstruction:
    """Move `amount` from (pull) or to (push) the account behind `account_token`.

    The bank is idempotent by `reference`, which is ours: `{transaction_id}:{step}`, 1 to 128 of A-Z a-z 0-9 _ . : -
    The request counts as sent at `not_after` at the latest: the visibility window ends that much later, even if this
    process slept in between. A bank that can be told so drops what comes later.
    """

    reference: str
    account_token: str
    amount: Money
    memo: str | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankReturn:
    """A settled payment has come back. `reference` is the bank's own, one for each return; `code` is the network's."""

    reference: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BankPayment:
    """A payment as the bank has it. The same reference gets the same payment, for ever, a refused one too.

    `retryable` tells of a refusal whether a new payment under a new reference may succeed later.
    """

    reference: str
    bank_payment_id: str
    direction: Direction
    amount: Money
    state: PaymentState
    refusal_code: str | None = None
    refusal_detail: str | None = None
    retryable: bool = False
    settled_at: datetime | None = None
    returned: BankReturn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSeen:
    """The bank does not have this reference now. Final only after the visibility window."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One line of the statement of our settlement account: signed minor units, positive where we received.

    `line` rises along the statement; what is booked later has a higher one. A line of kind RETURN says what came back
    in `returned`, and whose payment it was in `reference`.
    """

    line: int
    kind: LineKind
    reference: str
    bank_payment_id: str
    minor_units: int
    balance_after: int
    currency: str
    booked_at: datetime
    returned: BankReturn | None = None


class BankAdapter(Protocol):
    """One bank. An instance belongs to one event loop and is safe for any number of calls at once."""

    @property
    def name(self) -> str:
        """The bank's name in the registry, in bank links and in task queues."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this bank can do."""
        ...

    async def create_link_token(self, user_reference: str) -> LinkToken:
        """Begin to link an account of the user we call `user_reference`. Raises BankUnavailable or BankUnknown."""
        ...

    async def exchange_public_token(self, public_token: str) -> LinkedAccount:
        """Finish linking; repeatable while the public token lives. Raises BankRefusedLink and the two above."""
        ...

    async def pull(self, instruction: PaymentInstruction) -> BankPayment:
        """Take money from the user's account into our settlement account. Raises BankUnavailable or BankUnknown."""
        ...

    async def push(self, instruction: PaymentInstruction) -> BankPayment:
        """Pay from our settlement account into the user's. Raises BankUnavailable or BankUnknown."""
        ...

    async def look_up(self, reference: str) -> BankPayment | NotSeen:
        """What the bank knows of a reference. Raises BankUnavailable or BankUnknown."""
        ...

    def statement(self, currency: str, *, since: datetime, until: datetime) -> AsyncIterator[StatementLine]:
        """The lines booked in [since, until), oldest first. Raises BankUnavailable or BankUnknown."""
        ...

    async def aclose(self) -> None:
        """Give back the connections."""
        ...
