"""Batches: all their transfers are there, and say the same as the transactions that they became."""

from typing import Final

from ledger.invariants.invariant import NothingIn, Pass
from ledger.invariants.snapshot import Rows

BATCHES: Final = NothingIn(
    number=6,
    name="batches",
    sentence="A batch has all its transfers, each tells of its transaction as it is, and the last one ends the batch.",
    rows=Rows.BATCHES,
    goes=Pass.WHOLE,
    query="""
        SELECT 'tb_' || replace(b.batch_id::text, '-', '') AS subject,
               format('is %s with %s of %s transfers, %s of them unfinished, %s not as their transactions say',
                      b.status, n.items, b.transfers, n.unfinished, n.unlike) AS detail
        FROM ledger.transfer_batches b, LATERAL (
            SELECT count(*) AS items,
                   count(*) FILTER (WHERE i.status IN ('pending', 'processing')) AS unfinished,
                   count(*) FILTER (WHERE i.transaction_id IS NOT NULL AND (
                       (t.amount, t.currency, t.source_wallet_id, t.destination_wallet_id) IS DISTINCT FROM
                       (i.amount, b.currency, b.source_wallet_id, i.destination_wallet_id)
                       OR i.status = 'failed' AND t.status IS DISTINCT FROM 'failed'
                       OR i.status = 'succeeded' AND (t.status = 'failed' OR t.completed_at IS NULL))) AS unlike
            FROM ledger.transfer_batch_items i LEFT JOIN ledger.transactions t USING (transaction_id)
            WHERE i.batch_id = b.batch_id
        ) n
        WHERE n.items <> b.transfers OR n.unlike > 0 OR (b.completed_at IS NOT NULL AND n.unfinished > 0)
    """,
)
