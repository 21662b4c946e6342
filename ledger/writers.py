"""Groups: an idle writer commits what it gets at once; whatever arrives meanwhile is its next group. No timer.

The more callers there are at once, the larger the groups, and the less each costs: locks, round trips, the write to
disk are per group. Nobody waits for a group to fill.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, overload

import psycopg
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.contracts.payments import StepResult
from domain.errors import LedgerBusy, LedgerUnavailable
from infra.database import pipelined
from ledger import posting
from ledger.accounts import SystemAccount, SystemAccountsMissing
from ledger.posting import KeyWastedError
from ledger.service import Hold
from ledger.work import Answer, Begin, EndHold, PlacedHold, PlaceHold, Receive, Take, Work

ATTEMPTS_ALONE: Final = 3
"""What is refused alone can have met another session that was recording the same at the same moment."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    work: Work
    answer: asyncio.Future[Any]


class Writers:
    """The writers of one shard in this process: at most `writers` groups at once, each of at most `group_size`.

    A writer lives as long as somebody waits. Two writers never deadlock: each locks its accounts in one sorted
    statement.
    """

    def __init__(self, engine: AsyncEngine, *, shards: int, writers: int, group_size: int, queue_size: int) -> None:
        self._engine = engine
        self._shards = shards
        self._most_writers = writers
        self._group_size = group_size
        self._queue_size = queue_size
        self._queue: deque[_Waiting] = deque()
        self._writers: set[asyncio.Task[None]] = set()

    @overload
    async def post(self, work: Begin | Receive | Take) -> StepResult: ...
    @overload
    async def post(self, work: PlaceHold) -> PlacedHold: ...
    @overload
    async def post(self, work: EndHold) -> Hold: ...

    async def post(self, work: Work) -> Any:
        """What became of the work, once it is committed.

        Raises what concerns the step alone, LedgerUnavailable, and LedgerBusy (nothing was done) if too many wait. A
        caller that is cancelled does not stop its step, which is part of a group.
        """
        if len(self._queue) >= self._queue_size:
            raise LedgerBusy
        waiting = _Waiting(work, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if len(self._writers) < self._most_writers:
            self._writers.add(asyncio.create_task(self._write(), name="ledger-writer"))
        return await waiting.answer

    async def aclose(self) -> None:
        """Let everything that was taken on come to its end."""
        while self._writers:
            await asyncio.wait(self._writers)

    async def _write(self) -> None:
        try:
            await self._until_nobody_waits()
        finally:
            # Between the last look at the queue and this nothing else runs: who comes later starts a new writer.
            self._writers.remove(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _until_nobody_waits(self) -> None:
        while self._queue:
            group = [self._queue.popleft() for _ in range(min(self._group_size, len(self._queue)))]
            try:
                answers = await self._post([waiting.work for waiting in group])
            except BaseException as error:
                # The loop ends, or this is a bug: nobody may wait for ever.
                _deliver(
                    group, [LedgerUnavailable(f"The ledger's writer ended ({type(error).__name__}).")] * len(group)
                )
                raise
            _deliver(group, answers)

    async def _post(self, works: Sequence[Work]) -> list[Answer]:
        try:
            return await self._settled(works)
        except LedgerUnavailable as outage:
            return [outage] * len(works)
        except Exception as refused:  # noqa: BLE001  -- whatever spoils a group must not spoil its neighbours
            if len(works) > 1:
                _log.warning("group refused, taken item by item", size=len(works), error=str(refused))
            return [await self._post_alone(work) for work in works]

    async def _post_alone(self, work: Work) -> Answer:
        for attempt in range(1, ATTEMPTS_ALONE + 1):
            try:
                return (await self._settled([work]))[0]
            except psycopg.errors.UniqueViolation as error:
                if attempt == ATTEMPTS_ALONE:
                    return error
            except Exception as error:  # noqa: BLE001  -- it is its caller's
                return error
        raise AssertionError("unreachable")

    async def _settled(self, works: Sequence[Work]) -> list[Answer]:
        """Post a group; a commit whose outcome is unknown is settled by repeating its keys, once."""
        try:
            return await self._whole(works)
        except _CommitUnknown:
            return await self._whole(works, last=True)

    async def _whole(self, works: Sequence[Work], *, last: bool = False) -> list[Answer]:
        """Post a group without those that are never right, with all accounts that it needs."""
        answered: dict[int, Answer] = {}
        also: set[SystemAccount] = set()
        while left := [(number, work) for number, work in enumerate(works) if number not in answered]:
            try:
                answers = await self._once([work for _, work in left], also, last=last)
            except KeyWastedError as wasted:
                answered |= {left[index][0]: error for index, error in wasted.refused.items()}
            except SystemAccountsMissing as missing:
                await posting.open_accounts(self._engine, missing.accounts)
                also.update(missing.accounts)
            else:
                answered |= {number: answer for (number, _), answer in zip(left, answers, strict=True)}
        return [answered[number] for number in range(len(works))]

    async def _once(self, works: Sequence[Work], also: Collection[SystemAccount], *, last: bool) -> list[Answer]:
        committing = False
        try:
            async with pipelined(self._engine) as pipeline:
                try:
                    return await posting.post(pipeline, works, self._shards, also)
                finally:
                    committing = pipeline.committing
        except LedgerUnavailable as outage:
            if committing and not last:
                raise _CommitUnknown from outage
            raise


class _CommitUnknown(Exception):
    """The connection was lost after the commit had been sent."""


def _deliver(group: Sequence[_Waiting], answers: Sequence[Answer]) -> None:
    for waiting, answer in zip(group, answers, strict=True):
        if waiting.answer.done():
            continue  # The caller was cancelled; what it asked for has happened all the same.
        if isinstance(answer, Exception):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
