"""The whole platform with the ledger in a process of its own: API and worker have no other way to money."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from signal import SIGCONT, SIGSTOP

import httpx
import psycopg
import pytest

from infra.local.probes import free_ports
from tests.stack.platform import Platform
from tests.traffic.checks import check_everything
from tests.traffic.killing import Strike, quick_platform, send_and_kill
from tests.traffic.traffic import Traffic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 20261122
PAYMENTS = 24


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of this module's own with the `ledger` role."""
    own = quick_platform(
        tmp_path_factory.mktemp("apart"),
        SAGAPAY_LOCAL_LEDGER="true",
        SAGAPAY_LEDGER_PORT=str(free_ports(1)[0]),
        SAGAPAY_LEDGER_TIMEOUT_SECONDS="2",
    )
    own.up()
    yield own
    own.down()
    assert own.processes() == []


@pytest.fixture(scope="module")
async def traffic(apart: Platform) -> AsyncIterator[Traffic]:
    """The same people and the same dictionary through all tests."""
    async with Traffic(apart, SEED) as running:
        yield running


def _transactions(platform: Platform) -> int:
    found = 0
    for url in platform.settings.shard_urls:
        with closing(psycopg.connect(url)) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM ledger.transactions").fetchall()
            found += rows[0]
    return found


async def test_transfers_deposits_and_withdrawals_go_through_it(traffic: Traffic) -> None:
    await traffic.send(traffic.mix.draw(PAYMENTS))
    await check_everything(traffic)


async def test_without_it_nothing_moves_and_callers_are_told_to_come_back(traffic: Traffic) -> None:
    platform, person = traffic.platform, traffic.model.people[0]
    before, headers = _transactions(platform), {"Authorization": f"Bearer {platform.app_key}"}
    async with httpx.AsyncClient(base_url=platform.api_url, headers=headers, timeout=30) as http:
        platform.kill("ledger", SIGSTOP)
        try:
            read = await http.get(f"/v1/wallets/{person.wallet_id}")
            assert (read.status_code, read.json()["code"]) == (503, "ledger_unavailable")
            assert read.headers["Retry-After"] == "1"
            assert (await http.get("/readyz")).json()["checks"]["ledger"]["status"] == "down"
            order = traffic.mix.deposit(person, 100)
            sent = await http.post(order.path, json=order.body, headers={"Idempotency-Key": order.key})
            assert sent.status_code == 503, sent.text
            assert _transactions(platform) == before
        finally:
            platform.kill("ledger", SIGCONT)
    await traffic.ask(order)
    await check_everything(traffic)


async def test_killed_in_the_middle_of_payments_it_loses_nothing(traffic: Traffic) -> None:
    restarts = traffic.platform.state().processes["ledger"].restarts
    await send_and_kill(traffic, traffic.mix.draw(PAYMENTS), [Strike(("ledger",)), Strike(("ledger", "worker"))])
    assert traffic.platform.state().processes["ledger"].restarts == restarts + 2
    await check_everything(traffic)
