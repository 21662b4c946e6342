"""What operators do about parked payments over the API and from the command line."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from rich.console import Console

from api.app import create_app
from bank_adapters.simulator.faults import FaultKind, Operation
from commands import attention as commands
from domain.errors import InvalidRequest
from tests.rest.stage import Caller, Person, Stage, new_key
from tests.traffic.patience import eventually

WHY = {"reason": "A test"}
WORD = WHY | {"outcome": "not_paid", "evidence": "call 4711"}


@pytest.fixture(scope="module")
async def impatient(rest: Stage) -> AsyncIterator[Caller]:
    """The same client at an API whose payments park after a second and are tried again after minutes."""
    settings = rest.settings.model_copy(update={"bank_quick_retry_seconds": 1.0, "api_hosts_worker": False})
    api = create_app(settings)
    async with api.router.lifespan_context(api):
        caller = Caller(api, rest.app_key)
        yield caller
        await caller.http.aclose()


async def parked(rest: Stage, impatient: Caller, amount: int = 300) -> tuple[Person, str, int]:
    """A withdrawal for which the bank is down, parked: whose, which, and the bank's fault."""
    person = await rest.funded(1_000)
    async with rest.bank.admin() as admin:
        fault = await admin.set_fault(FaultKind.DOWN, operation=Operation.ANY)
    return person, await ask_until_parked(rest, impatient, person, amount), fault.fault_id


async def ask_until_parked(rest: Stage, impatient: Caller, person: Person, amount: int) -> str:
    """The id of a withdrawal that is parked now."""
    asked = await impatient.post("/v1/withdrawals", rest.bank_body(person, amount))
    assert asked.status_code == 202, asked.text
    transaction_id: str = asked.json()["transaction_id"]

    async def raised() -> bool:
        return "attention" in await detail(rest.operator, transaction_id)

    await eventually("it is parked", raised)
    return transaction_id


async def detail(caller: Caller, transaction_id: str) -> dict[str, Any]:
    """A payment as operators see it."""
    response = await caller.get(f"/v1/attention/{transaction_id}")
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


async def heal(rest: Stage, fault: int) -> None:
    """The bank is back."""
    async with rest.bank.admin() as admin:
        await admin.remove_fault(fault)


async def final(rest: Stage, transaction_id: str) -> dict[str, Any]:
    """The payment at its end, as its app sees it."""
    response = await rest.app.get(f"/v1/transactions/{transaction_id}", wait=30)
    return response.json()  # type: ignore[no-any-return]


async def listed(rest: Stage, **filters: str | int) -> list[str]:
    """The ids that the filters find, in pages of one."""
    found, cursor = [], {}
    while True:
        page = (await rest.operator.get("/v1/attention", limit=1, **filters, **cursor)).json()
        found += [item["transaction_id"] for item in page["payments"]]
        if "next_cursor" not in page:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_parked_payments_are_listed_retried_and_recorded(rest: Stage, impatient: Caller) -> None:
    person, first, fault = await parked(rest, impatient)
    other = await ask_until_parked(rest, impatient, person, 200)
    assert [item for item in await listed(rest, reason="bank_unavailable") if item in {first, other}] == [first, other]
    assert {first, other} <= set(await listed(rest, step="push_to_bank", bank="simulator", older_than_seconds=0))
    for nothing in (
        {"reason": "timed_out"},
        {"step": "pull_from_bank"},
        {"bank": "another"},
        {"older_than_seconds": 9_999},
    ):
        assert not {first, other} & set(await listed(rest, **nothing))
    await heal(rest, fault)
    key = new_key()
    told = [await rest.operator.post(f"/v1/attention/{first}/retry", WHY, key) for _ in range(2)]
    assert [answer.status_code for answer in told] == [200, 200]
    assert (await final(rest, first))["status"] == "succeeded"
    shown = await detail(rest.operator, first)
    (action,) = shown["actions"]
    assert (action["kind"], action["state"], action["via"], action["reason"]) == ("retry", "accepted", "api", "A test")
    assert action["by"].startswith("operator:")
    assert [item["detail"]["by"] for item in shown["timeline"] if item["type"] == "operator.retry"] == [action["by"]]
    again = await rest.operator.post(f"/v1/attention/{first}/retry", WHY)
    assert (again.status_code, again.json()["code"]) == (409, "cannot_retry")
    await rest.operator.post(f"/v1/attention/{other}/retry", WHY)
    assert (await final(rest, other))["status"] == "succeeded"


async def test_a_word_with_evidence_frees_the_money(rest: Stage, impatient: Caller) -> None:
    person, transaction_id, fault = await parked(rest, impatient)
    for wrong in ({"outcome": "perhaps"}, {"evidence": ""}, {"reason": ""}):
        assert (await rest.operator.post(f"/v1/attention/{transaction_id}/resolve", WORD | wrong)).status_code == 400
    key = new_key()
    told = await rest.operator.post(f"/v1/attention/{transaction_id}/resolve", WORD, key)
    assert told.status_code == 200, told.text
    ended = await final(rest, transaction_id)
    assert (ended["status"], ended["failure"]["code"]) == ("failed", "resolved_unpaid")
    assert await rest.posted(person) == 1_000
    assert "evidence" not in str(ended["timeline"])
    (action,) = (await detail(rest.operator, transaction_id))["actions"]
    assert (action["outcome"], action["evidence"], action["state"]) == ("not_paid", "call 4711", "accepted")
    assert (await rest.operator.post(f"/v1/attention/{transaction_id}/resolve", WORD, key)).status_code == 200
    reused = await rest.operator.post(f"/v1/attention/{transaction_id}/resolve", WORD | {"outcome": "paid"}, key)
    assert reused.json()["code"] == "idempotency_key_reused"
    await heal(rest, fault)


async def test_what_the_statement_has_ends_a_payment_of_a_silent_bank(rest: Stage, impatient: Caller) -> None:
    person, transaction_id, fault = await parked(rest, impatient)
    told = await rest.operator.post(f"/v1/attention/{transaction_id}/resolve", WORD | {"outcome": "settled"})
    assert told.status_code == 200, told.text
    assert (await final(rest, transaction_id))["status"] == "succeeded"
    assert await rest.posted(person) < 1_000
    (action,) = (await detail(rest.operator, transaction_id))["actions"]
    assert (action["outcome"], action["state"]) == ("settled", "accepted")
    await heal(rest, fault)


async def test_a_force_takes_two_people(rest: Stage, impatient: Caller, second_operator: Caller) -> None:
    person, transaction_id, fault = await parked(rest, impatient)
    body = WHY | {"outcome": "not_paid"}
    proposed = (await rest.operator.post(f"/v1/attention/{transaction_id}/force", body)).json()
    assert proposed["state"] == "asked"
    approve = f"/v1/attention/{transaction_id}/force/{proposed['action_id']}/approve"
    alone = await rest.operator.post(approve, WHY)
    assert (alone.status_code, alone.json()["code"]) == (409, "cannot_approve")
    assert "attention" in await detail(rest.operator, transaction_id)
    agreed = await second_operator.post(approve, WHY)
    assert (agreed.status_code, agreed.json()["state"]) == (200, "accepted"), agreed.text
    assert agreed.json()["approved_by"] != agreed.json()["by"]
    assert (await final(rest, transaction_id))["failure"]["code"] == "resolved_unpaid"
    assert await rest.posted(person) == 1_000
    await heal(rest, fault)


async def test_only_operators_see_and_tell(rest: Stage, impatient: Caller) -> None:
    _, transaction_id, fault = await parked(rest, impatient)
    for path in ("/v1/attention", f"/v1/attention/{transaction_id}"):
        assert (await rest.app.get(path)).status_code == 403
    for call, body in (("retry", WHY), ("resolve", WORD), ("force", WHY | {"outcome": "paid"})):
        assert (await rest.app.post(f"/v1/attention/{transaction_id}/{call}", body)).status_code == 403
        missing = await rest.operator.post(f"/v1/attention/{transaction_id}/{call}", body, "")
        assert missing.json()["code"] == "idempotency_key_missing"
    await heal(rest, fault)
    await rest.operator.post(f"/v1/attention/{transaction_id}/retry", WHY)
    assert (await final(rest, transaction_id))["status"] == "succeeded"


async def test_the_command_line_does_many_at_once(rest: Stage, impatient: Caller) -> None:
    _, transaction_id, fault = await parked(rest, impatient)
    filters = {"reason": "bank_unavailable", "bank": "simulator"}

    async def run(work: Callable[[commands.OperatorsApi, Console], Awaitable[object]]) -> str:
        console = Console(file=io.StringIO(), width=300)
        await work(commands.OperatorsApi(rest.operator.http), console)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    assert transaction_id in await run(lambda api, console: commands.show_list(api, console, filters))
    assert "push_to_bank" in await run(lambda api, console: commands.show_one(api, console, transaction_id))
    many = commands.Wanted(filters=filters)
    dry = await run(lambda api, console: commands.tell(api, console, many, "retry", WHY, dry_run=True))
    assert transaction_id in dry
    assert (await detail(rest.operator, transaction_id))["actions"] == []
    await heal(rest, fault)
    told = await run(lambda api, console: commands.tell(api, console, many, "retry", WHY, dry_run=False))
    assert "0 refused" in told
    assert (await final(rest, transaction_id))["status"] == "succeeded"
    one = commands.Wanted(named=transaction_id, filters={})
    late = await run(lambda api, console: commands.tell(api, console, one, "retry", WHY, dry_run=False))
    assert "1 refused" in late
    with pytest.raises(InvalidRequest):
        commands.Wanted(filters={}).demand_some()
