"""A worker that kills itself (-9) before and after each step of a transfer, once at each of these places.

`python -m tests.workflow.dying_worker FOLDER`: where it has died is kept in FOLDER.
"""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from infra.settings import settings
from infra.temporal import connect
from ledger.local import LocalLedger
from tests.workflow.across import Place, UnsteadyLedger
from worker import build_transfer_worker


async def work(folder: Path) -> None:
    """Polls the transfers' queue until it dies."""

    def die_once(place: Place) -> None:
        died = folder / f"{place[0]}-{place[1]}"
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    ledger = LocalLedger(settings())
    unsteady: Any = UnsteadyLedger(ledger, die_once)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(ledger.aclose)
        await stack.enter_async_context(build_transfer_worker(await connect(settings()), unsteady, settings()))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
