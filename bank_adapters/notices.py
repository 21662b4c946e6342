"""What banks send us by themselves. A notice is never the truth about money: it says when to ask the bank."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class BankNotice:
    """One notice of a bank. `event_id` is the bank's, the same for each time that it is sent.

    `type` is a `domain.bank_events.BankEventType`, or a word of the bank's own that means nothing to us. `reference` is
    ours, of the payment that it is about, if it is about one.
    """

    event_id: str
    type: str
    reference: str | None
    occurred_at: datetime


@runtime_checkable
class NotifyingBank(Protocol):
    """A bank adapter whose bank sends notices: how they are told from anybody's is the adapter's own."""

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> BankNotice:
        """The notice in a request, once it is certain that the bank sent it, just now. Raises BankEventRefused.

        `headers` are asked for by their names in lower case.
        """
        ...
