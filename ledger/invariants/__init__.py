"""The invariants of the design, recomputed from the records alone.

| number | what is recomputed | where |
|---|---|---|
| 1 | postings sum to zero, are as ruled, and so does the shard | postings, balances |
| 2 | floors, held amounts, and the constraints that enforce them | balances, guards |
| 2 | what counts against a daily limit is not less than what left | wallets |
| 3 | the application's grants, the triggers on tables and partitions | guards |
| 3 | a wallet's rules are what its last change made of them | wallets |
| 4 | stored balances, running balances, versions, time | balances |
| 5 | one payment, batch or hold per key, one key for each | payments |
| 6 | one outcome per step, steps in order, their postings, timelines; failures moved nothing | payments, postings |
| 6 | batches are whole and say what their transactions say | batches |
| 7 | what shards owe each other; with a single one, nothing | balances, between |
| 8 | clearing, settlement, the banks' statements | banks |
| 8 | what wallets owe of returned deposits | wallets |
| 9 | a status follows from the steps, and was written with the last one | payments |
| 10 | every event is in the outbox | outbox, client_holds |
| 11 | a saga's hold stands while its payment is undecided | payments |
| 11 | a client's hold is captured by transfers that name it, and ended once | client_holds |
"""

from ledger.invariants.banks import BankBalance, ReadBanks
from ledger.invariants.invariant import Finding, Violation
from ledger.invariants.snapshot import Progress
from ledger.invariants.verify import INVARIANTS, Report, verify, verify_shards

__all__ = [
    "INVARIANTS",
    "BankBalance",
    "Finding",
    "Progress",
    "ReadBanks",
    "Report",
    "Violation",
    "verify",
    "verify_shards",
]
