"""The simulated bank's answers as they arrive, checked field by field before they become values of the port."""

from datetime import datetime
from typing import TypeVar

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from bank_adapters.linking import MicroDeposits
from bank_adapters.notices import BankNotice
from bank_adapters.port import (
    BankPayment,
    BankReturn,
    Direction,
    LineKind,
    LinkedAccount,
    LinkToken,
    PaymentState,
    StatementLine,
)
from domain.errors import BankUnknown, SagapayError
from domain.money import Money
from domain.rails import Rail


class _Answer(BaseModel):
    # Fields the bank adds later are no reason to fail; a field of another type is.
    model_config = ConfigDict(extra="ignore", frozen=True)


Answer = TypeVar("Answer", bound=_Answer)


class LinkTokenAnswer(_Answer):
    """Answer to POST /v1/link-tokens."""

    link_token: str = Field(min_length=1)
    expires_at: datetime

    def value(self) -> LinkToken:
        """As the port says it."""
        return LinkToken(link_token=self.link_token, expires_at=self.expires_at)


class ExchangeAnswer(_Answer):
    """Answer to POST /v1/exchanges."""

    account_token: str = Field(min_length=1)
    mask: str
    holder_name: str
    currency: str
    user_reference: str

    def value(self) -> LinkedAccount:
        """As the port says it."""
        return LinkedAccount(**self.model_dump())


class ReturnAnswer(_Answer):
    """What a payment says of its return."""

    return_id: str = Field(min_length=1)
    code: str = Field(min_length=1)
    detail: str
    amount: int = Field(strict=True)
    returned_at: datetime

    def value(self, currency: str, settled_at: datetime | None) -> BankReturn:
        """As the port says it. Raises InvalidMoney for an amount that is none."""
        return BankReturn(
            reference=self.return_id,
            code=self.code,
            detail=self.detail,
            amount=Money(self.amount, currency),
            returned_at=self.returned_at,
            settled_at=settled_at,
        )


class MicroDepositsAnswer(_Answer):
    """Answer to POST /v1/micro-deposits."""

    account_token: str = Field(min_length=1)
    mask: str
    amounts: tuple[int, int] = Field(strict=True)
    currency: str

    def value(self) -> MicroDeposits:
        """As linking says it. Raises InvalidMoney for an amount that is none."""
        first, second = self.amounts
        return MicroDeposits(
            account_token=self.account_token,
            mask=self.mask,
            amounts=(Money(first, self.currency), Money(second, self.currency)),
        )


class NoticeData(_Answer):
    """What a notice is about."""

    reference: str | None = Field(default=None, max_length=128)


class NoticeBody(_Answer):
    """A notice that the bank sends by itself. Types that it adds later are no reason to refuse it."""

    type: str = Field(min_length=1, max_length=100)
    timestamp: AwareDatetime
    data: NoticeData

    def value(self, event_id: str) -> BankNotice:
        """As `bank_adapters.notices` says it."""
        return BankNotice(event_id=event_id, type=self.type, reference=self.data.reference, occurred_at=self.timestamp)


class PaymentAnswer(_Answer):
    """Answer to a pull, a push, a look-up or a cancellation."""

    reference: str
    payment_id: str = Field(min_length=1)
    direction: Direction
    amount: int = Field(strict=True)
    currency: str
    rail: Rail
    state: PaymentState
    refusal_code: str | None = None
    refusal_detail: str | None = None
    retryable: bool = False
    rail_only: bool = False
    cancellable_until: datetime | None = None
    settled_at: datetime | None = None
    returned: ReturnAnswer | None = None

    def value(self) -> BankPayment:
        """As the port says it. Raises InvalidMoney for an amount that is none, BankUnknown for half a return."""
        return BankPayment(
            reference=self.reference,
            bank_payment_id=self.payment_id,
            direction=self.direction,
            amount=Money(self.amount, self.currency),
            state=self.state,
            rail=self.rail,
            refusal_code=self.refusal_code,
            refusal_detail=self.refusal_detail,
            retryable=self.retryable,
            rail_only=self.rail_only,
            cancellable_until=self.cancellable_until,
            settled_at=self.settled_at,
            returned=self._returned(),
        )

    def _returned(self) -> BankReturn | None:
        if self.state is not PaymentState.RETURNED:
            return None
        if self.returned is None:
            raise BankUnknown(f"the bank says that {self.reference} was returned, but not how")
        return self.returned.value(self.currency, self.settled_at)


class LineAnswer(_Answer):
    """One line in the answer to GET /v1/statement."""

    line: int
    kind: LineKind
    reference: str
    payment_id: str
    amount: int = Field(strict=True)
    balance_after: int = Field(strict=True)
    currency: str
    booked_at: datetime
    return_id: str | None = None
    return_code: str | None = None
    return_detail: str | None = None
    settled_at: datetime | None = None

    def value(self) -> StatementLine:
        """As the port says it."""
        return StatementLine(
            line=self.line,
            kind=self.kind,
            reference=self.reference,
            bank_payment_id=self.payment_id,
            minor_units=self.amount,
            balance_after=self.balance_after,
            currency=self.currency,
            booked_at=self.booked_at,
            returned=self._returned(),
        )

    def _returned(self) -> BankReturn | None:
        if not self.return_id or not self.return_code:
            return None
        return BankReturn(
            reference=self.return_id,
            code=self.return_code,
            detail=self.return_detail or "",
            amount=Money(abs(self.amount), self.currency),
            returned_at=self.booked_at,
            settled_at=self.settled_at,
        )


class StatementAnswer(_Answer):
    """Answer to GET /v1/statement."""

    lines: list[LineAnswer]
    next_cursor: int | None


class ProblemAnswer(_Answer):
    """Any answer from 400 on."""

    code: str
    detail: str = ""


def read(model: type[Answer], response: httpx.Response) -> Answer:
    """The body as `model`. Raises BankUnknown: a bank that answers gibberish may have acted all the same."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise BankUnknown(f"the bank's answer ({response.status_code}) is not a {model.__name__}") from error


def read_payment(response: httpx.Response) -> BankPayment:
    """The body as a payment. Raises BankUnknown if it is none."""
    try:
        return read(PaymentAnswer, response).value()
    except SagapayError as error:
        raise BankUnknown(f"the bank's answer is not a payment: {error.detail}") from error


def problem(response: httpx.Response) -> ProblemAnswer:
    """What a 4xx says; an empty code where the answer is not the bank's own (a proxy's page)."""
    try:
        return ProblemAnswer.model_validate_json(response.content)
    except ValidationError:
        return ProblemAnswer(code="")
