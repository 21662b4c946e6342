"""Where a link stands says which way money may go."""

import pytest

from domain.bank_accounts import RELINKABLE, BankAccountStatus
from domain.transactions import TransactionKind

DEPOSIT, WITHDRAWAL = TransactionKind.DEPOSIT, TransactionKind.WITHDRAWAL


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (BankAccountStatus.PENDING_VERIFICATION, set()),
        (BankAccountStatus.ACTIVE, {DEPOSIT, WITHDRAWAL}),
        (BankAccountStatus.DEBITS_STOPPED, {WITHDRAWAL}),
        (BankAccountStatus.RELINK_REQUIRED, set()),
        (BankAccountStatus.VERIFICATION_FAILED, set()),
        (BankAccountStatus.UNLINKED, set()),
    ],
)
def test_which_payments_a_status_allows(status: BankAccountStatus, kinds: set[TransactionKind]) -> None:
    assert {kind for kind in (DEPOSIT, WITHDRAWAL) if status.why_not(kind) is None} == kinds


def test_every_link_can_be_ended_and_an_ended_one_stays_ended() -> None:
    unlinked = BankAccountStatus.UNLINKED
    assert all(status.may_become(unlinked) for status in BankAccountStatus if status is not unlinked)
    assert not any(unlinked.may_become(status) for status in BankAccountStatus)


def test_a_stop_is_lifted_by_linking_again_alone() -> None:
    stopped = {BankAccountStatus.DEBITS_STOPPED, BankAccountStatus.RELINK_REQUIRED}
    assert stopped < RELINKABLE
    assert not BankAccountStatus.RELINK_REQUIRED.may_become(BankAccountStatus.DEBITS_STOPPED)
