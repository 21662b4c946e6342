"""Fixtures of the property tests."""

from hypothesis import settings

from tests.money.fixtures import database, databases

__all__ = ["database", "databases"]

# A database answers when it answers; examples that failed are reported whole instead of being kept in a folder.
settings.register_profile("sagapay", deadline=None, database=None, print_blob=True)
settings.load_profile("sagapay")
