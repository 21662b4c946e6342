"""Opaque cursors: what a page ended with, so that the next can neither skip nor repeat a line."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, TypeVar

from domain.batches import MAX_TRANSFERS
from domain.errors import InvalidCursor, InvalidId
from domain.ids import HoldId, PrefixedId, TransactionId
from events.streams import Position

_MAX_VERSION: Final = 2**63 - 1
_ATTENTION: Final = "attention:"
_DELIVERIES: Final = "deliveries:"
_ENTRIES: Final = "entries:"
_EVENTS: Final = "events:"
_HISTORY: Final = "history:"
_HOLDS: Final = "holds:"
_ITEMS: Final = "items:"
_WORKFLOWS: Final = "workflows:"
_WRITE_OFFS: Final = "write-offs:"
Id = TypeVar("Id", bound=PrefixedId)


def _write(kind: str, value: str) -> str:
    return urlsafe_b64encode((kind + value).encode()).rstrip(b"=").decode()


def _read(kind: str, cursor: str) -> str:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError as error:
        raise InvalidCursor from error
    if not text.startswith(kind):
        raise InvalidCursor
    return text.removeprefix(kind)


def _read_id(kind: str, cursor: str, noun: type[Id]) -> Id:
    try:
        return noun.parse(_read(kind, cursor))
    except InvalidId as error:
        raise InvalidCursor from error


def entries_cursor(version: int) -> str:
    """Continue a statement below an account version."""
    return _write(_ENTRIES, str(version))


def read_entries_cursor(cursor: str) -> int:
    """The version in a statement's cursor. Raises InvalidCursor."""
    return _number(_read(_ENTRIES, cursor))


def history_cursor(transaction_id: TransactionId, asked: str) -> str:
    """Continue a history before a transaction; `asked` is a digest of what was asked for."""
    return _write(f"{_HISTORY}{asked}:", transaction_id)


def read_history_cursor(cursor: str, asked: str) -> TransactionId:
    """The transaction in a history's cursor. Raises InvalidCursor, also where something else was asked for."""
    return _read_id(f"{_HISTORY}{asked}:", cursor, TransactionId)


def holds_cursor(hold_id: HoldId) -> str:
    """Continue a list of holds before this one."""
    return _write(_HOLDS, hold_id)


def read_holds_cursor(cursor: str) -> HoldId:
    """The hold in a cursor of a list of holds. Raises InvalidCursor."""
    return _read_id(_HOLDS, cursor, HoldId)


def items_cursor(index: int) -> str:
    """Continue a batch's items with this one."""
    return _write(_ITEMS, str(index))


def read_items_cursor(cursor: str) -> int:
    """The index in a cursor of a batch's items. Raises InvalidCursor."""
    index = _read(_ITEMS, cursor)
    if not index.isdecimal() or len(index) > len(str(MAX_TRANSFERS)):
        raise InvalidCursor
    return int(index)


def attention_cursor(transaction_id: TransactionId) -> str:
    """Continue a list of parked payments behind this one."""
    return _write(_ATTENTION, transaction_id)


def read_attention_cursor(cursor: str) -> TransactionId:
    """The payment in a cursor of a list of parked ones. Raises InvalidCursor."""
    return _read_id(_ATTENTION, cursor, TransactionId)


def write_offs_cursor(write_off_id: TransactionId) -> str:
    """Continue a list of write-offs behind this one."""
    return _write(_WRITE_OFFS, write_off_id)


def read_write_offs_cursor(cursor: str) -> TransactionId:
    """The write-off in a cursor of a list of them. Raises InvalidCursor."""
    return _read_id(_WRITE_OFFS, cursor, TransactionId)


def events_cursor(position: Position) -> str:
    """Continue a client's events behind this one."""
    return _write(_EVENTS, str(position))


def read_events_cursor(cursor: str) -> Position:
    """The place in a cursor of a client's events. Raises InvalidCursor."""
    xid, _, number = _read(_EVENTS, cursor).partition("/")
    return Position(_number(xid), _number(number))


def deliveries_cursor(number: int) -> str:
    """Continue a list of deliveries below this one."""
    return _write(_DELIVERIES, str(number))


def read_deliveries_cursor(cursor: str) -> int:
    """The number in a cursor of a list of deliveries. Raises InvalidCursor."""
    return _number(_read(_DELIVERIES, cursor))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(_MAX_VERSION)) or int(text) > _MAX_VERSION:
        raise InvalidCursor
    return int(text)


def workflows_cursor(token: bytes) -> str:
    """Continue a list of parked workflows where Temporal says."""
    return _write(_WORKFLOWS, token.hex())


def read_workflows_cursor(cursor: str) -> bytes:
    """Temporal's word in a cursor of a list of parked workflows. Raises InvalidCursor."""
    try:
        return bytes.fromhex(_read(_WORKFLOWS, cursor))
    except ValueError as error:
        raise InvalidCursor from error
