"""docs/reference/simulated-bank.md and the bank agree on paths, kinds of fault and codes of refusal."""

import re
from pathlib import Path

from bank_adapters.simulated.adapter import SimulatedBank
from bank_adapters.simulator import refusals
from bank_adapters.simulator.app import create_app
from bank_adapters.simulator.faults import AFTER, BEFORE, DECIDING, TELLING, FaultKind, Operation

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "simulated-bank.md").read_text()


def rows() -> set[str]:
    """What the first columns of the page's tables name."""
    return {name for row in re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}


def test_every_call_is_described(tmp_path: Path) -> None:
    paths = create_app(tmp_path / "bank.sqlite3").openapi()["paths"]
    for path, methods in paths.items():
        if path == "/v1/faults/{fault_id}":
            continue
        described = {name.split()[-1] for name in rows()}
        assert path in described, f"{path} ({', '.join(methods)}) is not in the table of calls"


def test_every_fault_and_every_refusal_is_described() -> None:
    decided = {
        refusals.INSUFFICIENT_FUNDS,
        refusals.ACCOUNT_CLOSED,
        refusals.NO_ACCOUNT,
        refusals.ACCOUNT_FROZEN,
        refusals.SETTLEMENT_EMPTY,
        refusals.WRONG_CURRENCY,
        refusals.OVER_LIMIT,
        refusals.NOT_ON_RAIL,
    }
    assert {refusal.code for refusal in decided} | set(FaultKind) <= rows()
    assert all(f"`{operation}`" in PAGE for operation in Operation)


def test_every_fault_strikes_at_one_moment() -> None:
    moments = [*BEFORE, *DECIDING, *AFTER, *TELLING]
    assert sorted(moments) == sorted(FaultKind)


async def test_the_visibility_window_is_what_the_page_says() -> None:
    bank = SimulatedBank("http://127.0.0.1:1", request_timeout_seconds=5)
    assert bank.capabilities.visibility_window_seconds == 5 + 2 + 3
    assert "time-out and 2 seconds" in PAGE
    assert "adds 3 seconds" in PAGE
    await bank.aclose()
