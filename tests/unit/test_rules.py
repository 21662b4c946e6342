"""The table of what steps do, walked along every path a payment can take."""

from collections import Counter
from collections.abc import Iterator

import pytest

from domain.transactions import Step, TransactionKind, TransactionStatus, move
from ledger import rules
from ledger.rules import RULES, HoldChange, Role

Path = tuple[Step, ...]


def _next_steps(path: Path) -> list[Step]:
    """Which steps the table allows after those of `path`, as the writer reads it.

    The receiver's shard decides between the ends of a transfer that was sent: nothing else comes before its decision.
    """
    last = RULES[path[-1]]
    if path == (Step.SEND_TRANSFER,):
        return [Step.RECEIVE_TRANSFER, Step.REVERSE_TRANSFER]
    if path == (Step.SEND_TRANSFER, Step.RECEIVE_TRANSFER):
        return [Step.COMPLETE_TRANSFER]
    return [
        step
        for step, rule in RULES.items()
        if rule.kind is last.kind
        and rule.kind is not None
        and not rule.first
        and step not in path
        and rule.after in path
        and rule.not_after not in path
        and not last.then.final
    ]


def _whole_paths(path: Path) -> Iterator[Path]:
    following = _next_steps(path)
    if not following:
        yield path
    for step in following:
        yield from _whole_paths((*path, step))


FIRST = [step for step, rule in RULES.items() if rule.first]
PATHS = [path for step in FIRST for path in _whole_paths((step,))]
BETWEEN_SHARDS = Counter({Role.DUE_TO: -1, Role.DUE_FROM: 1})


def _moved(path: Path) -> Counter[Role]:
    """Debits less credits by role, in amounts of the payment; zero is left out."""
    moved: Counter[Role] = Counter()
    for step in path:
        rule = RULES[step]
        if rule.debit and rule.credit:
            moved[rule.debit] += 1
            moved[rule.credit] -= 1
    return Counter({role: amount for role, amount in moved.items() if amount})


def test_every_step_has_a_rule_and_every_kind_begins_in_its_ways() -> None:
    assert set(RULES) == set(Step)
    begins = {kind: [step for step in FIRST if RULES[step].kind is kind] for kind in TransactionKind}
    assert begins == {
        TransactionKind.DEPOSIT: [Step.RECORD_DEPOSIT],
        TransactionKind.WITHDRAWAL: [Step.HOLD_WITHDRAWAL],
        TransactionKind.TRANSFER: [Step.SETTLE_TRANSFER, Step.SEND_TRANSFER, Step.CAPTURE_HOLD],
    }


def test_the_paths_are_those_of_the_design() -> None:
    assert set(PATHS) == {
        (Step.SETTLE_TRANSFER,),
        (Step.CAPTURE_HOLD,),
        (Step.SEND_TRANSFER, Step.RECEIVE_TRANSFER, Step.COMPLETE_TRANSFER),
        (Step.SEND_TRANSFER, Step.REVERSE_TRANSFER),
        (Step.RECORD_DEPOSIT, Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT),
        (Step.RECORD_DEPOSIT, Step.FAIL_DEPOSIT),
        (Step.HOLD_WITHDRAWAL, Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL),
        (Step.HOLD_WITHDRAWAL, Step.RELEASE_WITHDRAWAL),
    }


@pytest.mark.parametrize("path", PATHS)
def test_every_path_ends_and_moves_its_status_legally(path: Path) -> None:
    status = TransactionStatus.PENDING
    for step in path:
        assert not status.final
        status = move(status, RULES[step].then)
    assert status.final


@pytest.mark.parametrize("path", PATHS)
def test_money_ends_where_it_was_sent_or_stays(path: Path) -> None:
    rule = RULES[path[-1]]
    expected: dict[Role, int] = {}
    if rule.then is TransactionStatus.SUCCEEDED:
        assert rule.kind is not None
        expected = {
            TransactionKind.TRANSFER: {Role.SOURCE: 1, Role.DESTINATION: -1},
            TransactionKind.DEPOSIT: {Role.SETTLEMENT: 1, Role.DESTINATION: -1},
            TransactionKind.WITHDRAWAL: {Role.SOURCE: 1, Role.SETTLEMENT: -1},
        }[rule.kind]
    across = BETWEEN_SHARDS if Step.RECEIVE_TRANSFER in path else {}
    assert _moved(path) == {**expected, **across}


SUSPENDING = (Step.SUSPEND_OUTGOING, Step.SUSPEND_INCOMING)
NOBODYS_FIRST = (*SUSPENDING, Step.WRITE_OFF_DEBT)
SAGAS = (HoldChange.PLACE, HoldChange.CAPTURE, HoldChange.RELEASE)


@pytest.mark.parametrize("path", PATHS)
def test_a_sagas_hold_is_placed_once_and_ended_once(path: Path) -> None:
    changes = [RULES[step].hold for step in path if RULES[step].hold in SAGAS]
    assert changes in ([], [HoldChange.PLACE, HoldChange.CAPTURE], [HoldChange.PLACE, HoldChange.RELEASE])
    assert bool(changes) is (RULES[path[0]].kind is TransactionKind.WITHDRAWAL)


@pytest.mark.parametrize("step", Step)
def test_a_posting_has_two_sides_and_they_differ(step: Step) -> None:
    rule = RULES[step]
    assert (rule.debit is None) is (rule.credit is None)
    assert rule.debit is None or rule.debit is not rule.credit
    assert {rule.debit, rule.credit} - {None} <= set(rule.roles)


@pytest.mark.parametrize("step", Step)
def test_excluding_is_mutual_and_order_stays_within_a_kind(step: Step) -> None:
    rule = RULES[step]
    begins = rule.first or rule.elsewhere or step in NOBODYS_FIRST
    assert begins is (rule.after is None)
    if rule.after is not None:
        assert RULES[rule.after].kind is rule.kind
    if rule.not_after is not None:
        assert RULES[rule.not_after].not_after is step


HOLD_WORDS = {
    None: "",
    HoldChange.PLACE: "placed on the source wallet",
    HoldChange.CAPTURE: "captured",
    HoldChange.RELEASE: "released",
    HoldChange.DRAW: "drawn on",
    HoldChange.DEFER: "placed on the destination wallet for what is at risk",
    HoldChange.MATURE: "released, of what was at risk",
    HoldChange.FORFEIT: "captured, of what was at risk",
}


@pytest.mark.parametrize("step", Step)
def test_the_page_says_what_the_code_does(step: Step) -> None:
    rule = RULES[step]
    (row,) = [line for line in (rules.__doc__ or "").splitlines() if line.startswith(f"| {step} ")]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        step,
        (rule.debit or "").replace("_", " "),
        (rule.credit or "").replace("_", " "),
        HOLD_WORDS[rule.hold],
        rule.then if rule.kind else "",
    ]


def test_what_is_cleared_undoes_what_was_suspended() -> None:
    pairs = dict(zip(SUSPENDING, (Step.CLEAR_OUTGOING, Step.CLEAR_INCOMING), strict=True))
    nobodys = {step for step, rule in RULES.items() if rule.kind is None}
    written_off = dict(zip(SUSPENDING, (Step.WRITE_OFF_OUTGOING, Step.WRITE_OFF_INCOMING), strict=True))
    assert nobodys == {*pairs, *pairs.values(), *written_off.values(), Step.WRITE_OFF_DEBT}
    for suspending, clearing in pairs.items():
        assert RULES[clearing].after is suspending
        assert (RULES[clearing].debit, RULES[clearing].credit) == (RULES[suspending].credit, RULES[suspending].debit)
        assert RULES[clearing].leads_to is None
    for suspending, writing_off in written_off.items():
        rule = RULES[writing_off]
        assert (rule.after, rule.not_after) == (suspending, pairs[suspending])
        assert {rule.debit, rule.credit} == {Role.SUSPENSE, Role.LOSSES}
        assert (rule.debit is Role.SUSPENSE) is (RULES[suspending].credit is Role.SUSPENSE)
