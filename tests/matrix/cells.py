"""The dimensions of the matrix, and its cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bank_adapters.simulator.faults import AFTER, BEFORE, DECIDING, TELLING, FaultKind, Operation
from domain.rails import Rail
from domain.transactions import TransactionKind


class Call(StrEnum):
    """What a payment's workflow asks its bank."""

    SEND = "send"
    LOOK_UP = "look up"
    CANCEL = "cancel"


class Crash(StrEnum):
    """When the worker is killed (-9), seen from the call."""

    NEVER = "not at all"
    BEFORE = "before: nothing is sent"
    DURING = "during: the bank is at work"
    AFTER = "after: answered, not recorded"


KINDS: Final = (TransactionKind.DEPOSIT, TransactionKind.WITHDRAWAL)
STRIKES: Final = {
    Call.SEND: (None, *sorted(BEFORE), *sorted(DECIDING), *sorted(AFTER)),
    Call.LOOK_UP: (None, *sorted(BEFORE), *sorted(AFTER), *sorted(TELLING)),
    Call.CANCEL: (None, *sorted(BEFORE), *sorted(AFTER)),
}
"""The faults that can strike a call. A look-up decides nothing, and an event is told of what a look-up would find."""


def calls(rail: Rail) -> tuple[Call, ...]:
    """What is asked over a rail: only what waits for a batch can be taken back."""
    return tuple(call for call in Call if call is not Call.CANCEL or rail is Rail.ACH)


@dataclass(frozen=True, slots=True)
class Cell:
    """One payment that meets one fault at one call, where its worker dies."""

    kind: TransactionKind
    rail: Rail
    call: Call
    fault: FaultKind | None
    crash: Crash

    @property
    def operation(self) -> Operation:
        """What the bank is to misbehave at."""
        if self.fault in TELLING:
            return Operation.WEBHOOK
        return self.called

    @property
    def called(self) -> Operation:
        """What the bank is asked where the worker dies."""
        return {Call.SEND: self.sending, Call.LOOK_UP: Operation.LOOK_UP, Call.CANCEL: Operation.CANCEL}[self.call]

    @property
    def sending(self) -> Operation:
        """How the payment is sent."""
        return Operation.PULL if self.kind is TransactionKind.DEPOSIT else Operation.PUSH

    @property
    def name(self) -> str:
        """For a test's name."""
        crash = self.crash.partition(":")[0].replace(" ", "-")
        return "-".join((self.kind, self.rail, self.call.replace(" ", "-"), self.fault or "no-fault", crash))


def cells() -> Iterator[Cell]:
    """All of them, in the order of the page."""
    for kind in KINDS:
        for rail in Rail:
            for call in calls(rail):
                for fault in STRIKES[call]:
                    for crash in Crash:
                        yield Cell(kind, rail, call, fault, crash)
