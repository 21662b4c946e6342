"""The process of `tests.money.payer` from its parent's side: started, listened to, killed."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.child import Child, Command
from infra.settings import Settings
from tests.stack.platform import until

GRACE_SECONDS = 10.0


class Payer:
    """A payer on the databases of these settings; `words` are its command line."""

    def __init__(self, home: Path, settings: Settings, *words: str) -> None:
        self._log = home / f"{'-'.join(words)[:60]}.log"
        self._child = Child(
            Command(
                name="payer",
                argv=[sys.executable, "-m", "tests.money.payer", *words],
                log=self._log,
                environment={
                    "SAGAPAY_STATE_DIR": str(home),
                    "SAGAPAY_SHARD_URLS": ",".join(settings.shard_urls),
                    "SAGAPAY_MIGRATION_URLS": ",".join(settings.migration_urls),
                    "SAGAPAY_DATABASE_TIMEOUT_SECONDS": str(settings.database_timeout_seconds),
                    "SAGAPAY_LEDGER_WRITERS": "1",
                },
            )
        )

    @property
    def told(self) -> dict[tuple[int, int], tuple[str, str]]:
        """The id and the decision that it was told, by group and place in it."""
        return {(int(group), int(nth)): (name, decision) for group, nth, name, decision in self._said("told")}

    def _said(self, what: str) -> list[list[str]]:
        whole = self._log.read_text().rpartition("\n")[0]  # The last line may be half of one.
        return [line.split()[1:] for line in whole.splitlines() if line.startswith(f"{what} ")]

    async def reaches(self, where: str, check: Callable[[], bool]) -> None:
        """Wait until it is there, and has sent all that it sends before it waits for an answer."""
        await self._until(where, check)
        beats = len(self._said("beat"))
        await self._until("two more beats", lambda: len(self._said("beat")) >= beats + 2)

    async def _until(self, what: str, check: Callable[[], bool]) -> None:
        def there() -> bool:
            assert self._child.code is None, self._log.read_text()
            return check()

        await asyncio.to_thread(until, what, there)

    def kill(self) -> None:
        """kill -9, at whatever it is doing."""
        assert self._child.code is None, self._log.read_text()
        os.kill(self._child.pid, signal.SIGKILL)
        assert self._child.wait(GRACE_SECONDS) == -signal.SIGKILL

    def stop(self) -> None:
        """For the end of a test."""
        self._child.stop(GRACE_SECONDS)


@contextmanager
def paying(home: Path, settings: Settings, *words: str) -> Iterator[Payer]:
    """A payer that is gone at the end."""
    payer = Payer(home, settings, *words)
    try:
        yield payer
    finally:
        payer.stop()
