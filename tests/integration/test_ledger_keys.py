"""Idempotency: one key makes one effect, whoever asks how often, and gives the same answer for ever."""

import asyncio
from dataclasses import replace

import pytest

from domain.contracts.payments import IdempotencyRecord, PaymentRequest, StepResult
from domain.errors import IdempotencyKeyReused, LedgerRejected
from domain.ids import TransactionId
from domain.transactions import Step, StepDecision, TransactionKind, TransactionStatus
from ledger.local import LocalLedger
from tests.money.records import Records
from tests.money.requests import REFUSED_BY_BANK, Client, again

CALLERS = 100


def _key(request: PaymentRequest) -> IdempotencyRecord:
    assert request.idempotency is not None
    return request.idempotency


async def test_a_hundred_callers_of_one_key_make_one_payment(client: Client, records: Records) -> None:
    sender, receiver = await client.open_wallet(10_000), await client.open_wallet()
    request = client.request(TransactionKind.TRANSFER, 700, source=sender, destination=receiver)
    before = records.sizes()
    answers = await asyncio.gather(*(client.ledger.begin(again(request), Step.SETTLE_TRANSFER) for _ in range(CALLERS)))
    assert len({answer.transaction_id for answer in answers}) == 1
    assert {(answer.decision, answer.status) for answer in answers} == {
        (StepDecision.POSTED, TransactionStatus.SUCCEEDED)
    }
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * (CALLERS - 1)
    assert {answer.fingerprint for answer in answers} == {_key(request).fingerprint}
    assert (await client.money(sender), await client.money(receiver)) == ((9_300, 0), (700, 0))
    grown = {table: rows - before[table] for table, rows in records.sizes().items()}
    assert grown == {
        "transactions": 1,
        "transaction_steps": 1,
        "transaction_events": 1,
        "postings": 1,
        "ledger_entries": 2,
        "holds": 0,
        "idempotency_keys": 1,
        "outbox": 3,
    }


async def test_a_hundred_callers_with_two_bodies_get_one_payment_and_refusals(client: Client, records: Records) -> None:
    sender, receiver = await client.open_wallet(10_000), await client.open_wallet()
    one = client.request(TransactionKind.TRANSFER, 700, source=sender, destination=receiver, key="both")
    other = client.request(TransactionKind.TRANSFER, 800, source=sender, destination=receiver, key="both")
    assert _key(one).key_digest == _key(other).key_digest
    answers = await asyncio.gather(
        *(client.ledger.begin(again(body), Step.SETTLE_TRANSFER) for body in (one, other) * (CALLERS // 2)),
        return_exceptions=True,
    )
    answered = [answer for answer in answers if isinstance(answer, StepResult)]
    refused = [answer for answer in answers if isinstance(answer, IdempotencyKeyReused)]
    assert (len(answered), len(refused)) == (CALLERS // 2, CALLERS // 2)
    assert len({answer.transaction_id for answer in answered}) == 1
    paid = (await client.money(receiver))[0]
    assert paid in (700, 800)
    assert await client.money(sender) == (10_000 - paid, 0)
    assert records.value("SELECT count(*) FROM ledger.transactions WHERE source_wallet_id = %s", sender.uuid) == 1


async def test_the_same_key_with_another_body_is_refused_and_writes_nothing(client: Client, records: Records) -> None:
    sender, receiver = await client.open_wallet(10_000), await client.open_wallet()
    first = await client.transfer(sender, receiver, 5, key="lunch")
    before = records.sizes()
    with pytest.raises(IdempotencyKeyReused):
        await client.transfer(sender, receiver, 6, key="lunch")
    assert records.sizes() == before
    replayed = await client.transfer(sender, receiver, 5, key="lunch")
    assert (replayed.transaction_id, replayed.replayed) == (first.transaction_id, True)
    assert await client.money(receiver) == (5, 0)


async def test_a_refusal_is_recorded_once_and_stays_when_the_money_arrives(client: Client, records: Records) -> None:
    sender, receiver = await client.open_wallet(), await client.open_wallet()
    refused = await client.transfer(sender, receiver, 5, key="rent")
    await client.deposit(sender, 1_000)
    before = records.sizes()
    late = await client.transfer(sender, receiver, 5, key="rent")
    assert late == replace(refused, replayed=True)
    assert late.failure is not None
    assert late.failure.code == "insufficient_funds"
    assert records.sizes() == before
    assert await client.money(sender) == (1_000, 0)
    assert (await client.transfer(sender, receiver, 5, key="rent again")).decision is StepDecision.POSTED


async def test_a_replay_tells_where_the_payment_stands_now(client: Client) -> None:
    wallet = await client.open_wallet(1_000)
    begun = await client.begin_withdrawal(wallet, 400, key="cash")
    assert (await client.begin_withdrawal(wallet, 400, key="cash")).status is TransactionStatus.PROCESSING
    await client.take(begun, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)
    late = await client.begin_withdrawal(wallet, 400, key="cash")
    assert (late.transaction_id, late.replayed) == (begun.transaction_id, True)
    assert (late.decision, late.status, late.failure) == (
        StepDecision.POSTED,
        TransactionStatus.FAILED,
        REFUSED_BY_BANK,
    )
    assert await client.money(wallet) == (1_000, 0)


async def test_the_sweeper_resumes_without_a_key(client: Client, ledger: LocalLedger) -> None:
    wallet = await client.open_wallet(1_000)
    request = client.request(TransactionKind.WITHDRAWAL, 400, source=wallet)
    begun = await ledger.begin(request, Step.HOLD_WITHDRAWAL)
    resumed = await ledger.begin(replace(request, idempotency=None), Step.HOLD_WITHDRAWAL)
    assert resumed == replace(begun, replayed=True, fingerprint=None)
    assert await client.money(wallet) == (1_000, 400)
    unknown = replace(request, idempotency=None, transaction_id=TransactionId.new(wallet.bucket))
    with pytest.raises(LedgerRejected):
        await ledger.begin(unknown, Step.HOLD_WITHDRAWAL)
    assert await client.money(wallet) == (1_000, 400)


async def test_a_key_is_found_near_its_wallet(client: Client, ledger: LocalLedger) -> None:
    wallet = await client.open_wallet(1_000)
    request = client.request(TransactionKind.WITHDRAWAL, 400, source=wallet)
    assert await ledger.find_key(_key(request).key_digest, wallet) is None
    begun = await ledger.begin(request, Step.HOLD_WITHDRAWAL)
    found = await ledger.find_key(_key(request).key_digest, wallet)
    assert found is not None
    assert (found.transaction_id, found.fingerprint) == (begun.transaction_id, _key(request).fingerprint)


async def test_the_same_key_on_two_wallets_is_two_payments(client: Client) -> None:
    one, two = await client.open_wallet(100), await client.open_wallet(100)
    first, second = await client.transfer(one, two, 10, key="tip"), await client.transfer(two, one, 20, key="tip")
    assert first.transaction_id != second.transaction_id
    assert (await client.money(one), await client.money(two)) == ((110, 0), (90, 0))
