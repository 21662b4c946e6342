"""docs/reference/fault-matrix.md, made from what became of the payments."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from bank_adapters.simulator.faults import FaultKind
from domain.rails import Rail
from domain.transactions import TransactionKind, TransactionStatus
from tests.matrix.cells import KINDS, STRIKES, Cell, Crash, calls
from tests.matrix.walk import AMOUNT, BEFORE, Fate

PAGE: Final = Path(__file__).parents[2] / "docs/reference/fault-matrix.md"

_MEANWHILE: Final = {
    (TransactionKind.DEPOSIT, (0, 0)): "not credited",
    (TransactionKind.DEPOSIT, (AMOUNT, 0)): "credited",
    (TransactionKind.WITHDRAWAL, (BEFORE, AMOUNT)): "held",
    (TransactionKind.WITHDRAWAL, (BEFORE - AMOUNT, 0)): "in clearing",
}
_MEANS: Final = {
    None: "none",
    FaultKind.SLOW: "slow: answers after the time-out",
    FaultKind.DOWN: "down: does nothing and says so",
    FaultKind.TIMEOUT_BEFORE: "does nothing, and does not answer",
    FaultKind.REFUSE: "refuses",
    FaultKind.SETTLE_LATER: "accepts, settles later",
    FaultKind.DUPLICATE: "pays twice",
    FaultKind.TIMEOUT_AFTER: "does it, and does not answer",
    FaultKind.ERROR_AFTER: "does it, and answers 500",
    FaultKind.WRONG_ORDER: "tells accepted of settled, settled of accepted",
    FaultKind.WEBHOOK_LOST: "its event is lost",
    FaultKind.WEBHOOK_TWICE: "its event comes twice",
    FaultKind.WEBHOOK_LATE: "its event comes late",
}
_COLUMNS: Final = {
    Crash.NEVER: "no worker dies",
    Crash.BEFORE: "killed before the call",
    Crash.DURING: "killed while the bank works",
    Crash.AFTER: "killed after the answer",
}


def in_words(fate: Fate) -> str:
    """What happened to the money. Raises KeyError for what may not happen."""
    outcomes = {
        (TransactionStatus.SUCCEEDED, AMOUNT, AMOUNT, AMOUNT): "moved once",
        (TransactionStatus.SUCCEEDED, AMOUNT, 2 * AMOUNT, AMOUNT): "moved once; twice at the bank until it corrects",
        (TransactionStatus.FAILED, 0, 0, 0): "not moved, failed",
    }
    return outcomes[fate.status, fate.moved_here, fate.moved_there, fate.moved_there_at_last]


def table(kind: TransactionKind, rail: Rail, fates: Mapping[Cell, Fate]) -> Iterator[str]:
    """The rows of one kind of payment over one rail."""
    yield "| call | the bank | " + " | ".join(_COLUMNS.values()) + " | in the wallet while no worker lives |"
    yield "|---" * (len(_COLUMNS) + 3) + "|"
    for call in calls(rail):
        for fault in STRIKES[call]:
            row = [fates[Cell(kind, rail, call, fault, crash)] for crash in _COLUMNS]
            cells = " | ".join(map(in_words, row))
            yield f"| {call} | {_MEANS[fault]} | {cells} | {_meanwhile(kind, row)} |"


def _meanwhile(kind: TransactionKind, row: Sequence[Fate]) -> str:
    seen = [_MEANWHILE[kind, fate.meanwhile] for fate in row if fate.meanwhile is not None]
    return ", then ".join(word for word, _ in groupby(seen))


def tables(fates: Mapping[Cell, Fate]) -> str:
    """All of them."""
    return "\n\n".join(
        "\n".join((f"## {kind.capitalize()} over {rail}", "", *table(kind, rail, fates)))
        for kind in KINDS
        for rail in Rail
    )


def page(fates: Mapping[Cell, Fate]) -> str:
    """The page as it should be: what stands before the first table is written by hand."""
    return PAGE.read_text().partition("## ")[0] + tables(fates) + "\n"
