"""What goes over the wire: requests are strict, amounts are integers of minor units, times ISO 8601 in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bank_adapters.simulator.books import AccountStatus, MovementKind
from bank_adapters.simulator.faults import FaultKind, Operation
from bank_adapters.simulator.rails import Rail
from bank_adapters.simulator.records import Direction, State
from domain.money import CURRENCIES, MAX_MINOR_UNITS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("wants an ISO 4217 currency in use")
    return code


def _moment(micros: object) -> object:
    return _EPOCH + timedelta(microseconds=micros) if isinstance(micros, int) else micros


Reference = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_.:\-]{1,128}$", examples=["txn_01980000000070008000000000000abc:pull"]),
]
Token = Annotated[str, Field(min_length=1, max_length=128)]
Currency = Annotated[str, AfterValidator(_currency), Field(examples=["USD"])]
Amount = Annotated[int, Field(strict=True, ge=1, le=MAX_MINOR_UNITS, examples=[2500])]
Balance = Annotated[int, Field(strict=True, ge=0, le=MAX_MINOR_UNITS, examples=[100_000])]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment), Field(examples=["2026-03-02T15:04:05.678901Z"])]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class LinkTokenRequest(_Request):
    """Begin to link an account of one of the platform's users."""

    user_reference: Annotated[str, Field(min_length=1, max_length=128, examples=["usr_01980000"])]


class LinkTokenView(_View):
    """Where the user says yes: POST /v1/link-tokens/{link_token}/approve."""

    link_token: Annotated[str, Field(examples=["link_5f0c"])]
    expires_at: Moment


class ApproveRequest(_Request):
    """What the user does on the bank's pages: choose an account. A new one is opened unless `account_id` names one."""

    holder_name: Annotated[str, Field(min_length=1, max_length=200, examples=["Ada Lovelace"])] = "A customer"
    opening_balance: Balance = 0
    currency: Currency = "USD"
    account_id: Annotated[str, Field(examples=["acct_8c1d"])] | None = None


class ApprovalView(_View):
    """The user said yes."""

    public_token: Annotated[str, Field(examples=["public_77aa"])]
    account_id: Annotated[str, Field(examples=["acct_8c1d"])]
    mask: Annotated[str, Field(examples=["4242"])]


class ExchangeRequest(_Request):
    """Turn the public token into the account token that only the platform knows. Repeatable."""

    public_token: Token


class ExchangeView(_View):
    """A linked account."""

    account_token: Annotated[str, Field(examples=["at_91be"])]
    mask: Annotated[str, Field(examples=["4242"])]
    holder_name: Annotated[str, Field(examples=["Ada Lovelace"])]
    currency: Currency
    user_reference: Annotated[str, Field(examples=["usr_01980000"])]


class MicroDepositsRequest(_Request):
    """Send two small amounts to the account with this number, and take them back at once."""

    reference: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:\-]{1,120}$", examples=["micro:8c1d"])]
    user_reference: Annotated[str, Field(min_length=1, max_length=128, examples=["usr_01980000"])]
    routing_number: Annotated[str, Field(pattern="^[0-9]{9}$", examples=["021000021"])]
    account_number: Annotated[str, Field(pattern="^[0-9]{4,17}$", examples=["123456784242"], repr=False)]


class MicroDepositsView(_View):
    """What was sent, for the platform alone."""

    account_token: Annotated[str, Field(examples=["at_91be"])]
    mask: Annotated[str, Field(examples=["4242"])]
    amounts: tuple[Amount, Amount]
    currency: Currency


class PaymentRequest(_Request):
    """Move money between a linked account and Sagapay's settlement account."""

    reference: Reference
    account_token: Token
    amount: Amount
    currency: Currency
    rail: Rail = Rail.INSTANT
    memo: Annotated[str, Field(max_length=140)] | None = None


class ReturnRequest(_Request):
    """Return a settled payment: all of it unless `amount` says otherwise, again where it has come back already.

    Of a reference that the bank was never given, only where `invented` and `amount` say what to make up.
    """

    code: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,10}$", examples=["R10"])]
    amount: Amount | None = None
    currency: Currency = "USD"
    invented: Direction | None = None


class ReturnView(_View):
    """A return: the bank's own reference of it, and the payment's."""

    return_id: Annotated[str, Field(examples=["ret_77aa"])]
    reference: Reference
    code: Annotated[str, Field(examples=["R10"])]
    detail: Annotated[str, Field(examples=["Not known or not authorised"])]
    amount: Amount
    currency: Currency
    direction: Direction
    returned_at: Moment


class PaymentView(_View):
    """A payment as the bank has it."""

    reference: Reference
    payment_id: Annotated[str, Field(examples=["bp_3e3e"])]
    direction: Direction
    amount: Amount
    currency: Currency
    rail: Rail
    batch: Annotated[str, Field(examples=["ach-2026-03-02"])] | None
    state: State
    refusal_code: Annotated[str, Field(examples=["R01"])] | None
    refusal_detail: Annotated[str, Field(examples=["Insufficient funds"])] | None
    retryable: bool
    rail_only: Annotated[bool, Field(description="The rail refused it, another may carry it.")]
    received_at: Moment
    cancellable_until: Moment | None
    settles_at: Moment | None
    settled_at: Moment | None
    returned: ReturnView | None = None


class LineView(_View):
    """One line of the statement; `amount` is positive where Sagapay received."""

    line: Annotated[int, Field(examples=[17])]
    kind: MovementKind
    reference: Reference
    payment_id: Annotated[str, Field(examples=["bp_3e3e"])]
    amount: Annotated[int, Field(examples=[-2500])]
    balance_after: Annotated[int, Field(examples=[97_500])]
    currency: Currency
    booked_at: Moment
    return_id: Annotated[str, Field(examples=["ret_77aa"])] | None
    return_code: Annotated[str, Field(examples=["R10"])] | None
    return_detail: str | None
    settled_at: Moment | None


class StatementQuery(_Request):
    """Which part of the statement: lines above `since` that were booked in [booked_from, booked_until).

    Without `currency` those of all settlement accounts, each with the balance of its own.
    """

    currency: Currency | None = None
    since: Annotated[int, Field(ge=0, le=2**62)] = 0
    booked_from: AwareDatetime | None = None
    booked_until: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class StatementView(_View):
    """A page of the statement. `next_cursor` is the next page's `since`; null on the last."""

    lines: list[LineView]
    next_cursor: Annotated[int, Field(examples=[517])] | None


class AccountView(_View):
    """A customer's account. `held` is reserved for pulls that have not settled."""

    account_id: Annotated[str, Field(examples=["acct_8c1d"])]
    routing_number: Annotated[str, Field(examples=["021000021"])]
    account_number: Annotated[str, Field(examples=["123456784242"])]
    holder_name: Annotated[str, Field(examples=["Ada Lovelace"])]
    mask: Annotated[str, Field(examples=["4242"])]
    currency: Currency
    status: AccountStatus
    balance: Annotated[int, Field(examples=[97_500])]
    held: Annotated[int, Field(examples=[0])]


class AccountsView(_View):
    """A page of customers' accounts. `next_cursor` is the next page's `cursor`; null on the last."""

    accounts: list[AccountView]
    next_cursor: str | None


class StatusRequest(_Request):
    """Open, freeze or close an account."""

    status: AccountStatus


class TotalsView(_View):
    """One currency. The sums are 0 unless the bank has miscounted.

    `duplicated` is the part of `settlement_balance` that comes from payments made twice and not corrected yet.
    """

    currency: Currency
    settlement_balance: Annotated[int, Field(examples=[97_500])]
    settlement_held: Annotated[int, Field(examples=[0])]
    customers_balance: Annotated[int, Field(examples=[902_500])]
    vault_balance: Annotated[int, Field(examples=[-1_000_000])]
    balance_sum: Annotated[int, Field(examples=[0])]
    entry_sum: Annotated[int, Field(examples=[0])]
    duplicated: Annotated[int, Field(examples=[0])]


class BooksView(_View):
    """The bank's books in a few numbers."""

    balanced: bool
    totals: list[TotalsView]
    payments: dict[State, int]


class FaultRequest(_Request):
    """Misbehave, `times` times or (null) until removed, for one account or all."""

    kind: FaultKind
    operation: Operation = Operation.ANY
    account: Annotated[Token, Field(description="An account's id, or a token that opens it.")] | None = None
    times: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    code: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,10}$", examples=["R02"])] | None = None
    seconds: Annotated[float, Field(ge=0, le=86_400, examples=[3])] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.code is not None and self.kind is not FaultKind.REFUSE:
            raise ValueError("only a fault of kind refuse has a code")
        timed = {FaultKind.SLOW, FaultKind.SETTLE_LATER, FaultKind.DUPLICATE, FaultKind.WEBHOOK_LATE}
        if self.seconds is not None and self.kind not in timed:
            raise ValueError(f"only these kinds take seconds: {', '.join(sorted(timed))}")
        return self


class FaultView(_View):
    """A fault and how often it has struck; with 0 `times_left` it is spent."""

    fault_id: Annotated[int, Field(examples=[3])]
    kind: FaultKind
    operation: Operation
    account_id: str | None
    code: str | None
    seconds: float | None
    times_left: int | None
    used: Annotated[int, Field(examples=[1])]


class FaultsView(_View):
    """All faults that were not removed, oldest first."""

    faults: list[FaultView]


class ClockRequest(_Request):
    """The bank's business time, from which it goes on."""

    at: AwareDatetime


class AdvanceRequest(_Request):
    """Let time pass at the bank."""

    seconds: Annotated[float, Field(ge=0, le=366 * 86_400, examples=[86_400])]


class ClockView(_View):
    """The bank's business time, and how far it is ahead of the machine's."""

    now: Moment
    ahead_seconds: Annotated[float, Field(examples=[86_400.0])]


class CountView(_View):
    """How many were touched."""

    count: Annotated[int, Field(examples=[1])]


class Health(_View):
    """The bank is alive."""

    status: Annotated[str, Field(examples=["ok"])] = "ok"


class ProblemView(_View):
    """RFC 9457 problem details."""

    type: Annotated[str, Field(examples=["/problems/payment_not_seen"])]
    title: str
    status: Annotated[int, Field(examples=[404])]
    code: Annotated[str, Field(examples=["payment_not_seen"])]
    detail: Annotated[str, Field(examples=["The bank has not seen this reference."])]
