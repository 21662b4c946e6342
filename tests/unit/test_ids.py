"""Identifiers: a prefix, a UUIDv7, and the bucket in its last 12 bits."""

import time

import pytest

from domain.errors import InvalidId
from domain.ids import (
    BUCKETS,
    BankAccountId,
    BatchId,
    ClientId,
    EntryId,
    EventId,
    HoldId,
    PostingId,
    PrefixedId,
    SystemAccountId,
    TransactionId,
    UserId,
    WalletId,
    new_uuid,
    random_bucket,
)

KINDS: list[type[PrefixedId]] = [
    ClientId,
    UserId,
    WalletId,
    BankAccountId,
    TransactionId,
    BatchId,
    PostingId,
    EntryId,
    HoldId,
    EventId,
    SystemAccountId,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bucket", [0, 1, 2_048, BUCKETS - 1])
def test_an_id_says_its_bucket_and_survives_storage(kind: type[PrefixedId], bucket: int) -> None:
    made = kind.new(bucket)
    assert made.bucket == bucket
    assert kind.parse(str(made)) == kind.of(made.uuid) == made
    assert made.uuid.version == 7
    assert made.uuid.variant == "specified in RFC 4122"


def test_prefixes_tell_the_nouns_apart() -> None:
    assert len({kind.prefix for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        for other in KINDS:
            if kind is not other:
                with pytest.raises(InvalidId):
                    kind.parse(other.new(0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "wal",
        "wal_",
        "wal_123",
        "wal_" + "0" * 31,
        "wal_" + "0" * 33,
        "wal_" + "A" * 32,
        "wal_" + "g" * 32,
        "WAL_" + "0" * 32,
        " wal_" + "0" * 32,
        "wal_" + "0" * 32 + "\n",
        "wal_wal_" + "0" * 32,
        "0" * 32,
        "wal-" + "0" * 32,
        "wal_00000000-0000-0000-0000-000000000000",
        "wal_" + "\u0660" * 32,
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidId):
        WalletId.parse(text)


def test_an_id_says_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = TransactionId.new(5).uuid.int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_of_one_bucket_rise_and_never_repeat() -> None:
    made = [new_uuid(7) for _ in range(50_000)]
    assert len(set(made)) == len(made)
    assert [value.int >> 80 for value in made] == sorted(value.int >> 80 for value in made)


def test_buckets_are_chosen_over_the_whole_range() -> None:
    chosen = [random_bucket() for _ in range(20_000)]
    assert min(chosen) >= 0
    assert max(chosen) < BUCKETS
    assert len(set(chosen)) > BUCKETS * 0.9


def test_a_system_account_is_known_by_its_code_alone() -> None:
    code = "clearing:simulator:USD:3"
    assert SystemAccountId.from_code(code) == SystemAccountId.from_code(code)
    assert SystemAccountId.from_code(code) != SystemAccountId.from_code("clearing:simulator:USD:4")
    # Stored ids depend on it: it can never change.
    assert SystemAccountId.from_code(code) == "sys_" + SystemAccountId.from_code(code).uuid.hex
