"""A bank in a process of its own, for development, tests and demonstrations: an HTTP API over durable books.

It shares no books and no code with the ledger, so that what it says about money is a second opinion.
docs/reference/simulated-bank.md describes its API and its misbehaviour.
"""
