"""Values that go out and come back: as text, as JSON, through the database's types, unchanged or refused."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from domain.calendar import add_banking_days, bank_holidays, banking_date, is_banking_day
from domain.contracts.payments import Failure, IdempotencyRecord, PaymentRequest, StepResult
from domain.contracts.workflows import payment_workflow_id
from domain.errors import InvalidId, InvalidMoney, UnknownCurrency
from domain.ids import (
    BUCKETS,
    BankAccountId,
    ClientId,
    EntryId,
    EventId,
    HoldId,
    PostingId,
    TransactionId,
    UserId,
    WalletId,
    new_uuid,
)
from domain.money import CURRENCIES, MAX_MINOR_UNITS, Money, format_minor
from domain.transactions import Step, StepDecision, TransactionKind, TransactionStatus

BUCKET = st.integers(0, BUCKETS - 1)
MONEY = st.builds(Money, st.integers(1, MAX_MINOR_UNITS), st.sampled_from(sorted(CURRENCIES)))
PREFIXED = st.sampled_from([ClientId, UserId, WalletId, BankAccountId, TransactionId, PostingId, HoldId, EventId])
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=50)
DIGEST = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(MONEY)
def test_money_is_read_as_it_was_written(amount: Money) -> None:
    assert Money.parse(str(amount)) == amount
    json = TypeAdapter(Money).dump_json(amount)
    assert TypeAdapter(Money).validate_json(json) == amount


@given(st.integers(), st.sampled_from(sorted(CURRENCIES)))
def test_money_is_in_bounds_or_refused(minor_units: int, currency: str) -> None:
    if 1 <= minor_units <= MAX_MINOR_UNITS:
        assert Money(minor_units, currency).minor_units == minor_units
    else:
        with pytest.raises(InvalidMoney):
            Money(minor_units, currency)


@given(st.text(max_size=30))
def test_any_text_is_money_or_refused(text: str) -> None:
    try:
        amount = Money.parse(text)
    except (InvalidMoney, UnknownCurrency):
        return
    assert Money.parse(str(amount)) == amount


@given(st.integers(), st.sampled_from(sorted(CURRENCIES)))
def test_what_people_read_is_the_number(minor_units: int, currency: str) -> None:
    number, _, unit = format_minor(minor_units, currency).partition(" ")
    whole, _, fraction = number.partition(".")
    assert (unit, len(fraction)) == (currency, CURRENCIES[currency])
    assert int(whole + fraction) == minor_units


@given(PREFIXED, BUCKET)
def test_ids_round_trip(kind: type[WalletId], bucket: int) -> None:
    made = kind.new(bucket)
    assert kind.parse(str(made)) == made
    assert kind.of(made.uuid) == made
    assert made.bucket == bucket
    adapter = TypeAdapter(kind)
    assert adapter.validate_json(adapter.dump_json(made)) == made
    assert isinstance(adapter.validate_python(str(made)), kind)


@given(st.text(max_size=50) | st.from_regex(r"(wal|txn|ent)_[0-9a-fA-F]{30,33}", fullmatch=True))
def test_any_text_is_an_id_or_refused(text: str) -> None:
    try:
        parsed = EntryId.parse(text)
    except InvalidId:
        return
    assert EntryId.of(parsed.uuid) == text


@given(BUCKET)
def test_a_new_uuid_is_a_version_7_of_its_bucket(bucket: int) -> None:
    made = new_uuid(bucket)
    assert (made.version, made.variant, made.int & (BUCKETS - 1)) == (7, "specified in RFC 4122", bucket)


PAYMENTS = st.builds(
    PaymentRequest,
    transaction_id=BUCKET.map(TransactionId.new),
    kind=st.sampled_from(TransactionKind),
    client_id=BUCKET.map(ClientId.new),
    amount=MONEY,
    workflow_id=TEXT,
    effective_at=st.datetimes(min_value=datetime(2020, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    idempotency=st.none() | st.builds(IdempotencyRecord, key_digest=DIGEST.map(lambda d: d[:32]), fingerprint=DIGEST),
    source_wallet_id=st.none() | BUCKET.map(WalletId.new),
    destination_wallet_id=st.none() | BUCKET.map(WalletId.new),
    bank_account_id=st.none() | BUCKET.map(BankAccountId.new),
    bank=st.none() | TEXT,
    memo=st.none() | TEXT,
)
RESULTS = st.builds(
    StepResult,
    transaction_id=BUCKET.map(TransactionId.new),
    step=st.sampled_from(Step),
    decision=st.sampled_from(StepDecision),
    status=st.sampled_from(TransactionStatus),
    failure=st.none() | st.builds(Failure, code=TEXT, detail=TEXT),
    replayed=st.booleans(),
    fingerprint=st.none() | DIGEST,
)


@given(PAYMENTS)
def test_a_payment_survives_a_workflow_history(request: PaymentRequest) -> None:
    adapter = TypeAdapter(PaymentRequest)
    assert adapter.validate_json(adapter.dump_json(request)) == request


@given(RESULTS)
def test_a_result_survives_a_workflow_history(result: StepResult) -> None:
    adapter = TypeAdapter(StepResult)
    assert adapter.validate_json(adapter.dump_json(result)) == result


VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


@given(VISIBLE, VISIBLE)
def test_two_keys_are_two_workflows_and_one_key_is_one(one: str, other: str) -> None:
    client, wallet = ClientId("cli_" + "0" * 32), WalletId("wal_" + "1" * 32)
    first, second = payment_workflow_id(client, wallet, one), payment_workflow_id(client, wallet, other)
    assert (first == second) is (one == other)
    assert len(first) <= 200


@given(st.text("abcdef", min_size=150, max_size=255))
def test_no_key_spells_the_workflow_of_another(long: str) -> None:
    client, wallet = ClientId("cli_" + "0" * 32), WalletId("wal_" + "1" * 32)
    spelled = payment_workflow_id(client, wallet, long).rpartition(":")[2]
    assert payment_workflow_id(client, wallet, spelled) != payment_workflow_id(client, wallet, long)


DAYS = st.dates(min_value=date(2000, 1, 1), max_value=date(2090, 12, 31))


@given(DAYS, st.integers(0, 40))
def test_banking_days_lead_to_banking_days_and_never_back(day: date, days: int) -> None:
    due = add_banking_days(day, days)
    assert is_banking_day(due)
    assert due >= day
    open_days = sum(is_banking_day(day + timedelta(days=n)) for n in range(1, (due - day).days + 1))
    assert open_days == days + (not is_banking_day(day))


@given(DAYS, DAYS, st.integers(0, 20))
def test_banking_days_are_monotonic(one: date, other: date, days: int) -> None:
    assert add_banking_days(min(one, other), days) <= add_banking_days(max(one, other), days)
    assert add_banking_days(one, days) < add_banking_days(one, days + 1)


@given(DAYS, st.integers(0, 10), st.integers(0, 10))
def test_banking_days_add_up(day: date, first: int, then: int) -> None:
    assert add_banking_days(add_banking_days(day, first), then) == add_banking_days(day, first + then)


@given(st.integers(2000, 2090))
def test_a_year_has_eleven_holidays_and_no_sunday_among_them(year: int) -> None:
    holidays = bank_holidays(year)
    assert len(holidays) == 11
    assert {day.year for day in holidays} == {year}
    assert all(day.weekday() != 6 for day in holidays)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_new_yorks_date_is_utcs_or_the_day_before(moment: datetime) -> None:
    assert moment.date() - banking_date(moment) in (timedelta(0), timedelta(days=1))
