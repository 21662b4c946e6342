"""The bank's one SQLite file: a single writer thread that commits whatever requests have met as one group.

A commit waits for the disk (`synchronous=FULL`), so that nothing that was answered is forgotten, whatever is killed.
One wait serves the whole group, which is what makes many payments at once cheap.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

from bank_adapters.simulator.schema import SCHEMA
from domain.clock import Clock, SystemClock

GROUP_LIMIT: Final = 128
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """A connection inside a transaction, and the one time (microseconds since 1970) of all that happens in it.

    `now` is the bank's business time, which tests may set `ahead` of the machine's.
    """

    connection: sqlite3.Connection
    now: int
    ahead: int = 0

    @property
    def machine_now(self) -> int:
        """The machine's time, by which callers say until when a request is valid."""
        return self.now - self.ahead


Work = Callable[[Session], T]


def to_micros(moment: datetime) -> int:
    """A time as the books store it."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_moment(micros: int) -> datetime:
    """A stored time in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def connect(path: Path) -> sqlite3.Connection:
    """Open the books, making them if they are new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    connection.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;" + SCHEMA
    )
    return connection


def set_clock(session: Session, now: int | None) -> None:
    """Let the bank's business time be `now` and go on from there; with None, be the machine's again."""
    session.connection.execute(
        "INSERT INTO clock VALUES (1, ?) ON CONFLICT (only_row) DO UPDATE SET offset_micros = excluded.offset_micros",
        (0 if now is None else now - session.machine_now,),
    )


def _ahead(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT offset_micros FROM clock").fetchone()
    return 0 if row is None else int(row["offset_micros"])


class _Job(Generic[T]):
    """Work to do, who waits for it, and what became of it."""

    def __init__(self, work: Work[T]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.result: T
        self.error: Exception | None = None

    def attempt(self, session: Session) -> None:
        """Do the work, leaving no trace in the books if it raises."""
        session.connection.execute("SAVEPOINT job")
        try:
            self.result = self.work(session)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the one who asked, not to the group
            session.connection.execute("ROLLBACK TO job")
            self.error = error
        session.connection.execute("RELEASE job")

    def deliver(self) -> None:
        """Tell who waits. Runs in the event loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Database:
    """Runs work on the books, each in a transaction of its own as far as it can tell.

    `before` runs first in every group: what falls due by itself has happened before anybody looks.
    """

    def __init__(self, path: Path, before: Work[None], clock: Clock | None = None) -> None:
        self._connection = connect(path)
        self._before = before
        self._clock = clock or SystemClock()
        self._queue: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="books", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """Do `work` and return its result after the commit. Raises what it raises, having undone it."""
        job = _Job(work)
        self._queue.put(job)  # type: ignore[arg-type]
        return await job.future

    def close(self) -> None:
        """Finish what is queued and close the file."""
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            group, closing = self._gather(job)
            self._commit(group)
            for waiting in group:
                waiting.loop.call_soon_threadsafe(waiting.deliver)
            if closing:
                return

    def _gather(self, first: _Job[object]) -> tuple[list[_Job[object]], bool]:
        group = [first]
        while len(group) < GROUP_LIMIT:
            try:
                job = self._queue.get_nowait()
            except Empty:
                return group, False
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _session(self) -> Session:
        machine_now, ahead = to_micros(self._clock.now()), _ahead(self._connection)
        return Session(self._connection, machine_now + ahead, ahead)

    def _commit(self, group: list[_Job[object]]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            session = self._session()
            self._before(session)
            for job in group:
                job.attempt(session)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - a full disk, say: nobody's work is in the books
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for job in group:
                job.error = error
