"""The one writer. A group of steps is decided on locked accounts and written in the commit that makes it true.

Everything a step means (transaction, outcome, posting, entries, balances, hold, idempotency key, timeline, events) is
in one database transaction, and so are all steps of a group. `ledger/deciding.py` decides, `ledger/statements.py` says
in which order things are locked, `ledger/writers.py` makes the groups.

The statements of a group are few, however large it is: lock the accounts, claim the keys (one round trip); write and
commit (another). Later steps need their transactions before: one more round trip of two statements. Clients' holds are
locked on the way to the accounts. Keys that were used before cost one more statement.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.availability import Deferral
from domain.contracts.payments import Failure, StepResult
from domain.errors import DecisionCode, IdempotencyKeyReused, LedgerRejected, SagapayError
from domain.ids import HoldId, TransactionId
from domain.transactions import Step, TransactionStatus
from infra.database import Pipeline, transaction
from ledger import deciding, statements
from ledger.accounts import Account, SystemAccount
from ledger.deciding import Book, Recorded, Wanted, proposed, wanted_by
from ledger.queries import failure_of, hold_of, outcome_of, transaction_of
from ledger.records import Writing, array
from ledger.rules import KEYED_STEPS, RULES, HoldChange, Role
from ledger.service import AccountStatus, Transaction
from ledger.work import Answer, Begin, EndHold, Keyed, PlacedHold, PlaceHold, Receive, Take, Work

_BATCH_REFUSED: Final = Failure(code=DecisionCode.BATCH_REFUSED, detail=DecisionCode.BATCH_REFUSED.meaning)


class KeyWastedError(Exception):
    """Items of a group have claimed a key and are never right: without them, everything else is taken again."""

    def __init__(self, refused: dict[int, SagapayError]) -> None:
        self.refused = refused
        super().__init__(f"{len(refused)} items of a group are never right")


@dataclass(slots=True)
class _Item:
    """One work of a group on its way: the accounts that it wants, or already the answer."""

    work: Work
    transaction: Transaction | None = None
    wanted: Wanted = field(default_factory=dict)
    answer: Answer | None = None


@dataclass(slots=True)
class _Group:
    """What the steps of a group are decided against: all of it locked, and changed by each step for the next."""

    recorded: dict[TransactionId, Recorded]
    book: Book
    known: dict[str, StepResult | PlacedHold]
    """What is recorded under a key: by somebody before, or by an earlier item."""
    writing: Writing


async def post(
    pipeline: Pipeline, works: Sequence[Work], shards: int, also: Collection[SystemAccount] = ()
) -> list[Answer]:
    """Take the steps of a group in one commit on one of `shards` shards; the answers in the group's order.

    A step that was taken before answers what became of it. An answer that is an error concerns its item alone.
    Raises SystemAccountsMissing and KeyWastedError, after which nothing is written and the group can be repeated:
    with `also`, accounts of ours to lock that it has turned out to need.
    """
    recorded = await _lock_transactions(pipeline, [work for work in works if isinstance(work, Take)])
    items = [_prepare(work, recorded, shards) for work in works]
    group, claimed = await _lock(pipeline, items, recorded, also)
    answers = [item.answer or _answer(item, group) for item in items]
    if wasted := claimed - group.known.keys():
        raise KeyWastedError(
            {
                number: answer
                for number, (work, answer) in enumerate(zip(works, answers, strict=True))
                if isinstance(work, Keyed) and work.key.key_digest in wasted and isinstance(answer, SagapayError)
            }
        )
    if group.writing:
        await pipeline.run_and_commit(group.writing.statement())
    return answers


@dataclass(frozen=True, slots=True)
class Together:
    """All of some steps or none: the answers in their order, and what the caller is to write and commit.

    `refused` is the first of them that could not be taken, because of which none was.
    """

    answers: list[StepResult | IdempotencyKeyReused]
    refused: int | None
    writing: Writing


async def decide_together(pipeline: Pipeline, works: Sequence[Begin], also: Collection[SystemAccount] = ()) -> Together:
    """Take all of these first steps or none, once the caller commits.

    Where one is decided against, every other is refused with `batch_refused`. A key that was used before answers what
    became of it, or IdempotencyKeyReused. Raises LedgerRejected for what is never right, and SystemAccountsMissing,
    after which it can be repeated with those accounts in `also`.
    """
    items = [_prepare(work, {}, shards=1) for work in works]  # Their wallets are all on this one.
    group, claimed = await _lock(pipeline, items, {}, also)
    # Thousands of them: the process has other things to do meanwhile.
    return await asyncio.to_thread(_all_or_none, items, claimed, group)


def _all_or_none(items: list[_Item], claimed: frozenset[str], group: _Group) -> Together:
    answers = [_decided(item.answer or _answer(item, group)) for item in items]
    refused = next((number for number, answer in enumerate(answers) if not _is_taken(answer)), None)
    if refused is None:
        return Together(answers, None, group.writing)
    # The accounts in memory are as if all had been paid; none of it is written.
    writing = Writing()
    for number, item in enumerate(items):
        work, answer = item.work, answers[number]
        if isinstance(work, Begin) and work.key.key_digest in claimed:
            assert item.transaction is not None
            failure = answer.failure if number == refused and isinstance(answer, StepResult) else None
            answers[number] = deciding.refuse(
                work, item.transaction, item.wanted, group.book, writing, failure=failure or _BATCH_REFUSED
            )
    return Together(answers, refused, writing)


def _decided(answer: Answer) -> StepResult | IdempotencyKeyReused:
    if isinstance(answer, StepResult | IdempotencyKeyReused):
        return answer
    assert isinstance(answer, Exception), "a first step is answered by its outcome"
    raise answer


def _is_taken(answer: StepResult | IdempotencyKeyReused) -> bool:
    return isinstance(answer, StepResult) and answer.failure is None


async def open_accounts(engine: AsyncEngine, accounts: list[SystemAccount]) -> None:
    """Open our own accounts, in a commit of its own: a step that waited for another's with locks could deadlock."""
    rows = [{"account_id": a.hex, "kind": a.kind, "code": a.code, "currency": a.currency} for a in accounts]
    async with transaction(engine) as connection:
        await connection.execute(statements.OPEN_SYSTEM_ACCOUNTS, {"accounts": orjson.dumps(rows).decode()})


async def _lock_transactions(pipeline: Pipeline, works: list[Take]) -> dict[TransactionId, Recorded]:
    if not works:
        return {}
    ending = any(RULES[work.command.step].hold in (HoldChange.MATURE, HoldChange.FORFEIT) for work in works)
    ids = {"transaction_ids": array(sorted({work.command.transaction_id.hex for work in works}))}
    rows, steps, *deferred = await pipeline.run(
        (statements.LOCK_TRANSACTIONS, ids),
        (statements.STEPS_TAKEN, ids),
        *([(statements.DEFERRED, ids)] if ending else []),
    )
    recorded = {transaction.transaction_id: Recorded(transaction, {}) for transaction in map(transaction_of, rows)}
    for row in steps:
        of = recorded[TransactionId.of(row.transaction_id)]
        of.taken[Step(row.step)] = outcome_of(row, of.transaction.status, of.transaction.failure)
    for row in chain.from_iterable(deferred):
        waits = Deferral(amount=row.amount, available_at=row.available_at)
        recorded[TransactionId.of(row.transaction_id)].deferred = waits
    return recorded


def _prepare(work: Work, recorded: dict[TransactionId, Recorded], shards: int) -> _Item:
    try:
        match work:
            case PlaceHold():
                return _Item(work, wanted={Role.SOURCE: work.request.wallet_id})
            case EndHold():
                return _Item(work, wanted={Role.SOURCE: work.wallet_id})
            case Begin():
                transaction = proposed(work.request)
                return _Item(work, transaction, wanted_by(transaction, work.step, shards))
            case Receive():
                transaction = replace(proposed(work.request), status=TransactionStatus.PROCESSING)
                wanted = wanted_by(transaction, Step.RECEIVE_TRANSFER, shards)
                return _Item(work, transaction, {} if work.failure else wanted)
            case Take():
                return _prepare_later_step(work, recorded.get(work.command.transaction_id), shards)
    except SagapayError as error:
        return _Item(work, answer=error)


def _prepare_later_step(work: Take, found: Recorded | None, shards: int) -> _Item:
    if found is None:
        raise LedgerRejected(f"{work.command.transaction_id} is not recorded")
    if work.command.step in found.taken:
        return _Item(work)
    return _Item(work, found.transaction, wanted_by(found.transaction, work.command.step, shards, work.command.rail))


def _first_of_each_key(items: Sequence[_Item]) -> dict[str, Keyed]:
    """Who claims each key of the group, in the keys' order."""
    claims: dict[str, Keyed] = {}
    for item in items:
        if isinstance(item.work, Keyed) and item.answer is None:
            claims.setdefault(item.work.key.key_digest, item.work)
    return dict(sorted(claims.items()))


async def _lock(
    pipeline: Pipeline,
    items: Sequence[_Item],
    recorded: dict[TransactionId, Recorded],
    also: Collection[SystemAccount],
) -> tuple[_Group, frozenset[str]]:
    """What the items are decided against, and which of their keys are new. Raises SystemAccountsMissing."""
    keyed = _first_of_each_key(items)
    book, claimed = await _lock_accounts(pipeline, items, keyed, also)
    known = await _recorded_under(pipeline, [digest for digest in keyed if digest not in claimed])
    return _Group(recorded, book, known, Writing()), claimed


async def _lock_accounts(
    pipeline: Pipeline, items: Sequence[_Item], keyed: dict[str, Keyed], also: Collection[SystemAccount]
) -> tuple[Book, frozenset[str]]:
    """The holds and accounts of all items, and which of the keys are new. Raises SystemAccountsMissing."""
    hold_ids = sorted({hold_id.hex for item in items if (hold_id := _hold_of(item)) is not None})
    wanted = {account.hex for item in items for account in item.wanted.values()}
    ids = sorted(wanted | {account.hex for account in also})
    *answers, ((now,),) = await pipeline.run(
        *([(statements.LOCK_HOLDS, {"hold_ids": array(hold_ids)})] if hold_ids else []),
        *([(statements.LOCK_ACCOUNTS, {"account_ids": array(ids)})] if ids else []),
        *([(statements.CLAIM_KEYS, _claims(keyed))] if keyed else []),
        (statements.DATABASE_TIME, {}),
    )
    claimed = frozenset(row.key_digest for row in answers.pop()) if keyed else frozenset[str]()
    accounts = [account_in(row) for row in answers.pop()] if ids else []
    book = Book(accounts, now, [hold_of(row) for row in answers.pop()] if hold_ids else [])
    book.demand_system_accounts(item.wanted for item in items)
    return book, claimed


def _hold_of(item: _Item) -> HoldId | None:
    """The client's hold that an item takes from."""
    if isinstance(item.work, EndHold):
        return item.work.hold_id
    return item.work.request.hold_id if isinstance(item.work, Begin) and item.answer is None else None


def account_in(row: Any) -> Account:  # noqa: ANN401  -- a row of the driver's
    """An account as LOCK_ACCOUNTS answers it."""
    digits, kind, currency, balance, held, floor, version, status, *rules = row
    return Account(digits, kind, currency, balance, held, floor, version, AccountStatus(status), *rules)


def _claims(keyed: dict[str, Keyed]) -> dict[str, object]:
    return {
        "key_digests": array(list(keyed)),
        "fingerprints": array([work.key.fingerprint for work in keyed.values()]),
        "transaction_ids": array([work.proposed_id.hex for work in keyed.values()]),
    }


async def _recorded_under(pipeline: Pipeline, digests: list[str]) -> dict[str, StepResult | PlacedHold]:
    """What was recorded under these keys: the outcome of the first step, with where the payment stands now.

    A key that is no payment's is a hold's, or a batch's: its fingerprint then says that it is another request.
    """
    if not digests:
        return {}
    values = {"key_digests": array(digests), "keyed_steps": array(list(KEYED_STEPS))}
    (rows,) = await pipeline.run((statements.RECORDED_UNDER, values))
    return {row.key_digest: _first_outcome(row) for row in rows}


def _first_outcome(row: Any) -> StepResult | PlacedHold:  # noqa: ANN401  -- a row of the driver's
    if row.step is None and row.status is None:
        return PlacedHold(HoldId.of(row.transaction_id), row.fingerprint)
    if row.step is None:
        raise LedgerRejected(f"{row.transaction_id} is recorded without a first step")
    # What was received for another shard's transaction says nothing of how that stands.
    status = TransactionStatus.PROCESSING if row.status is None else TransactionStatus(row.status)
    outcome = outcome_of(row, status, failure_of(row))
    return replace(outcome, fingerprint=row.fingerprint)


def _answer(item: _Item, group: _Group) -> Answer:
    try:
        match item.work:
            case Take() as work:
                recorded = group.recorded[work.command.transaction_id]
                return recorded.take(work, item.wanted, group.book, group.writing)
            case EndHold() as work:
                return deciding.end_hold(work, item.wanted, group.book, group.writing)
            case Begin() | Receive() | PlaceHold() as work:
                return _repeated(work, group) or _first(item, work, group)
    except SagapayError as error:
        return error


def _repeated(work: Keyed, group: _Group) -> StepResult | PlacedHold | None:
    """The answer to a key that was used before. Raises IdempotencyKeyReused if it was for another request."""
    match group.known.get(work.key.key_digest):
        case None:
            return None
        case StepResult() as first if not isinstance(work, PlaceHold) and first.fingerprint == work.key.fingerprint:
            return replace(first, replayed=True)
        case PlacedHold() as placed if isinstance(work, PlaceHold) and placed.fingerprint == work.key.fingerprint:
            return replace(placed, hold=None)
        case _:
            raise IdempotencyKeyReused


def _first(item: _Item, work: Keyed, group: _Group) -> StepResult | PlacedHold:
    result: StepResult | PlacedHold
    if isinstance(work, PlaceHold):
        result = deciding.place_hold(work, item.wanted, group.book, group.writing)
    else:
        assert item.transaction is not None
        against = (item.transaction, item.wanted, group.book, group.writing)
        result = deciding.begin(work, *against) if isinstance(work, Begin) else deciding.receive(work, *against)
    group.known[work.key.key_digest] = result
    return result
