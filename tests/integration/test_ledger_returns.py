"""Returned payments: what a bank takes back, what a wallet then owes, and how that is paid."""

import asyncio

import pytest

from domain.contracts.payments import ReturnNotice, StepResult
from domain.contracts.wallets import ChangeKind
from domain.errors import LedgerRejected, WalletInUse
from domain.ids import WalletId
from domain.transactions import Step, StepDecision, TransactionStatus
from tests.money.records import Records
from tests.money.requests import Client, change_wallet
from tests.money.write_offs import owing

RETURNED = TransactionStatus.RETURNED
NOTICE = ReturnNotice(reference="ret-1", code="R10", detail="not authorised")


async def _standing(client: Client, wallet: WalletId) -> tuple[int, int, int]:
    found = await client.wallet(wallet)
    return found.posted, found.held, found.owed


def _receivable(records: Records) -> int:
    return records.value("SELECT coalesce(sum(balance), 0)::bigint FROM ledger.accounts WHERE kind = 'receivable'")


async def test_a_returned_deposit_is_taken_back_from_the_wallet(client: Client, records: Records) -> None:
    wallet, receivable = await client.open_wallet(50), _receivable(records)
    deposit = await client.deposit(wallet, 500)
    returned = await client.take_back(deposit, Step.RETURN_DEPOSIT, NOTICE)
    assert (returned.decision, returned.status, returned.failure) == (StepDecision.POSTED, RETURNED, None)
    assert await _standing(client, wallet) == (50, 0, 0)
    assert (records.system("bank_settlement"), _receivable(records)) == (50, receivable)
    assert records.told(deposit.transaction_id)[-1] == "transaction.returned"
    ((event,),) = records.rows(
        "SELECT data->'failure' FROM ledger.outbox WHERE type = 'transaction.returned' AND data->>'tx_id' = %s",
        str(deposit.transaction_id),
    )
    assert event == {"code": "R10", "detail": "not authorised"}
    said = [item for item in await client.ledger.timeline(deposit.transaction_id) if item.step == Step.RETURN_DEPOSIT]
    assert [item.detail for item in said] == [{"code": "R10", "detail": "not authorised", "reference": "ret-1"}]


async def test_what_the_wallet_lacks_is_owed_and_never_taken_from_what_is_held(
    client: Client, records: Records
) -> None:
    wallet, receivable = await client.open_wallet(100), _receivable(records)
    deposit = await client.deposit(wallet, 500)
    await client.begin_withdrawal(wallet, 250)
    await client.transfer(wallet, await client.open_wallet(), 300)
    await client.take_back(deposit, Step.RETURN_DEPOSIT)
    assert await _standing(client, wallet) == (250, 250, 450)
    assert _receivable(records) == receivable + 450


async def test_a_wallet_that_owes_pays_nobody(client: Client) -> None:
    wallet = await owing(client, 300)
    asked = [
        await client.transfer(wallet, await client.open_wallet(), 1),
        await client.begin_withdrawal(wallet, 1),
    ]
    assert [result.failure and result.failure.code for result in asked] == ["wallet_owes", "wallet_owes"]


async def test_what_comes_pays_the_debt_first_in_its_own_commit(client: Client, records: Records) -> None:
    receivable = _receivable(records)
    wallet, friend = await owing(client, 300), await client.open_wallet(1_000)
    paid = await client.transfer(friend, wallet, 120)
    assert await _standing(client, wallet) == (0, 0, 180)
    assert records.commits(paid.transaction_id) == 1
    assert sorted(records.told(paid.transaction_id)) == [*["entry.posted"] * 4, "transaction.completed"]
    await client.deposit(wallet, 200)
    assert await _standing(client, wallet) == (20, 0, 0)
    assert _receivable(records) == receivable
    assert (await client.transfer(wallet, friend, 20)).failure is None


async def test_money_that_is_let_go_pays_with_what_comes_next(client: Client) -> None:
    wallet = await client.open_wallet()
    deposit = await client.deposit(wallet, 500)
    withdrawal = await client.begin_withdrawal(wallet, 500)
    await client.take_back(deposit, Step.RETURN_DEPOSIT)
    assert await _standing(client, wallet) == (500, 500, 500)
    await client.take(withdrawal, Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL)
    assert await _standing(client, wallet) == (0, 0, 500)
    await client.take_back(withdrawal, Step.RETURN_WITHDRAWAL)
    assert await _standing(client, wallet) == (0, 0, 0)


async def test_a_returned_withdrawal_is_in_the_wallet_again(client: Client, records: Records) -> None:
    wallet = await client.open_wallet(1_000)
    withdrawal = await client.withdraw(wallet, 400)
    returned = await client.take_back(withdrawal, Step.RETURN_WITHDRAWAL)
    assert (returned.decision, returned.status) == (StepDecision.POSTED, RETURNED)
    assert await _standing(client, wallet) == (1_000, 0, 0)
    assert records.system("bank_settlement") == 1_000


async def test_a_return_is_taken_once(client: Client) -> None:
    wallet = await client.open_wallet()
    deposit = await client.deposit(wallet, 500)
    first = await client.take_back(deposit, Step.RETURN_DEPOSIT, NOTICE)
    again = await client.take_back(deposit, Step.RETURN_DEPOSIT, ReturnNotice(reference="ret-2", code="R01"))
    assert (first.replayed, again.replayed, again.decision) == (False, True, first.decision)
    assert await _standing(client, wallet) == (0, 0, 0)


async def test_only_what_has_settled_comes_back_and_only_with_a_notice(client: Client) -> None:
    wallet = await client.open_wallet(100)
    begun = await client.begin_deposit(wallet, 500)
    settled = await client.deposit(wallet, 500)

    async def wrong(begun: StepResult, step: Step, words: str) -> None:
        with pytest.raises(LedgerRejected, match=words):
            await client.take_back(begun, step)

    await wrong(begun, Step.RETURN_DEPOSIT, "wants settle_deposit to be posted before")
    await wrong(settled, Step.RETURN_WITHDRAWAL, "is not a step of a deposit")
    with pytest.raises(LedgerRejected, match="wants a notice"):
        await client.take(settled, Step.RETURN_DEPOSIT)
    with pytest.raises(LedgerRejected, match="wants a notice"):
        await client.take_back(begun, Step.CREDIT_DEPOSIT)
    assert await _standing(client, wallet) == (600, 0, 0)


async def test_a_wallet_that_owes_cannot_be_closed(client: Client) -> None:
    wallet = await owing(client, 70)
    with pytest.raises(WalletInUse, match="owes 70"):
        await change_wallet(client.ledger, wallet, ChangeKind.CLOSE)


async def test_many_who_owe_are_paid_at_once(client: Client, records: Records) -> None:
    receivable = _receivable(records)
    debtors = [await owing(client, 100) for _ in range(6)]
    friend = await client.open_wallet(10_000)
    paid = await asyncio.gather(*(client.transfer(friend, wallet, 30) for wallet in debtors * 5))
    assert {result.failure for result in paid} == {None}
    assert [await _standing(client, wallet) for wallet in debtors] == [(50, 0, 0)] * 6
    assert await _standing(client, friend) == (10_000 - 30 * 30, 0, 0)
    assert _receivable(records) == receivable
