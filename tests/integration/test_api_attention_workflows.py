"""Batches that need a person over the API and from the command line; returns are found the same way."""

import io

import pytest
from rich.console import Console

from commands import attention as commands
from domain.contracts.batches import BatchCounts, BatchRequest
from domain.contracts.payments import PAYMENT_QUEUE, ReturnNotice
from domain.contracts.returns import RETURN_WORKFLOW, ReturnOutcome, ReturnRequest, return_workflow_id
from domain.contracts.suspense import Clearance, Clearing
from domain.ids import BatchId, UserId, WalletId
from domain.money import Money
from infra.batches import start_batch
from tests.money.batches import new_batch, unused_key
from tests.money.requests import Client as App
from tests.money.suspense import line_of
from tests.rest.stage import Caller, Person, Stage, new_key
from tests.traffic.patience import eventually

WHY = {"reason": "A test"}
RIGHT = {"outcome": "corrected", "evidence": "line 8", **WHY}
WRITTEN_OFF = {"outcome": "written_off", **WHY}
OFF = "write_off_outgoing"
LIST = "/v1/attention/workflows"


async def parked_batch(rest: Stage, sender: Person, nowhere: WalletId) -> BatchId:
    """A batch with a transfer to a wallet that is not there, parked for it."""
    app = App(rest.backends.ledger, rest.client_id)
    new = new_batch(app, WalletId(sender.wallet_id), [(nowhere, 10)])
    batch, _ = await rest.backends.batches.accept(new, unused_key())
    request = BatchRequest(batch_id=batch.batch_id, mode=batch.mode, transfers=batch.transfers)
    await start_batch(rest.temporal, request, batch.client_id)

    async def listed_there() -> bool:
        return batch.batch_id in await listed(rest, reason="ledger_rejected")

    await eventually(f"{batch.batch_id} is listed", listed_there)
    return batch.batch_id


async def listed(rest: Stage, **filters: str | int) -> list[str]:
    """The ids that the filters find, in pages of one."""
    found, cursor = [], {}
    while True:
        answer = await rest.operator.get(LIST, limit=1, **filters, **cursor)
        assert answer.status_code == 200, answer.text
        found += [item["workflow_id"] for item in answer.json()["workflows"]]
        if "next_cursor" not in answer.json():
            return found
        cursor = {"cursor": answer.json()["next_cursor"]}


async def test_parked_batches_are_listed_shown_and_retried(rest: Stage) -> None:
    sender, receiver = await rest.funded(1_000), await rest.person()
    nowhere = WalletId.new(WalletId(receiver.wallet_id).bucket)
    batches = [await parked_batch(rest, sender, nowhere) for _ in range(2)]
    first, second = batches
    assert set(batches) <= set(await listed(rest, step="pay_batch_items", older_than_seconds=0))
    for nothing in (
        {"reason": "timed_out"},
        {"step": "close_batch"},
        {"bank": "simulator"},
        {"older_than_seconds": 999},
    ):
        assert not set(batches) & set(await listed(rest, **nothing))

    shown = (await rest.operator.get(f"{LIST}/{first}")).json()
    assert (shown["kind"], shown["running"], shown["client_id"]) == ("transfer_batch", True, rest.client_id)
    assert (shown["attention"]["step"], shown["attention"]["reason"]) == ("pay_batch_items", "ledger_rejected")
    assert "**Not known:**" in shown["details"]

    user = UserId(receiver.user_id)
    await rest.backends.ledger.open_wallet(nowhere, user, rest.client_id, "USD")
    key = new_key()
    told = [await rest.operator.post(f"{LIST}/{first}/retry", WHY, key) for _ in range(2)]
    assert [answer.status_code for answer in told] == [200, 200], told[1].text
    result = await rest.temporal.get_workflow_handle(first, result_type=BatchCounts).result()
    assert result == BatchCounts(succeeded=1)
    late = await rest.operator.post(f"{LIST}/{first}/retry", WHY)
    assert (late.status_code, late.json()["code"]) == (409, "cannot_retry")

    async def gone() -> bool:
        return first not in await listed(rest, reason="ledger_rejected")

    await eventually("it is listed no more", gone)
    out = Console(file=io.StringIO(), width=200)
    api = commands.OperatorsApi(rest.operator.http)
    await commands.show_list(api, out, {"reason": "ledger_rejected"})
    await commands.show_one(api, out, second)
    wanted = commands.Wanted(filters={"reason": "ledger_rejected", "step": "pay_batch_items"})
    assert await commands.tell(api, out, wanted, "retry", WHY, dry_run=True)
    assert await commands.tell(api, out, commands.Wanted(named=second, filters={}), "retry", WHY, dry_run=False)
    printed = out.file.getvalue()  # type: ignore[attr-defined]
    assert second in printed
    assert first not in printed
    assert "What you can do" in printed
    result = await rest.temporal.get_workflow_handle(second, result_type=BatchCounts).result()
    assert result == BatchCounts(succeeded=1)


@pytest.mark.parametrize(
    ("call", "body", "wrong"),
    [("resolve", RIGHT, {"outcome": "paid"}), ("force", WRITTEN_OFF, {"outcome": "corrected"})],
)
async def test_only_what_is_on_a_suspense_account_can_be_put_right_or_written_off(
    rest: Stage, call: str, body: dict[str, str], wrong: dict[str, str]
) -> None:
    sender, receiver = await rest.funded(1_000), await rest.person()
    batch = await parked_batch(rest, sender, WalletId.new(WalletId(receiver.wallet_id).bucket))
    refused = await rest.operator.post(f"{LIST}/{batch}/{call}", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_resolve")
    nobodys = await rest.operator.post(f"{LIST}/return:simulator:ret_none/{call}", body)
    assert nobodys.status_code == 404
    invalid = await rest.operator.post(f"{LIST}/return:simulator:ret_none/{call}", body | wrong)
    assert (invalid.status_code, invalid.json()["code"]) == (400, "invalid_request")
    assert (await rest.app.post(f"{LIST}/return:simulator:ret_none/{call}", body)).status_code == 403


async def test_writing_a_return_off_takes_two_people(rest: Stage, second_operator: Caller) -> None:
    line = line_of(f"ret_{new_key()}", -40, "simulator")
    request = ReturnRequest(
        bank=line.bank,
        reference=line.reference,
        amount=Money(40, "USD"),
        returned_at=line.returned_at,
        notice=ReturnNotice(reference=line.return_reference, code=line.code),
        moved=line.moved,
    )
    named = return_workflow_id(line.bank, line.return_reference)
    booking = await rest.temporal.start_workflow(
        RETURN_WORKFLOW, request, id=named, task_queue=PAYMENT_QUEUE, result_type=ReturnOutcome
    )

    async def on_suspense() -> bool:
        return (await rest.operator.get(f"{LIST}/{named}")).json().get("attention") is not None

    await eventually("it is parked", on_suspense)
    proposed = await rest.operator.post(f"{LIST}/{named}/force", WRITTEN_OFF)
    assert (proposed.status_code, proposed.json()["state"]) == (200, "asked"), proposed.text
    approve = f"{LIST}/{named}/force/{proposed.json()['action_id']}/approve"
    alone = await rest.operator.post(approve, WHY)
    assert (alone.status_code, alone.json()["code"]) == (409, "cannot_approve")
    agreed = [await second_operator.post(approve, WHY) for _ in range(2)]
    assert [(each.status_code, each.json()["state"]) for each in agreed] == [(200, "accepted")] * 2
    outcome = await booking.result()
    assert outcome.suspended is not None
    assert outcome.suspended.cleared_as is Clearance.WRITTEN_OFF
    (told,) = [line for line in await rest.backends.ledger.timeline(outcome.suspended.item_id) if line.step == OFF]
    assert told.detail["approved_by"] == agreed[0].json()["approved_by"] != told.detail["by"]


async def test_a_return_whose_workflow_has_ended_stays_on_the_suspense_account(rest: Stage) -> None:
    """Nobody is there who could take it off: it is refused, and the item is as it was."""
    item = await rest.backends.ledger.suspend(line_of(f"ret_{new_key()}", -30, "simulator"))
    named = return_workflow_id(item.bank, item.return_reference)
    body = RIGHT
    key = new_key()
    told = [await rest.operator.post(f"{LIST}/{named}/resolve", body, key) for _ in range(2)]
    assert [(each.status_code, each.json()["code"]) for each in told] == [(409, "cannot_resolve")] * 2
    assert await rest.backends.ledger.find_suspense(item.bank, item.return_reference) == item
    cleared = Clearing(item_id=item.item_id, outcome=Clearance.CORRECTED, by="a test", reason="over")
    await rest.backends.ledger.clear_suspense(cleared)
    late = await rest.operator.post(f"{LIST}/{named}/resolve", body)
    assert (late.status_code, late.json()["code"]) == (409, "cannot_resolve")


@pytest.mark.parametrize("path", [f"{LIST}/{BatchId.new(7)}", f"{LIST}/return:simulator:ret_none"])
async def test_what_there_is_not_is_not_found(rest: Stage, path: str) -> None:
    assert (await rest.operator.get(path)).status_code == 404
    assert (await rest.operator.post(f"{path}/retry", WHY)).status_code == 404


async def test_only_operators_and_only_real_cursors(rest: Stage) -> None:
    assert (await rest.app.get(LIST)).status_code == 403
    for cursor in ("nonsense", "d29ya2Zsb3dzOnp6"):
        assert (await rest.operator.get(LIST, cursor=cursor)).json()["code"] == "invalid_cursor"
