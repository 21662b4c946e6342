"""The worker with a second bank: `python -m benchmarks.banks.worker URL` serves the bank at URL as OTHER, too."""

import sys
from contextlib import aclosing
from typing import Final

import uvloop

from bank_adapters.breaker_states import SharedStates
from bank_adapters.simulated.adapter import SimulatedBank
from infra.redis import make_redis
from infra.role import rest_collector
from infra.settings import Settings, settings
from tests.stack.bank import OTHER, other_bank
from tests.workflow.worker_process import work_for
from worker import guarded

CALLS_PER_SECOND: Final = 15.0
"""Of the other bank: what this machine can well do, so that the bank's limit is what bounds it."""


async def work(own: Settings, url: str) -> None:
    """Polls every queue, and both banks' behind their breakers, until it is killed."""
    here = SimulatedBank.from_settings(own)
    other = other_bank(SimulatedBank(url, own.bank_request_timeout_seconds), CALLS_PER_SECOND)
    async with aclosing(SharedStates(make_redis(own))) as states:
        await work_for(guarded({here.name: here, OTHER: other}, states, own), own)


if __name__ == "__main__":
    rest_collector()  # As every role does.
    uvloop.run(work(settings(), sys.argv[1]))
