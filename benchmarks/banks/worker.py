"""The worker with a second bank: `python -m benchmarks.banks.worker URL` serves the bank at URL as OTHER, too."""

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from bank_adapters.breaker_states import SharedStates
from bank_adapters.port import Capabilities
from bank_adapters.simulated.adapter import SimulatedBank
from infra.redis import make_redis
from infra.secrets import Cipher
from infra.settings import Settings, settings
from infra.temporal import connect
from ledger.batches import Batches
from ledger.directory import Directory
from ledger.local import LocalLedger
from worker import build_workers, guarded

OTHER: Final = "other"
CALLS_PER_SECOND: Final = 15.0
"""Of the other bank: what this machine can well do, so that the bank's limit is what bounds it."""


@dataclass
class OtherBank:
    """The simulated bank under another name, and with a lower limit."""

    bank: SimulatedBank
    name: str = OTHER

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  -- whatever the bank has
        return getattr(self.bank, name)

    @property
    def capabilities(self) -> Capabilities:
        """See the port."""
        return replace(self.bank.capabilities, calls_per_second=CALLS_PER_SECOND)


async def work(own: Settings, url: str) -> None:
    """Polls every queue, and both banks' behind their breakers, until it is killed."""
    async with AsyncExitStack() as stack:
        ledger = LocalLedger(own)
        stack.push_async_callback(ledger.aclose)
        states = SharedStates(make_redis(own))
        stack.push_async_callback(states.aclose)
        other: Any = OtherBank(SimulatedBank(url, own.bank_request_timeout_seconds))
        here = SimulatedBank.from_settings(own)
        banks = guarded({here.name: here, OTHER: other}, states, own)
        directory = Directory(ledger.shards.all[0].engine, Cipher.from_settings(own))
        workers = build_workers(await connect(own), ledger, directory, Batches(ledger.shards), banks, settings=own)
        for each in workers:
            await stack.enter_async_context(each)
        (own.state_dir / "ready").mkdir(exist_ok=True)
        (own.state_dir / "ready" / "worker").touch()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(settings(), sys.argv[1]))
