"""The API over two shards: transfers between them, and what it answers while one of them is down."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from domain.ids import WalletId
from ledger.shards import shard_of
from tests.integration.test_api_express import another_api
from tests.money.scratch import Database, Databases, settings_of
from tests.rest.stage import WAIT_SECONDS, Person, Stage, staged
from tests.stack.bank import running_bank
from tests.stack.servers import Servers
from tests.workflow.temporal_server import running_temporal


@pytest.fixture(scope="module")
def pair(databases: Databases) -> Iterator[list[Database]]:
    with databases.shards(2) as made:
        yield made


@pytest.fixture(scope="module")
async def api(
    pair: list[Database], bare_servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """The API with its workers on two shards, with a Temporal server and a bank of its own."""
    home = tmp_path_factory.mktemp("api-shards")
    with running_bank(home / "bank") as bank:
        own = settings_of(pair, bare_servers.settings, bank_url=bank.url, settlement_poll_seconds=0.2)
        with running_temporal(home, own) as settings:
            async with staged(settings.model_copy(update={"database_timeout_seconds": 5}), bank) as stage:
                yield stage


@contextmanager
def _down(database: Database, elsewhere: Database) -> Iterator[None]:
    """Nobody can connect to it, and who was has lost the connection."""
    with elsewhere.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(f"ALTER DATABASE {database.name} WITH ALLOW_CONNECTIONS false".encode())
        connection.execute(others, [database.name])
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {database.name} WITH ALLOW_CONNECTIONS true".encode())


async def _people(api: Stage, shard: int, count: int, minor_units: int) -> list[Person]:
    """So many people on a shard: where a new user lives is chance."""
    found: list[Person] = []
    while len(found) < count:
        person = await api.linked()
        if shard_of(WalletId(person.wallet_id).bucket, 2) == shard:
            found.append(person)
    for person in found:
        deposit = await api.app.post("/v1/deposits", api.bank_body(person, minor_units))
        done = await api.app.get(deposit.headers["Location"], wait=WAIT_SECONDS)
        assert done.json()["status"] == "succeeded", done.text
    return found


async def test_transfers_between_shards_answer_as_all_others(api: Stage) -> None:
    (ann,), (eve,) = await _people(api, 0, 1, 500), await _people(api, 1, 1, 500)
    answers = await asyncio.gather(
        api.app.post("/v1/transfers", api.transfer_body(ann, eve, 10)),
        api.app.post("/v1/transfers", api.transfer_body(eve, ann, 20)),
    )
    assert [answer.json()["status"] for answer in answers] == ["succeeded"] * 2
    assert [len(await api.entries(person)) for person in (ann, eve)] == [3, 3]
    timeline = (await api.app.get(answers[0].headers["Location"])).json()["timeline"]
    assert [item["step"] for item in timeline] == ["send_transfer", "complete_transfer"]


@pytest.mark.parametrize("lane", ["workflow", "express"])
async def test_a_hold_pays_somebody_on_another_shard(api: Stage, lane: str) -> None:
    (ann,), (shop,) = await _people(api, 0, 1, 500), await _people(api, 1, 1, 500)
    async with another_api(api, transfer_lane=lane) as app:
        hold = await app.post("/v1/holds", {"wallet_id": ann.wallet_id, "amount": 400, "currency": "USD"})
        captures = f"{hold.headers['Location']}/captures"
        paid = await app.post(captures, {"receiver_id": shop.wallet_id, "amount": 150, "final": True})
        assert (paid.status_code, paid.json()["status"]) == (202, "succeeded"), paid.text
        ended = (await app.get(hold.headers["Location"])).json()
        assert (ended["status"], ended["captured"], ended["remaining"]) == ("captured", 150, 0)
    assert [await api.posted(person) for person in (ann, shop)] == [350, 650]


async def test_one_shard_that_is_down_takes_no_wallet_of_the_other_out_of_service(
    api: Stage, pair: list[Database]
) -> None:
    (ann, ben), (eve,) = await _people(api, 0, 2, 1_000), await _people(api, 1, 1, 1_000)
    there = await api.app.post("/v1/transfers", api.transfer_body(eve, ann, 100))
    assert (there.status_code, there.json()["status"]) == (202, "succeeded"), there.text
    with _down(pair[1], elsewhere=pair[0]):
        ready = await api.app.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert "without shard 1" in ready.json()["checks"]["ledger"]["detail"]
        assert await api.posted(ann) == 1_100
        within = await api.app.post("/v1/transfers", api.transfer_body(ann, ben, 50))
        assert (within.status_code, within.json()["status"]) == (202, "succeeded"), within.text
        lost = await api.app.get(f"/v1/wallets/{eve.wallet_id}")
        assert (lost.status_code, lost.json()["code"]) == (503, "ledger_unavailable")
        unknown = await api.app.post("/v1/transfers", api.transfer_body(eve, ann, 1), key="asked-again-later")
        assert unknown.status_code == 503
        across = await api.app.post("/v1/transfers", api.transfer_body(ann, eve, 200))
        assert (across.status_code, across.json()["status"]) == (202, "processing"), across.text
        assert await api.posted(ann) == 850
    done = await api.app.get(across.headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded", done.text
    again = await api.app.post("/v1/transfers", api.transfer_body(eve, ann, 1), key="asked-again-later")
    assert again.status_code == 202, again.text
    done = await api.app.get(again.headers["Location"], wait=WAIT_SECONDS)
    assert done.json()["status"] == "succeeded", done.text
    assert [await api.posted(person) for person in (ann, ben, eve)] == [851, 1_050, 1_099]
    assert (await api.app.get("/readyz")).json()["checks"]["ledger"] == {"status": "ok"}
