"""Fixtures of the integration tests."""

from tests.events.real_kafka import broker, kafka, kafka_libs, kafka_stage, one_kafka
from tests.money.fixtures import client, database, databases, ledger, records
from tests.rest.fixtures import rest, rest_bank, second_operator

__all__ = [
    "broker",
    "client",
    "database",
    "databases",
    "kafka",
    "kafka_libs",
    "kafka_stage",
    "ledger",
    "one_kafka",
    "records",
    "rest",
    "rest_bank",
    "second_operator",
]
