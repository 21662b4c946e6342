"""kill -9 in the middle of traffic."""

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Final

from tests.stack.platform import Platform, until
from tests.traffic.mix import Sending
from tests.traffic.traffic import Traffic

Strike = Sequence[str]
"""What dies at once."""
VICTIMS: Final = ("worker", "api", "relay", "consumers", "temporal", "valkey", "bank", "postgres", "kafka")
SUPERVISOR: Final = "supervisor"
RESTART_SECONDS: Final = 150.0

# Shorter than in production, so that a test meets parking, look-ups and the sweeper within seconds.
QUICK: Final = {
    "SAGAPAY_SWEEP_INTERVAL_SECONDS": "2",
    "SAGAPAY_SWEEP_AFTER_SECONDS": "2",
    "SAGAPAY_BANK_REQUEST_TIMEOUT_SECONDS": "1",
    "SAGAPAY_BANK_QUICK_RETRY_SECONDS": "20",
    "SAGAPAY_BANK_SLOW_RETRY_SECONDS": "1",
    "SAGAPAY_SETTLEMENT_POLL_SECONDS": "0.5",
}


def quick_platform(home: Path) -> Platform:
    """A platform of one's own that is impatient with banks; it is not started yet."""
    return Platform(home, **QUICK)


async def send_and_kill(traffic: Traffic, sendings: Sequence[Sending], strikes: Sequence[Strike]) -> None:
    """Send all; kill each strike's victims at once when another part of the payments is answered.

    Returns when everything was answered and runs again.
    """
    share = len(sendings) // (len(strikes) + 2)
    assert share, "a strike wants payments before and after it"
    sending = asyncio.create_task(traffic.send(sendings))
    try:
        for victims in strikes:
            await _before(sending, traffic.until_answered(share))
            assert not sending.done()
            await strike(traffic.platform, victims)
        await sending
    finally:
        sending.cancel()


async def strike(platform: Platform, victims: Strike) -> None:
    """Kill them all at once and wait until they are back; the supervisor is started again as a person would."""
    for victim in victims:
        platform.kill(victim)
    if SUPERVISOR in victims:
        await asyncio.to_thread(until, "nothing is left", lambda: platform.processes() == [], RESTART_SECONDS)
        assert not platform.runs()
        await asyncio.to_thread(platform.up)
        return
    for victim in victims:
        await asyncio.to_thread(platform.wait_restarted, victim, RESTART_SECONDS)


async def _before(sending: "asyncio.Task[None]", event: Coroutine[object, object, None]) -> None:
    """Wait for the event, or for a failure of the sending, whose error is raised."""
    waiting = asyncio.create_task(event)
    await asyncio.wait({sending, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        await sending
