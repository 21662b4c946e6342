"""Identifiers: a prefix and the 32 lower-case hex digits of a UUIDv7 whose last 12 bits are the bucket.

An id says when it was made and which of the 4,096 buckets it belongs to; settings say the bucket's shard. A user's
bucket is chosen at random, wallets and bank accounts take their user's, a transaction its source wallet's.
"""

import re
import time
from datetime import datetime
from secrets import randbelow, randbits
from typing import Any, ClassVar, Final, Self
from uuid import UUID, SafeUUID, uuid5

import uuid_utils
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from domain.errors import InvalidId

BUCKETS: Final = 4096
_BUCKET_MASK: Final = BUCKETS - 1
_HEX: Final = re.compile(r"[0-9a-f]{32}")
_UNKNOWN: Final = SafeUUID.unknown
_SERIES_BITS: Final = 48
_SERIES_MASK: Final = 2**_SERIES_BITS - 1
_SYSTEM_NAMESPACE: Final = UUID("5a6a9a90-0000-7000-8000-000000000000")


def part_of(bucket: int, parts: int) -> int:
    """Which of so many parts a bucket belongs to: equal, contiguous ranges of all buckets, from 0."""
    return bucket * parts // BUCKETS


def random_bucket() -> int:
    """A bucket for a new user."""
    return randbelow(BUCKETS)


class PrefixedId(str):
    """A string that is known to be a well-formed id of its noun. `parse` is the way in from outside."""

    __slots__ = ()
    prefix: ClassVar[str] = ""

    @classmethod
    def new(cls, bucket: int) -> Self:
        """A fresh id in `bucket` (0 to 4095)."""
        return cls(f"{cls.prefix}_{new_hex(bucket)}")

    @classmethod
    def of(cls, value: UUID) -> Self:
        """The id of a stored UUID."""
        return cls(f"{cls.prefix}_{value.hex}")

    @classmethod
    def from_hex(cls, digits: str) -> Self:
        """The id of a UUID's 32 hexadecimal digits, which are not checked."""
        return cls(f"{cls.prefix}_{digits}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check a string from outside. Raises InvalidId."""
        prefix, _, digits = text.rpartition("_")
        if prefix != cls.prefix or not _HEX.fullmatch(digits):
            raise InvalidId(f"wants an id like {cls.prefix}_ and 32 lower-case hexadecimal digits")
        return cls(text)

    @property
    def uuid(self) -> UUID:
        """The UUID as the database stores it."""
        return _uuid(int(self[-32:], 16))

    @property
    def hex(self) -> str:
        """The UUID's 32 hexadecimal digits."""
        return self[-32:]

    @property
    def bucket(self) -> int:
        """Which of the 4,096 slices of the id space this belongs to."""
        return int(self[-3:], 16)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        return core_schema.no_info_after_validator_function(cls._validate, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{cls.prefix}_[0-9a-f]{{32}}$"}

    @classmethod
    def _validate(cls, text: str) -> Self:
        try:
            return cls.parse(text)
        except InvalidId as error:
            raise ValueError(error.detail) from error


def new_hex(bucket: int) -> str:
    """The digits of a UUIDv7 (RFC 9562) with `bucket` in its last 12 bits."""
    return f"{uuid_utils.uuid7().hex[:-3]}{bucket:03x}"


class IdSeries:
    """The digits of many UUIDv7s of one moment, in rising order: what belongs together is made together."""

    def __init__(self) -> None:
        milliseconds = time.time_ns() // 1_000_000
        self._head = f"{milliseconds:012x}7{randbits(12):03x}{8 + randbits(2):x}"
        self._next = randbits(_SERIES_BITS)

    def next(self, bucket: int) -> str:
        """One more, in `bucket`. Two series meet about once in 2^62 ids of the same millisecond."""
        number = self._next
        self._next = (number + 1) & _SERIES_MASK
        return f"{self._head}{number:012x}{bucket:03x}"


def new_uuid(bucket: int) -> UUID:
    """A UUIDv7 (RFC 9562) with `bucket` in its last 12 bits."""
    return _uuid(uuid_utils.uuid7().int & ~_BUCKET_MASK | bucket)


def first_uuid(at: datetime) -> UUID:
    """What is not above any UUIDv7 made at this moment or later."""
    milliseconds = max(0, int(at.timestamp() * 1000))
    return _uuid(milliseconds << 80)


def _uuid(value: int) -> UUID:
    """What `UUID(int=value)` makes, without the checks of its eight ways to be called: every payment makes dozens."""
    made = UUID.__new__(UUID)
    object.__setattr__(made, "int", value)
    object.__setattr__(made, "is_safe", _UNKNOWN)
    return made


class ClientId(PrefixedId):
    """An app that owns users."""

    __slots__ = ()
    prefix = "cli"


class UserId(PrefixedId):
    """A person."""

    __slots__ = ()
    prefix = "usr"


class WalletId(PrefixedId):
    """A balance of a user in one currency: one ledger account."""

    __slots__ = ()
    prefix = "wal"


class BankAccountId(PrefixedId):
    """A user's linked account at an outside bank."""

    __slots__ = ()
    prefix = "ba"


class TransactionId(PrefixedId):
    """A deposit, a withdrawal or a transfer that an app asked for."""

    __slots__ = ()
    prefix = "txn"


class BatchId(PrefixedId):
    """Many transfers from one wallet, asked for at once."""

    __slots__ = ()
    prefix = "tb"


class PostingId(PrefixedId):
    """An atomic set of entries that sums to zero."""

    __slots__ = ()
    prefix = "pst"


class EntryId(PrefixedId):
    """One immutable debit or credit line on one account."""

    __slots__ = ()
    prefix = "ent"


class HoldId(PrefixedId):
    """Money reserved on an account."""

    __slots__ = ()
    prefix = "hld"


class ActionId(PrefixedId):
    """Something that an operator told a payment."""

    __slots__ = ()
    prefix = "act"


class EventId(PrefixedId):
    """Something that happened, as it was told."""

    __slots__ = ()
    prefix = "evt"


class WebhookEndpointId(PrefixedId):
    """An address of a client's where it wants to hear of events."""

    __slots__ = ()
    prefix = "whe"


class SystemAccountId(PrefixedId):
    """One of our own accounts on a shard. Derived from its code, so every process knows it without asking."""

    __slots__ = ()
    prefix = "sys"

    @classmethod
    def from_code(cls, code: str) -> Self:
        """The id of e.g. "clearing:simulator:USD:3"."""
        return cls.of(uuid5(_SYSTEM_NAMESPACE, code))


AccountId = WalletId | SystemAccountId
