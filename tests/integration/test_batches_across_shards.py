"""Batches whose receivers are on two shards: paid at once, or on their way while the other shard is down."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from temporalio.client import Client as Temporal
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

from activities.batches import BatchActivities
from api.batch_acceptance import BatchAcceptance
from api.idempotency import Shortcut
from api.parties import Parties
from api.problems import WrongFields
from api.schemas import TransferBatchBody
from api.temporal_link import TemporalLink
from domain.batches import BatchStatus
from domain.clock import SystemClock
from domain.contracts.batches import BatchCommand, BatchCounts, BatchSlice
from domain.contracts.payments import RetryPlan, StepCommand
from domain.contracts.wallets import ChangeKind
from domain.errors import NotOnOneShard
from domain.ids import UserId, WalletId, random_bucket
from domain.transactions import Step
from infra.local.probes import free_ports
from infra.redis import Cache, make_redis
from infra.secrets import Cipher
from infra.settings import Settings
from infra.temporal import connect
from ledger.batch_records import Batch
from ledger.batches import Batches
from ledger.directory import Directory, NewUser
from ledger.invariants import verify_shards
from ledger.local import LocalLedger
from tests.money.batches import Transfer, new_batch, unused_key
from tests.money.requests import Client, change_wallet
from tests.money.scratch import Databases, settings_of
from tests.stack.servers import Servers


@pytest.fixture(scope="module")
def two_shards(databases: Databases, bare_servers: Servers) -> Iterator[Settings]:
    """Settings of two empty shards."""
    with databases.shards(2) as shards:
        yield settings_of(shards, bare_servers.settings)


@pytest.fixture(scope="module")
async def both(two_shards: Settings) -> AsyncIterator[LocalLedger]:
    """The ledger on them. At the end nothing is wrong and nothing is owed."""
    ledger = LocalLedger(two_shards)
    yield ledger
    found = await verify_shards([shard.engine for shard in ledger.shards.all])
    assert [finding.violations for finding in found.findings if not finding.ok] == []
    await ledger.aclose()


@pytest.fixture(scope="module")
async def temporal(two_shards: Settings) -> Temporal:
    """A Temporal server where no worker is."""
    return await connect(two_shards)


@pytest.fixture
def app(both: LocalLedger) -> Client:
    """An app of this test's own."""
    return Client(both)


async def wallet(app: Client, shard: int, balance: int = 0) -> WalletId:
    """A wallet on a shard."""
    bucket = random_bucket() // 2 + 2048 * shard
    wallet_id = WalletId.new(bucket)
    await app.ledger.open_wallet(wallet_id, UserId.new(bucket), app.client_id, "USD")
    if balance:
        await app.deposit(wallet_id, balance)
    return wallet_id


async def paid(
    app: Client, ledger: LocalLedger, temporal: Temporal, sender: WalletId, transfers: list[Transfer]
) -> Batch:
    """A batch after its one slice, paid by a process that works with `ledger`."""
    batches = Batches(ledger.shards)
    batch, _ = await batches.accept(new_batch(app, sender, transfers), unused_key())
    activities = BatchActivities(ledger, batches, temporal, RetryPlan())
    part = BatchSlice(batch_id=batch.batch_id, first=0, end=len(transfers))
    await ActivityEnvironment().run(activities.pay_batch_items, part)
    await ActivityEnvironment().run(activities.close_batch, BatchCommand(batch_id=batch.batch_id))
    found = await batches.batch(batch.batch_id)
    assert found is not None
    return found


async def test_receivers_on_both_shards_are_paid(app: Client, both: LocalLedger, temporal: Temporal) -> None:
    sender, near = await wallet(app, 0, 100), await wallet(app, 0)
    far, frozen = await wallet(app, 1), await wallet(app, 1)
    await change_wallet(both, frozen, ChangeKind.FREEZE)
    batch = await paid(app, both, temporal, sender, [(near, 10), (far, 20), (frozen, 30), (far, 40), (near, 50)])
    assert (batch.status, batch.counts) == (BatchStatus.COMPLETED, BatchCounts(succeeded=3, failed=2))
    assert [await app.money(each) for each in (near, far, frozen)] == [(10, 0), (60, 0), (0, 0)]
    assert await app.money(sender) == (30, 0)


async def test_while_the_other_shard_is_down_its_transfers_are_on_their_way(
    app: Client, both: LocalLedger, temporal: Temporal, two_shards: Settings
) -> None:
    sender, near, far = await wallet(app, 0, 100), await wallet(app, 0), await wallet(app, 1)
    (dead,) = free_ports(1)
    urls = (two_shards.shard_urls[0], f"postgresql://sagapay_app@127.0.0.1:{dead}/nowhere")
    lame = LocalLedger(two_shards.model_copy(update={"shard_urls": urls}))
    batch = await paid(app, lame, temporal, sender, [(near, 10), (far, 20), (near, 30)])
    assert (batch.status, batch.counts) == (BatchStatus.PROCESSING, BatchCounts(succeeded=2, processing=1))
    await lame.aclose()
    batches = Batches(both.shards)
    (item,) = [each for each in await batches.items(batch.batch_id, first=0, limit=9) if each.receiver_id == far]
    assert item.transaction_id is not None
    sent = await both.transaction(item.transaction_id)
    assert sent is not None
    workflow = await temporal.get_workflow_handle(sent.workflow_id).describe()
    assert workflow.workflow_type == "TransferWorkflow"
    request = replace(app.request(sent.kind, 20, source=sender, destination=far), transaction_id=item.transaction_id)
    await both.receive_transfer(request)
    await both.take_step(StepCommand(transaction_id=item.transaction_id, step=Step.COMPLETE_TRANSFER))
    assert await batches.close(batch.batch_id) == BatchCounts(succeeded=3)
    found = await batches.batch(batch.batch_id)
    assert found is not None
    assert found.status is BatchStatus.COMPLETED
    assert await app.money(far) == (20, 0)
    with suppress(RPCError):  # Another test's worker may have ended it: there are no such wallets in its ledger.
        await temporal.get_workflow_handle(sent.workflow_id).terminate("the test is over")


@pytest.fixture
async def acceptance(both: LocalLedger, two_shards: Settings) -> AsyncIterator[BatchAcceptance]:
    """How the API takes batches, where Temporal does not answer."""
    parties = Parties(Directory(both.shards.all[0].engine, Cipher.from_settings(two_shards)), both, both.shards)
    redis = make_redis(two_shards)
    shortcut = Shortcut(Cache(redis, lambda operation, error: None))
    link = TemporalLink(two_shards, both, None)
    yield BatchAcceptance(Batches(both.shards), parties, both.shards, shortcut, link, clock=SystemClock())
    await redis.aclose()


async def test_an_atomic_batch_names_the_receivers_on_another_shard(
    both: LocalLedger, acceptance: BatchAcceptance, two_shards: Settings
) -> None:
    directory = Directory(both.shards.all[0].engine, Cipher.from_settings(two_shards))
    client_id = await directory.create_client("across")
    homes: dict[int, list[WalletId]] = {0: [], 1: []}
    while min(map(len, homes.values())) < 2:
        new = NewUser(client_id=client_id, currency="USD", name="Ada", email="ada@example.com")
        user, _ = await directory.create_user(new, unused_key())
        homes[both.shards.number_of(user.wallet_id)].append(user.wallet_id)
    transfers = [{"receiver_id": receiver, "amount": 1} for receiver in (homes[0][1], *homes[1][:2])]
    said = {"sender_id": homes[0][0], "currency": "USD", "transfers": transfers}
    with pytest.raises(WrongFields) as refused:
        await acceptance.accept(client_id, "atomic", TransferBatchBody.model_validate(said | {"mode": "atomic"}))
    assert refused.value.kind is NotOnOneShard
    assert [field.field for field in refused.value.fields] == ["transfers.1.receiver_id", "transfers.2.receiver_id"]
    accepted = await acceptance.accept(client_id, "each", TransferBatchBody.model_validate(said))
    assert accepted.batch.counts == BatchCounts(pending=3)
    assert await both.wallet(homes[1][0]) is not None
