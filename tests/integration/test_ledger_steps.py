"""Every row of the table in ledger/rules.py: what a step does to balances, holds, statuses, timelines and events."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.contracts.wallets import ChangeKind
from domain.errors import IdempotencyKeyReused, IllegalTransition, LedgerRejected, NotFound
from domain.ids import TransactionId, WalletId
from domain.transactions import Step, StepDecision, TransactionKind, TransactionStatus
from ledger.local import LocalLedger
from ledger.rules import RULES
from ledger.service import AccountStatus
from tests.money.records import Records
from tests.money.requests import REFUSED_BY_BANK, Client, change_wallet

POSTED, REFUSED = StepDecision.POSTED, StepDecision.REFUSED
PROCESSING, SUCCEEDED, FAILED = TransactionStatus.PROCESSING, TransactionStatus.SUCCEEDED, TransactionStatus.FAILED
LEDGER_ENTRY = "entry.posted"


async def test_a_transfer_moves_money_in_one_commit(client: Client, records: Records, ledger: LocalLedger) -> None:
    sender, receiver = await client.open_wallet(1_000), await client.open_wallet(50)
    paid = await client.transfer(sender, receiver, 300)
    assert (paid.decision, paid.status, paid.failure, paid.replayed) == (POSTED, SUCCEEDED, None, False)
    assert await client.money(sender) == (700, 0)
    assert await client.money(receiver) == (350, 0)
    assert sorted(records.told(paid.transaction_id)) == [LEDGER_ENTRY, LEDGER_ENTRY, "transaction.completed"]
    transaction = await ledger.transaction(paid.transaction_id)
    assert transaction is not None
    assert (transaction.status, transaction.completed_at) == (SUCCEEDED, transaction.created_at)
    assert records.commits(paid.transaction_id) == 1


async def test_a_deposit_is_recorded_credited_and_settled(client: Client, records: Records) -> None:
    wallet = await client.open_wallet()
    begun = await client.begin_deposit(wallet, 500)
    assert (begun.decision, begun.status) == (POSTED, PROCESSING)
    assert await client.money(wallet) == (0, 0)
    credited = await client.take(begun, Step.CREDIT_DEPOSIT)
    assert (credited.decision, credited.status) == (POSTED, PROCESSING)
    assert await client.money(wallet) == (500, 0)
    assert (records.system("clearing"), records.system("bank_settlement")) == (500, 0)
    settled = await client.take(begun, Step.SETTLE_DEPOSIT)
    assert (settled.decision, settled.status) == (POSTED, SUCCEEDED)
    assert await client.money(wallet) == (500, 0)
    assert (records.system("clearing"), records.system("bank_settlement")) == (0, 500)
    assert sorted(records.told(begun.transaction_id)) == [
        *[LEDGER_ENTRY] * 4,
        "transaction.completed",
        "transaction.processing",
    ]


async def test_a_deposit_that_the_bank_refuses_leaves_no_money(client: Client, records: Records) -> None:
    wallet = await client.open_wallet()
    begun = await client.begin_deposit(wallet, 500)
    failed = await client.take(begun, Step.FAIL_DEPOSIT, failure=REFUSED_BY_BANK)
    assert (failed.decision, failed.status, failed.failure) == (POSTED, FAILED, REFUSED_BY_BANK)
    assert await client.money(wallet) == (0, 0)
    assert (records.system("clearing"), records.system("bank_settlement")) == (0, 0)
    assert records.told(begun.transaction_id) == ["transaction.processing", "transaction.failed"]


async def test_a_withdrawal_is_held_captured_and_settled(client: Client, records: Records) -> None:
    wallet = await client.open_wallet(1_000)
    begun = await client.begin_withdrawal(wallet, 400)
    assert (begun.decision, begun.status) == (POSTED, PROCESSING)
    assert await client.money(wallet) == (1_000, 400)
    assert records.hold(begun.transaction_id) == ("active", 400, 0)
    captured = await client.take(begun, Step.CAPTURE_WITHDRAWAL)
    assert (captured.decision, captured.status) == (POSTED, PROCESSING)
    assert await client.money(wallet) == (600, 0)
    assert records.hold(begun.transaction_id) == ("captured", 400, 400)
    assert (records.system("clearing"), records.system("bank_settlement")) == (-400, 1_000)
    settled = await client.take(begun, Step.SETTLE_WITHDRAWAL)
    assert (settled.decision, settled.status) == (POSTED, SUCCEEDED)
    assert await client.money(wallet) == (600, 0)
    assert (records.system("clearing"), records.system("bank_settlement")) == (0, 600)


async def test_a_released_withdrawal_gives_the_money_back(client: Client, records: Records) -> None:
    wallet = await client.open_wallet(1_000)
    begun = await client.begin_withdrawal(wallet, 400)
    released = await client.take(begun, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)
    assert (released.decision, released.status, released.failure) == (POSTED, FAILED, REFUSED_BY_BANK)
    assert await client.money(wallet) == (1_000, 0)
    assert records.hold(begun.transaction_id) == ("released", 400, 0)
    assert (records.system("clearing"), records.system("bank_settlement")) == (0, 1_000)


async def test_held_money_cannot_be_spent_or_held_again(client: Client) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet()
    await client.begin_withdrawal(wallet, 700)
    for refused in (await client.transfer(wallet, other, 301), await client.begin_withdrawal(wallet, 301)):
        assert refused.failure is not None
        assert (refused.decision, refused.status, refused.failure.code) == (REFUSED, FAILED, "insufficient_funds")
    assert (await client.transfer(wallet, other, 300)).decision is POSTED
    assert await client.money(wallet) == (700, 700)


async def test_the_whole_balance_can_be_spent_but_not_a_cent_more(client: Client) -> None:
    wallet, other = await client.open_wallet(10), await client.open_wallet()
    assert (await client.transfer(wallet, other, 11)).decision is REFUSED
    assert (await client.transfer(wallet, other, 10)).decision is POSTED
    assert (await client.transfer(wallet, other, 1)).decision is REFUSED
    assert await client.money(wallet) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "balance", "code"), [(ChangeKind.FREEZE, 1_000, "wallet_frozen"), (ChangeKind.CLOSE, 0, "wallet_closed")]
)
async def test_a_frozen_or_closed_wallet_begins_nothing(
    client: Client, ledger: LocalLedger, kind: ChangeKind, balance: int, code: str
) -> None:
    stopped, other = await client.open_wallet(balance), await client.open_wallet(1_000)
    await change_wallet(ledger, stopped, kind)
    begun = [
        await client.transfer(stopped, other, 1),
        await client.transfer(other, stopped, 1),
        await client.begin_deposit(stopped, 1),
        await client.begin_withdrawal(stopped, 1),
    ]
    assert [(result.decision, result.status, result.failure and result.failure.code) for result in begun] == [
        (REFUSED, FAILED, code)
    ] * 4
    assert (await client.money(stopped), await client.money(other)) == ((balance, 0), (1_000, 0))


async def test_a_frozen_wallet_finishes_what_was_accepted_before(client: Client, ledger: LocalLedger) -> None:
    wallet = await client.open_wallet(1_000)
    leaving, staying = await client.begin_withdrawal(wallet, 400), await client.begin_withdrawal(wallet, 100)
    arriving = await client.begin_deposit(wallet, 50)
    frozen = await change_wallet(ledger, wallet, ChangeKind.FREEZE)
    assert (frozen.status, frozen.posted, frozen.held) == (AccountStatus.FROZEN, 1_000, 500)
    await client.take(leaving, Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL)
    await client.take(staying, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)
    await client.take(arriving, Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT)
    assert await client.money(wallet) == (650, 0)
    await change_wallet(ledger, wallet, ChangeKind.UNFREEZE)
    assert (await client.begin_withdrawal(wallet, 650)).decision is POSTED


async def test_an_amount_in_another_currency_is_refused(client: Client) -> None:
    dollars, euros = await client.open_wallet(1_000), await client.open_wallet(1_000, currency="EUR")
    crossing = await client.transfer(dollars, euros, 10)
    wrong = await client.begin_deposit(dollars, 10, currency="EUR")
    for result in (crossing, wrong):
        assert result.failure is not None
        assert (result.decision, result.failure.code) == (REFUSED, "currency_mismatch")
    assert (await client.money(dollars), await client.money(euros)) == ((1_000, 0), (1_000, 0))


async def test_a_refusal_moves_nothing_and_is_told(client: Client, records: Records, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(), await client.open_wallet()
    refused = await client.transfer(wallet, other, 5)
    assert records.steps(refused.transaction_id) == [("settle_transfer", "refused")]
    assert records.told(refused.transaction_id) == ["transaction.failed"]
    transaction = await ledger.transaction(refused.transaction_id)
    assert transaction is not None
    assert transaction.failure == refused.failure
    assert transaction.completed_at == transaction.created_at
    assert [item.type for item in await ledger.timeline(refused.transaction_id)] == ["step.refused"]
    assert await ledger.entries(wallet, before_version=None, limit=10) == []


IN_PLACE_OF_SETTLING = (Step.SEND_TRANSFER, Step.CAPTURE_HOLD)
FIRST_STEPS = {rule.kind: step for step, rule in RULES.items() if rule.first and step not in IN_PLACE_OF_SETTLING}
LATER_STEPS = [step for step, rule in RULES.items() if not rule.first]
SEQUENCES: dict[TransactionKind, list[list[Step]]] = {
    TransactionKind.TRANSFER: [[]],
    TransactionKind.DEPOSIT: [
        [],
        [Step.CREDIT_DEPOSIT],
        [Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT],
        [Step.FAIL_DEPOSIT],
    ],
    TransactionKind.WITHDRAWAL: [
        [],
        [Step.CAPTURE_WITHDRAWAL],
        [Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL],
        [Step.RELEASE_WITHDRAWAL],
    ],
}


@pytest.mark.parametrize("kind", TransactionKind)
async def test_only_the_steps_in_their_order_are_taken(client: Client, records: Records, kind: TransactionKind) -> None:
    """Every payment in every state, and every later step tried on it: what no sequence has is never right."""
    legal = {tuple(sequence) for sequence in SEQUENCES[kind]}
    for sequence in SEQUENCES[kind]:
        wallet, other = await client.open_wallet(100), await client.open_wallet()
        request = client.request(
            kind,
            10,
            source=None if kind is TransactionKind.DEPOSIT else wallet,
            destination=None if kind is TransactionKind.WITHDRAWAL else other,
        )
        begun = await client.ledger.begin(request, FIRST_STEPS[kind])
        for step in sequence:
            failure = REFUSED_BY_BANK if RULES[step].then is FAILED else None
            await client.take(begun, step, failure=failure)
        for step in LATER_STEPS:
            if step in sequence or (*sequence, step) in legal:
                continue
            before = records.sizes(), await client.money(wallet), await client.money(other)
            with pytest.raises(LedgerRejected):
                await client.take(begun, step, failure=REFUSED_BY_BANK if RULES[step].then is FAILED else None)
            assert (records.sizes(), await client.money(wallet), await client.money(other)) == before


async def test_what_is_never_right_is_rejected_and_writes_nothing(client: Client, records: Records) -> None:
    wallet, other = await client.open_wallet(100), await client.open_wallet()
    unknown = WalletId.new(wallet.bucket)
    held = await client.begin_withdrawal(wallet, 10)
    before = records.sizes()
    with pytest.raises(LedgerRejected):
        await client.transfer(wallet, unknown, 1)
    with pytest.raises(LedgerRejected):
        await client.transfer(unknown, other, 1)
    with pytest.raises(LedgerRejected):
        await client.take(TransactionId.new(0), Step.CAPTURE_WITHDRAWAL)
    with pytest.raises(LedgerRejected):  # A release without a reason.
        await client.take(held, Step.RELEASE_WITHDRAWAL)
    with pytest.raises(LedgerRejected):  # A capture with one.
        await client.take(held, Step.CAPTURE_WITHDRAWAL, failure=REFUSED_BY_BANK)
    assert records.sizes() == before
    assert issubclass(IllegalTransition, LedgerRejected)
    assert not issubclass(IdempotencyKeyReused, LedgerRejected)


async def test_a_wallet_cannot_pay_itself(client: Client, records: Records) -> None:
    wallet = await client.open_wallet(100)
    before = records.sizes()
    with pytest.raises(LedgerRejected):
        await client.transfer(wallet, wallet, 1)
    assert records.sizes() == before
    assert await client.money(wallet) == (100, 0)


async def test_a_step_taken_again_gives_its_first_outcome(client: Client, records: Records) -> None:
    wallet = await client.open_wallet(100)
    begun = await client.begin_withdrawal(wallet, 40)
    first = await client.take(begun, Step.CAPTURE_WITHDRAWAL)
    before = records.sizes()
    late = await client.take(begun, Step.CAPTURE_WITHDRAWAL)
    assert (first.replayed, late.replayed) == (False, True)
    assert (late.decision, late.status) == (first.decision, first.status)
    await client.take(begun, Step.SETTLE_WITHDRAWAL)
    later = await client.take(begun, Step.CAPTURE_WITHDRAWAL)
    assert (later.decision, later.status, later.replayed) == (POSTED, SUCCEEDED, True)
    assert await client.money(wallet) == (60, 0)
    assert records.sizes()["ledger_entries"] == before["ledger_entries"] + 2


async def test_a_statement_is_newest_first_without_gap_and_pages_by_version(
    client: Client, ledger: LocalLedger
) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet()
    for amount in (1, 2, 3, 4):
        await client.transfer(wallet, other, amount)
    whole = await ledger.entries(wallet, before_version=None, limit=10)
    assert [(entry.version, entry.side, entry.amount, entry.balance_after) for entry in whole] == [
        (5, "DEBIT", 4, 990),
        (4, "DEBIT", 3, 994),
        (3, "DEBIT", 2, 997),
        (2, "DEBIT", 1, 999),
        (1, "CREDIT", 1_000, 1_000),
    ]
    first = await ledger.entries(wallet, before_version=None, limit=2)
    rest = await ledger.entries(wallet, before_version=first[-1].version, limit=10)
    assert [*first, *rest] == list(whole)


async def test_opening_a_wallet_again_changes_nothing(client: Client, ledger: LocalLedger) -> None:
    wallet = await client.open_wallet(100)
    before = await client.wallet(wallet)
    await ledger.open_wallet(wallet, before.user_id, before.client_id, "USD")
    assert await client.wallet(wallet) == before


async def test_what_is_not_there_is_not_found(client: Client, ledger: LocalLedger) -> None:
    assert await ledger.wallet(WalletId.new(1)) is None
    assert await ledger.transaction(TransactionId.new(1)) is None
    assert list(await ledger.timeline(TransactionId.new(1))) == []
    assert await ledger.find_key("00" * 16, WalletId.new(1)) is None
    with pytest.raises(NotFound):
        await change_wallet(ledger, WalletId.new(1), ChangeKind.FREEZE)
    assert client.ledger is ledger


async def test_time_never_runs_backwards_within_an_account(
    client: Client, records: Records, ledger: LocalLedger
) -> None:
    sender, receiver = await client.open_wallet(1_000), await client.open_wallet()
    ahead = datetime.now(UTC) + timedelta(hours=1)
    records.rows("UPDATE ledger.accounts SET updated_at = %s WHERE account_id = %s RETURNING 1", ahead, receiver.uuid)
    await client.transfer(sender, receiver, 10)
    for wallet in (sender, receiver):
        (last,) = await ledger.entries(wallet, before_version=None, limit=1)
        assert last.created_at == ahead
