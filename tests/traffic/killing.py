"""kill -9 in the middle of traffic."""

import asyncio
import signal
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.stack.platform import Platform, until
from tests.traffic.mix import Sending
from tests.traffic.traffic import Traffic

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


@dataclass(frozen=True, slots=True)
class Strike:
    """What is hit at once: killed, or stopped for `frozen_seconds` and let go again, as a process that was swapped out.

    It comes `late_seconds` after the answer that it waited for, so that campaigns hit everywhere.
    """

    victims: tuple[str, ...]
    frozen_seconds: float = 0
    late_seconds: float = 0

    def __str__(self) -> str:
        verb = f"freeze for {self.frozen_seconds:.1f} s" if self.frozen_seconds else "kill -9"
        return f"{verb} {' + '.join(self.victims)}"


def quick_platform(home: Path, **variables: str) -> Platform:
    """A platform of one's own that is impatient with banks; it is not started yet."""
    return Platform(home, **QUICK, **variables)


async def send_and_kill(traffic: Traffic, sendings: Sequence[Sending], strikes: Sequence[Strike]) -> None:
    """Send all; strike whenever another part of the payments is answered, the first time surely in the middle.

    Returns when everything was answered and everything runs again.
    """
    share = len(sendings) // (len(strikes) + 2)
    assert share, "a strike wants payments before and after it"
    sending = asyncio.create_task(traffic.send(sendings))
    try:
        for strike in strikes:
            await _before(sending, traffic.until_answered(share))
            assert not sending.done() or strike is not strikes[0]
            await asyncio.sleep(strike.late_seconds)
            await hit(traffic.platform, strike)
        await sending
    finally:
        sending.cancel()
    await all_back(traffic.platform, strikes)


async def hit(platform: Platform, strike: Strike) -> None:
    """Strike, once all victims are there. The supervisor alone is brought back at once, as a person would do it."""
    if strike.victims == (SUPERVISOR,):
        platform.kill(SUPERVISOR)
        await asyncio.to_thread(until, "nothing is left", lambda: platform.processes() == [], RESTART_SECONDS)
        assert not platform.runs()
        await asyncio.to_thread(platform.up)
        return
    for victim in strike.victims:
        await asyncio.to_thread(platform.wait_restarted, victim, RESTART_SECONDS)
    for victim in strike.victims:
        platform.kill(victim, signal.SIGSTOP if strike.frozen_seconds else signal.SIGKILL)
    if strike.frozen_seconds:
        await asyncio.sleep(strike.frozen_seconds)
        for victim in strike.victims:
            platform.kill(victim, signal.SIGCONT)


async def all_back(platform: Platform, strikes: Sequence[Strike]) -> None:
    """Wait until the supervisor has restarted what was killed."""
    killed = {victim for strike in strikes if not strike.frozen_seconds for victim in strike.victims} - {SUPERVISOR}
    for victim in killed:
        await asyncio.to_thread(platform.wait_restarted, victim, RESTART_SECONDS)


async def _before(sending: "asyncio.Task[None]", event: Coroutine[object, object, None]) -> None:
    """Wait for the event, or for the end of the sending, whose error is raised."""
    waiting = asyncio.create_task(event)
    await asyncio.wait({sending, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        await sending
