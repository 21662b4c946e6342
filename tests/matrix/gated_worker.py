"""A worker whose calls to the bank stop at gates, until it is killed there.

`python -m tests.matrix.gated_worker FOLDER`: FOLDER/gates.json says at which call of which workflow, and when; a file
in FOLDER/arrived, named by the workflow, says that it is there.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from temporalio import activity

from bank_adapters.port import BankAdapter, BankPayment, NotSeen, PaymentInstruction
from bank_adapters.registry import open_bank
from bank_adapters.simulated.adapter import SimulatedBank
from domain.errors import SagapayError
from infra.settings import Settings, settings
from tests.matrix.cells import Call, Crash
from tests.workflow.worker_process import work_for

PATIENT_SECONDS = 60.0
"""How long a request waits that is to be at the bank when its sender dies."""

Answer = TypeVar("Answer")
Ask = Callable[[BankAdapter], Awaitable[Answer]]


class Gates:
    """Where each workflow's call stops."""

    def __init__(self, folder: Path) -> None:
        self._arrived = folder / "arrived"
        self._file = folder / "gates.json"
        self._places: Mapping[str, tuple[str, str]] = {}
        self._stopped: set[str] = set()

    def crash_at(self, call: Call) -> Crash | None:
        """When the call that is being made is to stop; None where it is not."""
        if not self._places and self._file.exists():
            self._places = json.loads(self._file.read_text())
        place = self._places.get(activity.info().workflow_id)
        return Crash(place[1]) if place is not None and place[0] == call else None

    @property
    def has_stopped(self) -> bool:
        """Whether the workflow is at its gate: an attempt whose heartbeat was late may be followed by another."""
        return activity.info().workflow_id in self._stopped

    async def stop_here(self) -> NoReturn:
        """Say so, and wait for death."""
        self._stopped.add(activity.info().workflow_id)
        (self._arrived / activity.info().workflow_id.replace("/", "_")).touch()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


class GatedBank:
    """A bank, with gates before, within and behind the calls that move money or ask for it."""

    def __init__(self, bank: BankAdapter, patient: BankAdapter, gates: Gates) -> None:
        self._bank, self._patient, self._gates = bank, patient, gates
        self._lost: list[asyncio.Future[Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)

    async def pull(self, instruction: PaymentInstruction) -> BankPayment:
        """See the port."""
        return await self._gated(Call.SEND, lambda bank: bank.pull(instruction))

    async def push(self, instruction: PaymentInstruction) -> BankPayment:
        """See the port."""
        return await self._gated(Call.SEND, lambda bank: bank.push(instruction))

    async def look_up(self, reference: str) -> BankPayment | NotSeen:
        """See the port."""
        return await self._gated(Call.LOOK_UP, lambda bank: bank.look_up(reference))

    async def cancel(self, reference: str) -> BankPayment | NotSeen:
        """See the port."""
        return await self._gated(Call.CANCEL, lambda bank: bank.cancel(reference))

    async def _gated(self, call: Call, ask: Ask[Answer]) -> Answer:
        if self._gates.has_stopped:
            await self._gates.stop_here()
        match self._gates.crash_at(call):
            case Crash.BEFORE:
                await self._gates.stop_here()
            case Crash.DURING:
                self._lost.append(asyncio.ensure_future(ask(self._patient)))
                await self._gates.stop_here()
            case Crash.AFTER:
                with suppress(SagapayError):
                    await ask(self._bank)
                await self._gates.stop_here()
        return await ask(self._bank)


async def work(folder: Path, own: Settings) -> None:
    """Polls every queue until it is killed."""
    bank = open_bank(SimulatedBank.NAME, own)
    patient = open_bank(SimulatedBank.NAME, own.model_copy(update={"bank_request_timeout_seconds": PATIENT_SECONDS}))
    gated: Any = GatedBank(bank, patient, Gates(folder))
    await work_for({bank.name: gated}, own)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), settings()))
