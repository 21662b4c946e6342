"""The front desk: every request of the platform passes here, and here the bank misbehaves when it was told to."""

import asyncio
from collections import defaultdict
from typing import Final, TypeVar

from bank_adapters.simulator import faults
from bank_adapters.simulator.database import Database, Session, Work
from bank_adapters.simulator.faults import Fault, FaultKind, Operation, Taken, Whose
from bank_adapters.simulator.problems import Broken, Down, Hung

# Longer than any caller waits; then the connection is answered, so that nothing hangs for ever.
HANG_SECONDS: Final = 60
SLOW_SECONDS: Final = 2.0

T = TypeVar("T")


class Desk:
    """Does what is asked in one commit. `leave` ends what hangs, for a shutdown that does not wait."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._leaving = asyncio.Event()
        self._removed: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    def leave(self) -> None:
        """Let go of every request that hangs, with a 504."""
        self._leaving.set()

    async def remove_faults(self, fault_id: int | None) -> int:
        """End one fault, or (None) all, and let whom a slow one holds up go on. Returns how many."""
        count = await self.database.run(lambda session: faults.remove(session, fault_id))
        for known, removed in self._removed.items():
            if fault_id in {None, known}:
                removed.set()
        return count

    async def serve(self, operation: Operation, whose: Whose, work: Work[T]) -> tuple[T, Taken]:
        """The result of `work`, and the faults that still concern its answer. `whose` names the account.

        Raises what `work` raises, and Down, Hung or Broken where the bank was told to misbehave.
        """
        before, answer = await self.database.run(lambda session: _first_attempt(session, operation, whose, work))
        if answer is None:
            await self._delay(before)
            answer = await self.database.run(lambda session: _attempt(session, operation, whose, work))
        result, after = answer
        if FaultKind.TIMEOUT_AFTER in after:
            await self._hang(HANG_SECONDS)
            raise Hung
        if FaultKind.ERROR_AFTER in after:
            raise Broken
        return result, after

    async def _delay(self, before: Taken) -> None:
        if FaultKind.SLOW in before:
            await self._wait(before[FaultKind.SLOW])
        if FaultKind.DOWN in before:
            raise Down
        if FaultKind.TIMEOUT_BEFORE in before:
            await self._hang(HANG_SECONDS)
            raise Hung

    async def _wait(self, slow: Fault) -> None:
        """For as long as it says, or until it is removed."""
        hanging = asyncio.ensure_future(self._hang(slow.seconds or SLOW_SECONDS))
        removed = asyncio.ensure_future(self._removed[slow.fault_id].wait())
        await asyncio.wait({hanging, removed}, return_when=asyncio.FIRST_COMPLETED)
        removed.cancel()
        if hanging.done():
            hanging.result()
        hanging.cancel()

    async def _hang(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        except TimeoutError:
            return
        raise Hung


def _first_attempt(
    session: Session, operation: Operation, whose: Whose, work: Work[T]
) -> tuple[Taken, tuple[T, Taken] | None]:
    before = faults.take(session, operation, whose, faults.BEFORE)
    return before, None if before else _attempt(session, operation, whose, work)


def _attempt(session: Session, operation: Operation, whose: Whose, work: Work[T]) -> tuple[T, Taken]:
    result = work(session)
    return result, faults.take(session, operation, whose, faults.AFTER)
