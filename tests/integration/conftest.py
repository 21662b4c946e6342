"""Fixtures of the integration tests."""

from tests.money.fixtures import client, database, databases, ledger, records
from tests.rest.fixtures import rest, rest_bank, second_operator

__all__ = ["client", "database", "databases", "ledger", "records", "rest", "rest_bank", "second_operator"]
