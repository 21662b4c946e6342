"""Every cell of the fault matrix, and the page that says what became of it."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import pytest

from bank_adapters.simulator.faults import FaultKind
from domain.transactions import TransactionKind, TransactionStatus
from tests.matrix.cells import STRIKES, Call, Cell, Crash, cells
from tests.matrix.page import PAGE, page
from tests.matrix.walk import AMOUNT, BEFORE, Fate, matrix_scene, walk
from tests.stack.servers import Servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_KNOWN_WHILE_DEAD: Final = {
    (TransactionKind.DEPOSIT, Call.SEND): (0, 0),
    (TransactionKind.DEPOSIT, Call.LOOK_UP): (AMOUNT, 0),
    (TransactionKind.DEPOSIT, Call.CANCEL): (0, 0),
    (TransactionKind.WITHDRAWAL, Call.CANCEL): (BEFORE, AMOUNT),
    (TransactionKind.WITHDRAWAL, Call.SEND): (BEFORE, AMOUNT),
    (TransactionKind.WITHDRAWAL, Call.LOOK_UP): (BEFORE - AMOUNT, 0),
}


@pytest.fixture(scope="module")
async def fates(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> AsyncIterator[Mapping[Cell, Fate]]:
    """What became of every payment. Not a cent may be off at the end."""
    home = tmp_path_factory.mktemp("matrix")
    async with matrix_scene(home, servers) as scene:
        yield await walk(scene, list(cells()), home / "walk", print)


@pytest.mark.parametrize("cell", list(cells()), ids=lambda cell: cell.name)
async def test_money_moves_once_or_not_at_all(fates: Mapping[Cell, Fate], cell: Cell) -> None:
    refused, twice = cell.fault is FaultKind.REFUSE, cell.fault is FaultKind.DUPLICATE
    failure = "bank_refused" if refused else "cancelled" if cell.call is Call.CANCEL else None
    moved = 0 if failure else AMOUNT
    assert fates[cell] == Fate(
        status=TransactionStatus.FAILED if failure else TransactionStatus.SUCCEEDED,
        failure=failure,
        struck=0 if cell.fault is None else 1,
        meanwhile=None if cell.crash is Crash.NEVER else _KNOWN_WHILE_DEAD[cell.kind, cell.call],
        moved_here=moved,
        held=0,
        moved_there=2 * moved if twice else moved,
        moved_there_at_last=moved,
    )


async def test_the_page_tells_what_happened(fates: Mapping[Cell, Fate]) -> None:
    assert PAGE.read_text() == page(fates), "docs/reference/fault-matrix.md is out of date: make matrix"


def test_no_fault_of_the_bank_is_left_out() -> None:
    assert {fault for faults in STRIKES.values() for fault in faults} == {None, *FaultKind}
