"""How a batch's transfers are told apart and recorded: the same as a call of their own, under keys nobody can forge."""

import re
from pathlib import Path
from typing import Any

import pytest

from api.batch_acceptance import demand_own_keys, new_item
from api.idempotency import ScopedKey, fingerprint_of, item_key, record_of
from api.problems import WrongFields
from api.schemas import KEY_PATTERN, TransferBatchBody, TransferBody
from domain.contracts.workflows import payment_workflow_id
from domain.errors import DuplicateItemKey
from domain.ids import BatchId, ClientId, UserId, WalletId
from ledger.batch_records import NewBatchItem

CLIENT, SENDER, RECEIVER = ClientId.new(1), WalletId.new(2), WalletId.new(3)
SCOPED = ScopedKey(CLIENT, SENDER, "payroll")
BATCH = BatchId.new(SENDER.bucket)
RECIPE = Path(__file__).parents[2] / "docs/recipes/payroll.md"


def body(*transfers: dict[str, Any], **changes: Any) -> TransferBatchBody:
    """A batch of transfers of 5 to the receiver, each with a few fields changed."""
    items = [{"receiver_id": RECEIVER, "amount": 5} | transfer for transfer in transfers]
    return TransferBatchBody.model_validate({"sender_id": SENDER, "currency": "USD", "transfers": items} | changes)


def item(index: int, *transfers: dict[str, Any]) -> NewBatchItem:
    """One transfer of such a batch as it is recorded."""
    return new_item(SCOPED, BATCH, index, RECEIVER, body(*transfers))


@pytest.mark.parametrize("transfer", [{}, {"memo": "Lunch"}, {"receiver_id": UserId.new(3)}])
def test_a_transfer_with_a_key_is_the_same_as_a_call_of_its_own(transfer: dict[str, Any]) -> None:
    own = TransferBody.model_validate(
        {"sender_id": SENDER, "receiver_id": RECEIVER, "amount": 5, "currency": "USD"} | transfer
    )
    made = item(1, {}, transfer | {"idempotency_key": "salary-1"})
    assert made.key == record_of(CLIENT, SENDER, "salary-1", fingerprint_of("/v1/transfers", own))
    assert made.workflow_id == payment_workflow_id(CLIENT, SENDER, "salary-1")
    assert (made.amount, made.memo) == (own.money, own.memo)
    assert made.proposed_id.bucket == SENDER.bucket


def test_a_transfer_without_a_key_has_one_that_no_client_can_send() -> None:
    keys = [item_key(BATCH, index) for index in range(3)]
    assert not any(re.fullmatch(KEY_PATTERN, key) for key in keys)
    made = [item(index, {}, {}, {}) for index in range(3)]
    assert len({one.key.key_digest for one in made}) == 3
    assert [one.workflow_id for one in made] == [payment_workflow_id(CLIENT, SENDER, key) for key in keys]


def test_a_transfer_without_a_key_has_another_in_another_batch() -> None:
    other = new_item(SCOPED, BatchId.new(SENDER.bucket), 0, RECEIVER, body({}))
    assert other.key.key_digest != item(0, {}).key.key_digest


def test_the_fingerprint_of_a_batch_is_of_all_that_it_says() -> None:
    fingerprints = [
        fingerprint_of("/v1/transfer-batches", said)
        for said in (
            body({}),
            body({}, {}),
            body({"amount": 6}),
            body({"memo": "Lunch"}),
            body({"idempotency_key": "salary-1"}),
            body({}, mode="atomic"),
        )
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    again = body({"memo": None}, idempotency_key="another")
    assert fingerprint_of("/v1/transfer-batches", again) == fingerprints[0]


def test_keys_within_a_batch_differ() -> None:
    demand_own_keys("payroll", body({}, {"idempotency_key": "a"}, {}, {"idempotency_key": "b"}))
    with pytest.raises(WrongFields) as refused:
        demand_own_keys(
            "payroll", body({"idempotency_key": "a"}, {"idempotency_key": "payroll"}, {"idempotency_key": "a"})
        )
    assert refused.value.kind is DuplicateItemKey
    assert [field.field for field in refused.value.fields] == [
        "transfers.1.idempotency_key",
        "transfers.2.idempotency_key",
    ]


def test_the_body_in_the_recipe_is_valid() -> None:
    (_, example, *_) = re.split(r"```json\n(.*?)```", RECIPE.read_text(), flags=re.DOTALL)
    assert len(TransferBatchBody.model_validate_json(example).transfers) == 2
