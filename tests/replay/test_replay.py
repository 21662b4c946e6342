"""Every history that a released version has written replays on the workflows as they are now. Needs no server.

Where this fails, running payments would get stuck at their next task: keep the old way behind `workflow.patched`, or
give the change a worker version of its own. Never record the corpus of a released version anew.
"""

from pathlib import Path

import pytest
from temporalio import workflow

from tests.replay.corpus import FOLDER, read, recorded, replay, replayer, secrets_in
from tests.replay.mutants import MUTANTS
from tests.workflow.across import WALKS as ACROSS
from tests.workflow.batch_walks import WALKS as BATCH_WALKS
from tests.workflow.every_path import PATHS
from tests.workflow.returning import RETURN_WALKS
from worker import WORKFLOWS

OF_V0_1 = {
    "deposit_paid",
    "deposit_refused",
    "deposit_unknown_then_found",
    "sweep",
    "transfer_insufficient_funds",
    "transfer_paid",
    "withdrawal_bank_down_then_back",
    "withdrawal_cancelled_in_the_ui",
    "withdrawal_cancelled_while_parked",
    "withdrawal_continued_as_new",
    "withdrawal_continued_as_new_2",
    "withdrawal_held_up_in_the_ledger",
    "withdrawal_insufficient_funds",
    "withdrawal_paid",
    "withdrawal_parked_then_retried",
    "withdrawal_refused",
    "withdrawal_reset_to_its_beginning_2",
    "withdrawal_settled_later",
    "withdrawal_terminated_then_swept",
    "withdrawal_terminated_then_swept_2",
    "withdrawal_unknown_then_found",
}
"""Histories that the corpus of v0.1 has at least."""
OF_BATCHES = {
    "batch_cancelled_in_the_ui",
    "batch_paid",
    "batch_paid_atomically",
    "batch_parked_atomically_then_retried",
    "batch_parked_then_retried",
    "batch_refused_atomically",
    "batch_terminated_then_swept",
    "batch_without_a_workflow_swept",
}
"""What batches have added to it."""
ACROSS_SHARDS = {
    "across_cancelled_though_received",
    "across_cancelled_while_parked",
    "across_paid",
    "across_parked_then_retried",
    "across_terminated_then_swept",
    "across_terminated_then_swept_2",
    "across_to_a_frozen_wallet",
}
"""What transfers between shards have added to it."""

RAILS = {
    "rails_both_refuse",
    "rails_deposit_falls_back_to_ach",
    "rails_deposit_over_ach",
    "rails_fallback_terminated_then_swept",
    "rails_fallback_terminated_then_swept_2",
    "rails_refusal_of_the_account_asks_no_other_rail",
    "rails_withdrawal_falls_back_to_ach",
    "rails_withdrawal_over_ach",
}
"""What payments over rails have added to it."""

CANCELLED_AT_THE_BANK = {
    "taken_back_deposit",
    "taken_back_is_not_what_is_booked",
    "taken_back_too_late",
    "taken_back_withdrawal",
}
"""What cancelling at the bank has added to it."""

OF_BANK_ACCOUNTS = {
    "bank_account_stopped_before_it_was_asked",
    "bank_account_stopped_before_it_was_asked_again",
    "bank_event_wakes_a_deposit",
}
"""What events of banks, and bank accounts that are stopped, have added to it."""

OF_RETURNS = {"return_booked", "return_parked", "return_watched"}
"""What returned payments have added to it."""

OF_OPERATORS = {"bank_events", "holds_expired", "transfer_from_a_hold", "withdrawal_forced_as_paid"}
"""What people's words on banks, holds, and what schedules run have added to it, at least."""

CORPORA = {
    "v0.1": OF_V0_1,
    "v0.1-batches": OF_BATCHES,
    "v0.1-shards": ACROSS_SHARDS,
    "v0.1-rails": RAILS,
    "v0.1-bank-accounts": OF_BANK_ACCOUNTS,
    "v0.1-returns": OF_RETURNS,
    "v0.1-taken-back": CANCELLED_AT_THE_BANK,
    "v0.1-operators": OF_OPERATORS,
    "v0.1-suspense": {"return_corrected"},
    "v0.1-webhooks": {"webhook_retries"},
    "v0.1-settled": {
        "deposit_resolved_as_settled",
        "deposit_resolved_as_the_bank_answers",
        "withdrawal_resolved_as_settled",
    },
    "v0.1-written-off": {"return_to_a_closed_wallet", "return_written_off"},
    "v0.1-captures": {"across_from_a_hold", "across_from_a_hold_to_a_frozen_wallet"},
}


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", recorded(), ids=_name)
async def test_replays(path: Path) -> None:
    await replay(read(path))


def test_the_corpus_has_every_path() -> None:
    names = {folder: {path.stem for path in recorded() if path.parent.name == folder} for folder in CORPORA}
    assert all(names[folder] >= wanted for folder, wanted in CORPORA.items())


def test_every_path_has_a_history() -> None:
    """Where this fails, record it: `python -m tests.replay.record VERSION-… unrecorded`."""
    across = {walk.__name__ for walk in ACROSS}
    wanted = PATHS.keys() | BATCH_WALKS.keys() | RETURN_WALKS.keys() | across
    assert wanted - {path.stem for path in recorded()} == set()


def test_every_workflow_has_a_history() -> None:
    registered = {
        getattr(kind, "__temporal_workflow_definition").name for kinds in WORKFLOWS.values() for kind in kinds
    }
    started = {
        history.events[0].workflow_execution_started_event_attributes.workflow_type.name
        for history in map(read, recorded())
    }
    assert registered - started == set()


@pytest.mark.parametrize("path", recorded(), ids=_name)
def test_carries_no_secret_and_no_name(path: Path) -> None:
    assert secrets_in(read(path)) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
async def test_a_careless_change_is_seen(mutant: type) -> None:
    history = read(FOLDER / "v0.1" / "withdrawal_paid.json")
    with pytest.raises(workflow.NondeterminismError):
        await replayer(mutant).replay_workflow(history)
