"""The port: what Sagapay asks of a bank, and what a bank may answer.

A payment's outcome is one of five: accepted, settled, refused (with a code, and whether another try may succeed),
unknown; and a settled one may come back as returned. A certain answer is a value, and so is a refusal. Only uncertainty
and silence raise:

- `domain.errors.BankUnavailable`: the bank certainly did not get *this* request. It says nothing about an earlier
  request of the same reference: one that ended as BankUnknown stays unknown until the bank is asked. Where the bank
  has said when to come back, the error carries it as `retry_after_seconds`.
- `domain.errors.BankUnknown`: the bank may or may not have done it, or its answer does not fit the question. Ask by
  reference before undoing anything.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domain.money import Money
from domain.rails import Rail


class Direction(StrEnum):
    """Which way the money goes, seen from the user's account at the bank."""

    PULL = "pull"
    PUSH = "push"


class PaymentState(StrEnum):
    """How far the bank is. An accepted payment settles later; refused, cancelled and returned are final.

    A settled payment is final too on a rail without returns.
    """

    ACCEPTED = "accepted"
    SETTLED = "settled"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    RETURNED = "returned"


class LineKind(StrEnum):
    """What a line of the bank's statement is for."""

    PAYMENT = "payment"
    CORRECTION = "correction"
    RETURN = "return"


@dataclass(frozen=True, slots=True, kw_only=True)
class RailCapabilities:
    """What one rail of a bank can do.

    A payment of more than `most_minor_units` is refused. It settles `settles_within_seconds` after it was accepted, or
    `settles_within_banking_days` later. What has settled comes back at the latest `returns_within_banking_days` or
    `returns_within_calendar_days` later, depending on the reason; with 0 of both, never. A `cancellable` payment can
    be taken back while it waits for its batch.
    """

    rail: Rail
    most_minor_units: int
    cancellable: bool = False
    settles_within_seconds: float = 0
    settles_within_banking_days: int = 0
    returns_within_banking_days: int = 0
    returns_within_calendar_days: int = 0

    @property
    def final(self) -> bool:
        """Whether what has settled stays."""
        return not (self.returns_within_banking_days or self.returns_within_calendar_days)

    def carries(self, amount: Money) -> bool:
        """Whether the amount is within the rail's limit."""
        return amount.minor_units <= self.most_minor_units


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a bank can do.

    `rails` are its ways of moving money, the preferred one first. After a request that ended as BankUnknown, its
    reference may still turn up for `visibility_window_seconds`; NotSeen after that is for ever. The bank takes
    `calls_per_second` of all our workers together.
    """

    rails: tuple[RailCapabilities, ...]
    currencies: tuple[str, ...]
    visibility_window_seconds: float
    calls_per_second: float

    def of(self, rail: Rail) -> RailCapabilities | None:
        """What this rail can do, None where the bank does not have it."""
        return next((capabilities for capabilities in self.rails if capabilities.rail is rail), None)


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

    The bank is idempotent by `reference`, which is ours, 1 to 128 of A-Z a-z 0-9 _ . : - It names one payment on one
    rail: another rail wants another reference.
    The request counts as sent at `not_after` at the latest: the visibility window ends that much later, even if this
    process slept in between. A bank that can be told so drops what comes later.
    """

    reference: str
    account_token: str
    amount: Money
    rail: Rail = Rail.INSTANT
    memo: str | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankReturn:
    """A settled payment has come back. `reference` is the bank's own, one for each return; `code` is the network's.

    `amount` should be the payment's. A bank that errs may say otherwise, and money has then moved all the same.
    `settled_at` is when the payment had settled by the bank's books, where it says so: returns are due from then on.
    """

    reference: str
    code: str
    detail: str
    amount: Money
    returned_at: datetime
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankPayment:
    """A payment as the bank has it. The same reference gets the same payment, for ever, a refused one too.

    `retryable` tells of a refusal whether a new payment under a new reference may succeed later, `rail_only` whether
    the rail refused it and nothing else, so that another rail may carry it. An accepted payment can be cancelled
    before `cancellable_until`, if the rail lets it. Of a payment returned twice, `returned` is the first return.
    """

    reference: str
    bank_payment_id: str
    direction: Direction
    amount: Money
    state: PaymentState
    rail: Rail = Rail.INSTANT
    refusal_code: str | None = None
    refusal_detail: str | None = None
    retryable: bool = False
    rail_only: bool = False
    cancellable_until: datetime | None = None
    settled_at: datetime | None = None
    returned: BankReturn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSeen:
    """The bank does not have this reference now. Final only after the visibility window."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One line of the statement of our settlement account: signed minor units, positive where we received.

    `line` rises along the statement; what is booked later has a higher one. `reference` is that of the payment. A line
    of kind RETURN says in `returned` what came back; its `reference` may be one that we never gave.
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

    async def cancel(self, reference: str) -> BankPayment | NotSeen:
        """Take a payment back if it can still be: CANCELLED then, else the payment as it is.

        NotSeen forbids nothing: the reference may turn up later. Raises BankUnavailable or BankUnknown.
        """
        ...

    def statement(
        self, currency: str | None, *, since: datetime, until: datetime | None = None
    ) -> AsyncIterator[StatementLine]:
        """The lines booked in [since, until), or all from `since` on; oldest first.

        None is every currency in which we have an account there. Raises BankUnavailable or BankUnknown.
        """
        ...

    async def aclose(self) -> None:
        """Give back the connections."""
        ...
