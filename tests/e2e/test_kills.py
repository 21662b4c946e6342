"""kill -9 of each part of the real platform in the middle of mixed payments: nothing is lost, nothing moves twice."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.stack.platform import Platform
from tests.traffic.checks import check_everything, check_with_the_command
from tests.traffic.killing import SUPERVISOR, VICTIMS, Strike, quick_platform, send_and_kill
from tests.traffic.traffic import Traffic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 20260302
PAYMENTS = 26


@pytest.fixture(scope="module")
def shaken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of this module's own, which the supervisor alone keeps whole."""
    own = quick_platform(tmp_path_factory.mktemp("shaken"))
    own.up()
    yield own
    own.down()
    assert own.processes() == []


@pytest.fixture(scope="module")
async def traffic(shaken: Platform) -> AsyncIterator[Traffic]:
    """The same people and the same dictionary through all kills."""
    async with Traffic(shaken, SEED) as running:
        yield running


@pytest.mark.parametrize("victim", VICTIMS)
async def test_a_kill_in_the_middle_of_payments_loses_nothing(traffic: Traffic, victim: str) -> None:
    restarts = traffic.platform.state().processes[victim].restarts
    await send_and_kill(traffic, traffic.mix.draw(PAYMENTS), [Strike((victim,))])
    assert traffic.platform.state().processes[victim].restarts > restarts
    await check_everything(traffic)


async def test_several_killed_at_once_lose_nothing(traffic: Traffic) -> None:
    strikes = [Strike(("postgres", "worker", "kafka")), Strike(("temporal", "api", "bank", "valkey"))]
    await send_and_kill(traffic, traffic.mix.draw(PAYMENTS), strikes)
    await check_everything(traffic)


async def test_a_killed_supervisor_loses_nothing_and_the_next_start_goes_on(traffic: Traffic) -> None:
    before = traffic.platform.state().supervisor_pid
    await send_and_kill(traffic, traffic.mix.draw(PAYMENTS), [Strike((SUPERVISOR,))])
    assert traffic.platform.state().supervisor_pid != before
    await check_everything(traffic)
    await check_with_the_command(traffic)
