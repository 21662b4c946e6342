"""What the ledger really writes to its outbox is what docs/events/ promises, and so are the examples there."""

import json
from datetime import UTC, datetime
from uuid import UUID

import jsonschema_rs
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.contracts.payments import Attention
from domain.contracts.wallets import ChangeKind
from domain.events import TRANSACTIONS_TOPIC
from events.dead_letters import put_aside
from events.messages import EventUnreadable, Incoming, OutboxRow, outgoing
from events.streams import START, Position, Stream
from infra.database import transaction
from tests.house.event_schemas import FOLDER, committed
from tests.money.books import pay_in_every_way
from tests.money.holds import hold_in_every_way
from tests.money.records import Records
from tests.money.requests import Client, change_wallet
from tests.money.suspense import suspend_in_every_way
from tests.money.write_offs import write_off_in_every_way

_ROWS = """
    SELECT topic, lane, xid::text::bigint, id, event_id, key, type, data::text, created_at, trace FROM ledger.outbox
    ORDER BY xid, id
"""


def _wrong(message: object, schema: dict[str, object]) -> list[str]:
    return [str(error) for error in jsonschema_rs.validator_for(schema).iter_errors(message)]


async def change_in_every_way(client: Client) -> None:
    wallet = await client.open_wallet()
    for kind in (ChangeKind.FREEZE, ChangeKind.UNFREEZE, ChangeKind.CLOSE):
        await change_wallet(client.ledger, wallet, kind)


async def cannot_be_processed(engine: AsyncEngine) -> None:
    event = Incoming(Stream(0, TRANSACTIONS_TOPIC, 1), Position(7, 1), START, "transaction.completed", b"\xff{}")
    async with transaction(engine) as connection:
        await put_aside(connection, "tests", event, EventUnreadable("no JSON"))


async def need_a_person(client: Client) -> None:
    wallet = await client.open_wallet()
    parked = (await client.begin_deposit(wallet, 300)).transaction_id
    raised = Attention(step="credit_deposit", reason="bank_unavailable", since=datetime.now(UTC))
    for attention in (raised, raised, None, None):
        await client.ledger.note_attention(parked, attention)


async def test_every_message_is_as_its_schema_says(client: Client, records: Records) -> None:
    await pay_in_every_way(client)
    await hold_in_every_way(client)
    await suspend_in_every_way(client.ledger)
    await write_off_in_every_way(client)
    await change_in_every_way(client)
    await need_a_person(client)
    await cannot_be_processed(client.ledger.shards.all[0].engine)
    promised, seen = committed(), set()
    for topic, lane, xid, number, event_id, key, kind, data, created_at, trace in records.rows(_ROWS):
        assert isinstance(xid, int)
        assert isinstance(number, int)
        assert isinstance(event_id, UUID)
        row = OutboxRow(
            stream=Stream(0, str(topic), int(str(lane))),
            position=Position(xid, number),
            event_id=event_id,
            key=str(key),
            type=str(kind),
            data=str(data),
            created_at=created_at,  # type: ignore[arg-type]
            trace=trace and str(trace),
        )
        name = f"{row.type}.v1.json"
        assert _wrong(json.loads(outgoing(row, START).value), promised[name]) == []
        seen.add(name)
    assert seen == promised.keys()


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.json")))
def test_the_examples_are_as_their_schema_says(name: str) -> None:
    schema = committed()[name]
    assert [_wrong(example, schema) for example in schema["examples"]] == [[]]


def test_a_message_that_is_otherwise_is_noticed() -> None:
    schema = committed()["transaction.completed.v1.json"]
    (example,) = schema["examples"]
    assert _wrong(example | {"version": 2}, schema)
    assert _wrong(example | {"data": example["data"] | {"amount": "1250"}}, schema)
    assert _wrong({key: value for key, value in example.items() if key != "position"}, schema)
