"""Idempotency keys, fingerprints and cursors: equal exactly where they mean the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cursors import entries_cursor, history_cursor, read_entries_cursor, read_history_cursor
from api.idempotency import demand_key, fingerprint_of, record_of
from api.schemas import TransferBody, UserBody
from domain.errors import IdempotencyKeyInvalid, IdempotencyKeyMissing, InvalidCursor
from domain.ids import ClientId, TransactionId, WalletId

KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)
BUCKETS = st.integers(0, 4095)
CLIENT, WALLET = ClientId.new(1), WalletId.new(1)


def transfer(**changes: object) -> TransferBody:
    """A body with a few fields changed."""
    fields = {"sender_id": WALLET, "receiver_id": WalletId(WALLET[:-1] + "f"), "amount": 5, "currency": "USD"}
    return TransferBody.model_validate(fields | changes)


def digest(wallet: WalletId | None, key: str) -> str:
    """What is kept of a key in the client's scope."""
    return record_of(CLIENT, wallet, key, "00").key_digest


@given(KEYS, KEYS)
def test_two_keys_are_two_digests(one: str, other: str) -> None:
    assert (digest(WALLET, one) == digest(WALLET, other)) == (one == other)
    assert digest(None, one) != digest(WALLET, other)
    assert len(bytes.fromhex(digest(WALLET, one))) == 16


@given(KEYS)
def test_no_key_can_pretend_to_be_of_another_scope(key: str) -> None:
    assert digest(None, f"{WALLET}{key}") != digest(WALLET, key)
    assert digest(WALLET, key) != record_of(ClientId.new(2), WALLET, key, "00").key_digest


def test_a_fingerprint_is_of_what_is_meant() -> None:
    route = "/v1/transfers"
    base = fingerprint_of(route, transfer())
    assert fingerprint_of(route, transfer(memo=None)) == base
    assert fingerprint_of(route, transfer(idempotency_key="other")) == base
    assert fingerprint_of("/v1/deposits", transfer()) != base
    for changed in ({"amount": 6}, {"currency": "EUR"}, {"memo": ""}, {"memo": "x"}, {"receiver_id": WALLET}):
        assert fingerprint_of(route, transfer(**changed)) != base
    assert len(bytes.fromhex(base)) == 32


def test_a_fingerprint_never_changes_between_releases() -> None:
    body = UserBody(name="Ada", email="ada@example.com")
    assert fingerprint_of("/v1/users", body) == "4a8eb9996c52947913c06b5c19d65817d117bfcb4b6f0f649af7a68dd33c4679"


def test_header_and_body_are_one_key() -> None:
    assert demand_key("k", transfer()) == "k"
    assert demand_key(None, transfer(idempotency_key="k")) == "k"
    assert demand_key("k", transfer(idempotency_key="k")) == "k"
    with pytest.raises(IdempotencyKeyInvalid):
        demand_key("k", transfer(idempotency_key="other"))
    with pytest.raises(IdempotencyKeyMissing):
        demand_key(None, transfer())


@given(st.integers(0, 2**63 - 1), BUCKETS)
def test_cursors_come_back_as_they_went(version: int, bucket: int) -> None:
    transaction_id = TransactionId.new(bucket)
    assert read_entries_cursor(entries_cursor(version)) == version
    cursor = history_cursor(transaction_id, "asked")
    assert read_history_cursor(cursor, "asked") == transaction_id
    with pytest.raises(InvalidCursor):
        read_entries_cursor(cursor)
    for foreign, asked in (("", "asked"), (cursor, "asked for something else")):
        with pytest.raises(InvalidCursor):
            read_history_cursor(foreign, asked)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_other_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        read_entries_cursor(cursor)
    with pytest.raises(InvalidCursor):
        read_history_cursor(cursor, "asked")
