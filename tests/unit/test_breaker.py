"""The circuit breaker of one process: what opens it, what does not, and how it closes."""

from dataclasses import dataclass

import pytest

from bank_adapters.breaker import Breaker, BreakerRules, Phase
from bank_adapters.breaker_states import OwnStates
from domain.errors import BankUnavailable

RULES = BreakerRules(calls=20, failures=5, pause_seconds=10, probes=3)


@dataclass
class Bench:
    """A breaker and its clock."""

    seconds: float = 1_000.0

    def __post_init__(self) -> None:
        self.states = OwnStates(self.now)
        self.breaker = Breaker("bank", self.states, RULES, self.now)

    def now(self) -> float:
        return self.seconds

    async def call(self, subject: str, *, failed: bool) -> None:
        """One call from its beginning to its end."""
        await self.breaker.leave(await self.breaker.enter(), subject, failed=failed)

    async def opened(self) -> None:
        """Five payments in a row have failed."""
        for number in range(5):
            await self.call(f"txn_{number}", failed=True)
        assert self.breaker.phase is Phase.OPEN

    async def half_opened(self) -> None:
        """And the pause is over."""
        await self.opened()
        self.seconds += RULES.pause_seconds


async def test_a_few_payments_that_fail_open_it_and_the_refusal_says_when_to_come_back() -> None:
    bench = Bench()
    await bench.opened()
    with pytest.raises(BankUnavailable) as refusal:
        await bench.breaker.enter()
    assert refusal.value.retry_after_seconds is not None
    assert RULES.pause_seconds <= refusal.value.retry_after_seconds <= 1.5 * RULES.pause_seconds


async def test_one_payment_that_fails_for_ever_stops_nobody_else() -> None:
    bench = Bench()
    for _ in range(100):
        await bench.call("txn_poison", failed=True)
    await bench.call("txn_other", failed=False)
    assert bench.breaker.phase is Phase.CLOSED


async def test_it_stays_closed_while_more_than_half_of_the_calls_go_well() -> None:
    bench = Bench()
    for number in range(100):
        await bench.call(f"txn_{number}", failed=number % 3 == 0)
    assert bench.breaker.phase is Phase.CLOSED


async def test_half_of_the_calls_failing_is_enough() -> None:
    bench = Bench()
    for number in range(10):
        await bench.call(f"txn_{number}", failed=number % 2 == 1)
    assert bench.breaker.phase is Phase.OPEN


async def test_half_open_lets_a_few_through_and_anew_every_pause() -> None:
    bench = Bench()
    await bench.half_opened()
    for _ in range(2):
        for _ in range(RULES.probes):
            assert (await bench.breaker.enter()).phase is Phase.HALF_OPEN
        with pytest.raises(BankUnavailable):
            await bench.breaker.enter()
        bench.seconds += RULES.pause_seconds


async def test_it_closes_when_they_have_gone_well() -> None:
    bench = Bench()
    await bench.half_opened()
    for number in range(RULES.probes):
        assert bench.breaker.phase is Phase.HALF_OPEN
        await bench.call(f"txn_{number}", failed=False)
    assert bench.breaker.phase is Phase.CLOSED
    await bench.call("txn_4", failed=True)
    assert bench.breaker.phase is Phase.CLOSED, "what failed before the pause counts no more"


async def test_it_is_open_again_when_one_of_them_fails() -> None:
    bench = Bench()
    await bench.half_opened()
    await bench.call("txn_1", failed=False)
    await bench.call("txn_2", failed=True)
    with pytest.raises(BankUnavailable):
        await bench.breaker.enter()


async def test_calls_from_before_the_opening_end_without_a_word() -> None:
    bench = Bench()
    slow = [await bench.breaker.enter() for _ in range(10)]
    await bench.half_opened()
    for number in range(RULES.probes):
        await bench.call(f"txn_{number}", failed=False)
    for number, admission in enumerate(slow):
        await bench.breaker.leave(admission, f"txn_slow_{number}", failed=True)
    assert bench.breaker.phase is Phase.CLOSED
