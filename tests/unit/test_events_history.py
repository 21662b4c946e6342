"""What a wallet sees of a transaction."""

from hypothesis import given
from hypothesis import strategies as st

from domain.events import TransactionEvent
from domain.ids import TransactionId, WalletId
from domain.transactions import LEGAL_MOVES, TransactionKind, TransactionStatus
from events.history import later, newest, rows_of
from tests.events.outbox_rows import transaction_event

SENDER, RECEIVER = WalletId.new(1), WalletId.new(2)


def event(status: TransactionStatus, kind: TransactionKind = TransactionKind.TRANSFER) -> TransactionEvent:
    sides = {
        TransactionKind.TRANSFER: {"sender": SENDER, "receiver": RECEIVER},
        TransactionKind.DEPOSIT: {"receiver": RECEIVER},
        TransactionKind.WITHDRAWAL: {"sender": SENDER},
    }
    made = transaction_event(status, kind=kind, **sides[kind]).event
    assert isinstance(made, TransactionEvent)
    return made


def test_both_sides_see_a_transfer_that_succeeded() -> None:
    out, into = rows_of(event(TransactionStatus.SUCCEEDED))
    assert (out.wallet_id, out.item.direction, out.item.counterparty_id) == (SENDER, "out", RECEIVER)
    assert (into.wallet_id, into.item.direction, into.item.counterparty_id) == (RECEIVER, "in", SENDER)
    assert out.item.amount == into.item.amount == 1234


def test_a_transfer_that_failed_is_the_senders_own_affair() -> None:
    (out,) = rows_of(event(TransactionStatus.FAILED))
    assert (out.wallet_id, out.item.failure_code) == (SENDER, "insufficient_funds")


def test_a_deposit_comes_in_and_a_withdrawal_goes_out_from_their_beginning() -> None:
    for status in (TransactionStatus.PROCESSING, TransactionStatus.SUCCEEDED, TransactionStatus.FAILED):
        (into,) = rows_of(event(status, TransactionKind.DEPOSIT))
        assert (into.wallet_id, into.item.direction, into.item.counterparty_id) == (RECEIVER, "in", None)
        (out,) = rows_of(event(status, TransactionKind.WITHDRAWAL))
        assert (out.wallet_id, out.item.direction) == (SENDER, "out")
        assert out.item.bank_account_id is not None


def test_every_legal_move_is_to_a_later_status() -> None:
    for status, targets in LEGAL_MOVES.items():
        assert not later(status, status)
        for target in targets:
            assert later(target, status)
            assert not later(status, target)


@given(st.lists(st.sampled_from([TransactionStatus.PROCESSING, TransactionStatus.SUCCEEDED]), min_size=1), st.data())
def test_the_newest_row_does_not_depend_on_the_order(statuses: list[TransactionStatus], data: st.DataObject) -> None:
    tx_id = TransactionId.new(3)
    rows = [
        row
        for status in statuses
        for row in rows_of(event(status, TransactionKind.DEPOSIT).model_copy(update={"tx_id": tx_id}))
    ]
    shuffled = data.draw(st.permutations(rows))
    (kept,) = newest(shuffled)
    best = TransactionStatus.SUCCEEDED if TransactionStatus.SUCCEEDED in statuses else TransactionStatus.PROCESSING
    assert kept.item.status == best
