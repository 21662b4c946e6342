"""Request bodies, strict: unknown fields, floats, bools and numbers in strings are refused, never converted."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from domain.batches import MAX_TRANSFERS, BatchMode
from domain.contracts.wallets import WalletLimits
from domain.errors import InvalidId
from domain.holds import LONGEST_LIFE
from domain.ids import BankAccountId, UserId, WalletId
from domain.money import CURRENCIES, MAX_MINOR_UNITS, Money
from domain.rails import RailChoice

KEY_PATTERN: Final = "^[!-~]{1,255}$"
_NO_CONTROLS: Final = r"^[^\u0000-\u001f\u007f]*$"
_WALLET_EXAMPLE: Final = "wal_0197f0c49a2e7c3f8f6a2b1c0d9e8a51"
_OTHER_WALLET_EXAMPLE: Final = "wal_0197f0c49b117d0ea1c3d5e7f9012b7c"
_BANK_ACCOUNT_EXAMPLE: Final = "ba_0197f0c49c4f7b6d9a0b1c2d3e4f5a51"
_USER_EXAMPLE: Final = "usr_0197f0c49a2e7c3f8f6a2b1c0d9e8a50"


def _known_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("wants an ISO 4217 code in use, such as USD")
    return code


def _party(value: object) -> WalletId | UserId:
    if isinstance(value, str):
        for kind in (WalletId, UserId):
            try:
                return kind.parse(value)
            except InvalidId:
                continue
    raise ValueError("wants an id like wal_ or usr_ and 32 lower-case hexadecimal digits")


_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _moment(value: object) -> datetime:
    if isinstance(value, str) and _RFC_3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError("wants a time like 2026-03-02T15:04:05Z")


IdempotencyKey = Annotated[
    str,
    Field(
        pattern=KEY_PATTERN,
        description="1 to 255 visible ASCII characters; here or in the Idempotency-Key header.",
        examples=["a9f0e61a-137d-4ae2-8f1f-0c4b0a3a7c11"],
    ),
]
Amount = Annotated[
    int, Field(strict=True, ge=1, le=MAX_MINOR_UNITS, description="Minor units (cents for USD).", examples=[1234])
]
Currency = Annotated[
    str,
    AfterValidator(_known_currency),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217", "examples": ["USD"]}),
]
PartyId = Annotated[
    WalletId | UserId,
    PlainValidator(_party),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(wal|usr)_[0-9a-f]{32}$",
            "description": "A wallet, or a user for their home wallet.",
        }
    ),
]
Moment = Annotated[
    datetime,
    PlainValidator(_moment),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339, with its offset from UTC.",
            "examples": ["2026-03-02T15:04:05Z"],
        }
    ),
]
ShortText = Annotated[str, Field(min_length=1, max_length=100, pattern=_NO_CONTROLS)]
Memo = Annotated[str, Field(max_length=200, pattern=_NO_CONTROLS)]
ItemKey = Annotated[
    str,
    Field(
        pattern=KEY_PATTERN,
        description="As for `POST /v1/transfers`: the transfer is made once, whichever call names its key first. "
        "Without one the transfer has a key that nobody else can name.",
        examples=["salary-2026-11-0042"],
    ),
]
Mode = Annotated[BatchMode, Field(strict=False, description="Each transfer for itself, or all or none.")]
Bank = Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,31}$", description="A bank in the registry.")]


class Body(BaseModel):
    """What every POST has in common."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    idempotency_key: IdempotencyKey | None = None


class TransferBody(Body):
    """Pay from one wallet to another."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "sender_id": _WALLET_EXAMPLE,
                "receiver_id": _OTHER_WALLET_EXAMPLE,
                "amount": 1234,
                "currency": "USD",
                "memo": "Lunch",
            }
        }
    )

    sender_id: PartyId
    receiver_id: PartyId
    amount: Amount
    currency: Currency
    memo: Memo | None = None

    @property
    def money(self) -> Money:
        """The amount with its currency."""
        return Money(self.amount, self.currency)


class BatchTransfer(BaseModel):
    """One transfer of a batch."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    receiver_id: PartyId
    amount: Amount
    memo: Memo | None = None
    idempotency_key: ItemKey | None = None


class TransferBatchBody(Body):
    """Pay many from one wallet."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "sender_id": _WALLET_EXAMPLE,
                "currency": "USD",
                "mode": "independent",
                "transfers": [
                    {"receiver_id": _OTHER_WALLET_EXAMPLE, "amount": 250000, "memo": "Salary, November"},
                    {"receiver_id": _USER_EXAMPLE, "amount": 180000, "idempotency_key": "salary-2026-11-0042"},
                ],
            }
        }
    )

    sender_id: PartyId
    currency: Currency
    mode: Mode = BatchMode.INDEPENDENT
    transfers: Annotated[list[BatchTransfer], Field(min_length=1, max_length=MAX_TRANSFERS)]

    def transfer(self, index: int) -> TransferBody:
        """One of the transfers as the body of a call of its own."""
        item = self.transfers[index]
        return TransferBody(
            sender_id=self.sender_id,
            receiver_id=item.receiver_id,
            amount=item.amount,
            currency=self.currency,
            memo=item.memo,
        )


class BankPaymentBody(Body):
    """Move money between a wallet and its user's account at a bank."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "wallet_id": _WALLET_EXAMPLE,
                "bank_account_id": _BANK_ACCOUNT_EXAMPLE,
                "amount": 50000,
                "currency": "USD",
                "rail": "auto",
            }
        }
    )

    wallet_id: WalletId
    bank_account_id: BankAccountId
    amount: Amount
    currency: Currency
    rail: Annotated[RailChoice, Field(strict=False, description="auto: what carries the amount.")] = RailChoice.AUTO

    @property
    def money(self) -> Money:
        """The amount with its currency."""
        return Money(self.amount, self.currency)


class UserBody(Body):
    """A new person. The handle is theirs alone among the users of this client."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "Ada Lovelace", "email": "ada@example.com", "handle": "ada"}}
    )

    name: ShortText
    email: Annotated[str, Field(max_length=254, pattern=r"^[!-?A-~]+@[!-?A-~]+$", description="Checked loosely.")]
    handle: Annotated[str, Field(pattern="^[a-z][a-z0-9_.-]{2,29}$")] | None = None


class BankLinkBody(Body):
    """Begin to link a bank account."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": _USER_EXAMPLE}})

    user_id: UserId
    bank: Bank | None = None


class BankAccountBody(Body):
    """Finish linking with the public token that the user brought back from the bank."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": _USER_EXAMPLE, "public_token": "public-4c1e…"}})

    user_id: UserId
    public_token: Annotated[str, Field(min_length=1, max_length=512, pattern="^[!-~]+$", repr=False)]
    bank: Bank | None = None


class MicroDepositsBody(Body):
    """Link a bank account by its number: two small amounts are sent to it, which the user then names."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "user_id": _USER_EXAMPLE,
                "routing_number": "021000021",
                "account_number": "123456784242",
                "holder_name": "Ada Lovelace",
            }
        }
    )

    user_id: UserId
    routing_number: Annotated[str, Field(pattern="^[0-9]{9}$", description="ABA routing number.")]
    account_number: Annotated[str, Field(pattern="^[0-9]{4,17}$", repr=False, description="Handed on, not kept.")]
    holder_name: Annotated[str, Field(min_length=1, max_length=100, pattern=_NO_CONTROLS, repr=False)]
    bank: Bank | None = None

    @property
    def shown(self) -> Self:
        """The same with the end of the number alone: what may be remembered of it, even as a digest."""
        return self.model_copy(update={"account_number": self.account_number[-4:]})


class VerifyBody(Body):
    """The two amounts that the user found in their bank account, in minor units, in whichever order."""

    model_config = ConfigDict(json_schema_extra={"example": {"amounts": [12, 34]}})

    amounts: Annotated[list[Amount], Field(min_length=2, max_length=2)]


class UnlinkBody(Body):
    """End the link of a bank account; nothing but a key, which may be in the header."""


class RelinkBody(Body):
    """Link a bank account again, under the same id, with a new public token of the same account."""

    model_config = ConfigDict(json_schema_extra={"example": {"public_token": "public-4c1e…"}})

    public_token: Annotated[str, Field(min_length=1, max_length=512, pattern="^[!-~]+$", repr=False)]


class HoldBody(Body):
    """Hold money of a wallet for payments that come later. Without a time it expires after seven days."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "wallet_id": _WALLET_EXAMPLE,
                "amount": 5000,
                "currency": "USD",
                "expires_in_seconds": 86400,
                "memo": "A table for two",
            }
        }
    )

    wallet_id: WalletId
    amount: Amount
    currency: Currency
    expires_at: Moment | None = None
    expires_in_seconds: (
        Annotated[
            int,
            Field(
                strict=True,
                ge=1,
                le=int(LONGEST_LIFE.total_seconds()),
                description="Instead of `expires_at`; at most 366 days.",
            ),
        ]
        | None
    ) = None
    memo: Annotated[str, Field(max_length=200, pattern=_NO_CONTROLS)] | None = None

    @model_validator(mode="after")
    def _expires_once(self) -> Self:
        if self.expires_at is not None and self.expires_in_seconds is not None:
            raise ValueError("expires_at and expires_in_seconds: wants one of them at most")
        return self

    @property
    def money(self) -> Money:
        """The amount with its currency."""
        return Money(self.amount, self.currency)

    @property
    def life(self) -> timedelta | None:
        """How long it holds, if the body says so."""
        return None if self.expires_in_seconds is None else timedelta(seconds=self.expires_in_seconds)


class CaptureBody(Body):
    """Pay somebody from a hold: an amount of it, or all that remains."""

    model_config = ConfigDict(json_schema_extra={"example": {"receiver_id": _OTHER_WALLET_EXAMPLE, "amount": 4250}})

    receiver_id: PartyId
    amount: Amount | None = None
    final: Annotated[bool, Field(strict=True, description="Release what remains after this capture.")] = False
    memo: Annotated[str, Field(max_length=200, pattern=_NO_CONTROLS)] | None = None


class ReleaseBody(Body):
    """Let go of a hold; nothing but a key, which may be in the header."""


class ReasonBody(Body):
    """Why an operator or an app does this; kept with the payment."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "Asked for by the customer"}})

    reason: Annotated[str, Field(max_length=200, pattern=_NO_CONTROLS)] | None = None


class RuleBody(Body):
    """A change of a wallet's rules; the reason is kept with it for ever."""

    reason: Annotated[str, Field(min_length=1, max_length=200, pattern=_NO_CONTROLS)]


class SidesBody(RuleBody):
    """The sides of a wallet to freeze or unfreeze: both unless one is said to be left alone."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"debits": True, "credits": False, "reason": "Card stolen"}}
    )

    debits: bool = True
    credits: bool = True


class CloseBody(RuleBody):
    """The end of a wallet."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "The customer has left"}})


class LimitsBody(RuleBody):
    """Both limits as they are to be; one that is left out is none."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"per_transaction": 50000, "daily": 200000, "reason": "New customer"}}
    )

    per_transaction: Amount | None = None
    daily: Amount | None = None

    @property
    def limits(self) -> WalletLimits:
        """Them together."""
        return WalletLimits(per_transaction=self.per_transaction, daily=self.daily)
