"""The database's own guards, read back from its catalog: they only guard while they are there."""

# Queries are put together of constants of this package alone.
# ruff: noqa: S608

from dataclasses import dataclass
from typing import Final

from ledger.invariants.invariant import VIOLATIONS_SHOWN, Finding, Violation
from ledger.invariants.snapshot import Rows, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """An invariant that holds when every row (subject, detail, holds) of `query` says so, and there is one at all."""

    number: int
    name: str
    sentence: str
    query: str
    rows: Rows = Rows.GUARDS

    async def check(self, snapshot: Snapshot) -> Finding:
        """Ask for every guard."""
        guards = await snapshot.ask(self.query)
        broken = [Violation(str(guard.subject), str(guard.detail)) for guard in guards if not guard.holds]
        if not guards:
            broken = [Violation("ledger", "has no such guard at all")]
        return Finding(
            number=self.number,
            name=self.name,
            sentence=self.sentence,
            checked=len(guards),
            what=self.rows.value,
            broken=len(broken),
            violations=tuple(broken[:VIOLATIONS_SHOWN]),
        )


# What the migrations let the application's role update, "*" for all columns of a table; everything else it may not.
_UPDATABLE: Final = """(VALUES
    ('accounts', 'balance held version status updated_at debits_frozen credits_frozen limit_per_transaction '
                 'limit_daily spent_on spent owed'),
    ('transactions', 'status failure_code failure_detail attention completed_at'),
    ('holds', 'captured status ended_at'),
    ('transfer_batches', 'status failed_index failure_code failure_detail completed_at'),
    ('transfer_batch_items', 'status transaction_id failure_code failure_detail'),
    ('relay_positions', '*'), ('consumer_positions', '*'), ('dead_letters', 'reason replayed_at')
) AS may (root, columns)"""

_TABLES: Final = """(
    SELECT c.oid, c.relname AS name, coalesce(p.relname, c.relname) AS root, p.oid IS NOT NULL AS is_partition,
           c.relowner AS owner
    FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
    WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p')
) AS t"""

GRANTS: Final = AllOf(
    number=3,
    name="grants",
    sentence="The application's role cannot change or remove what is recorded, nor the tables themselves.",
    query=f"""
        SELECT t.name AS subject, format('sagapay_app has %s', p.privilege) AS detail,
               NOT has_table_privilege('sagapay_app', t.oid, p.privilege) AS holds
        FROM {_TABLES} CROSS JOIN (VALUES ('DELETE'), ('TRUNCATE'), ('TRIGGER'), ('REFERENCES')) AS p (privilege)
        UNION ALL
        SELECT t.name, 'sagapay_app inserts past the parent''s guards',
               NOT has_any_column_privilege('sagapay_app', t.oid, 'INSERT')
        FROM {_TABLES} WHERE t.is_partition
        UNION ALL
        SELECT t.name || '.' || a.attname, 'sagapay_app may update it',
               NOT has_column_privilege('sagapay_app', t.oid, a.attnum, 'UPDATE')
        FROM {_TABLES} JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE NOT EXISTS (SELECT FROM {_UPDATABLE} WHERE NOT t.is_partition AND may.root = t.root
                          AND (may.columns = '*' OR a.attname = ANY (string_to_array(may.columns, ' '))))
        UNION ALL
        SELECT t.name, 'sagapay_app acts as its owner', NOT pg_has_role('sagapay_app', t.owner, 'MEMBER')
        FROM {_TABLES}
        UNION ALL
        SELECT nspname, 'sagapay_app may create here', NOT has_schema_privilege('sagapay_app', oid, 'CREATE')
        FROM pg_namespace WHERE nspname IN ('ledger', 'directory', 'history', 'notifications', 'public')
        UNION ALL
        SELECT rolname, 'has powers beyond its grants', NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication)
        FROM pg_roles WHERE rolname = 'sagapay_app'
    """,
)

TRIGGERS: Final = AllOf(
    number=3,
    name="triggers",
    sentence="The triggers that refuse unbalanced postings and changes are on, on every partition too.",
    query=f"""
        SELECT t.name AS subject,
               format('trigger %s is %s', w.guard, CASE WHEN g.tgname IS NULL THEN 'missing' ELSE 'off' END) AS detail,
               coalesce(g.tgenabled IN ('O', 'A'), false) AS holds
        FROM (VALUES
            ('ledger_entries', 'entries_sum_to_zero', false),
            ('ledger_entries', 'immutable', true), ('postings', 'immutable', true),
            ('transaction_steps', 'immutable', true), ('transaction_events', 'immutable', true),
            ('idempotency_keys', 'immutable', true),
            ('account_changes', 'immutable', false), ('account_changes', 'never_truncated', false),
            ('write_offs', 'immutable', false), ('write_offs', 'never_truncated', false),
            ('write_off_marks', 'immutable', false), ('write_off_marks', 'never_truncated', false),
            ('write_off_marks', 'write_off_wants_two', false),
            ('suspense_items', 'immutable', false), ('suspense_items', 'never_truncated', false),
            ('operator_actions', 'immutable', false), ('operator_actions', 'never_truncated', false),
            ('operator_action_marks', 'immutable', false), ('operator_action_marks', 'never_truncated', false),
            ('operator_action_marks', 'force_wants_two', false),
            ('accounts', 'closed_for_ever', false),
            ('ledger_entries', 'never_truncated', true), ('postings', 'never_truncated', true),
            ('transactions', 'legal_status_move', true), ('holds', 'hold_ends_once', true),
            ('transfer_batches', 'legal_batch_move', true), ('transfer_batch_items', 'batch_item_ends_once', true)
        ) AS w (root, guard, on_partitions)
        JOIN {_TABLES} ON t.root = w.root AND (w.on_partitions OR NOT t.is_partition)
        LEFT JOIN pg_trigger g ON g.tgrelid = t.oid AND g.tgname = w.guard
    """,
)

CONSTRAINTS: Final = AllOf(
    number=2,
    name="constraints",
    sentence="Constraints enforce the floor, one outcome per step, one payment per key and one hold per payment.",
    query="""
        SELECT w.root AS subject, format('constraint %s is missing or not valid', w.guard) AS detail,
               coalesce(c.convalidated AND (c.conindid = 0 OR i.indisvalid), false) AS holds
        FROM (VALUES
            ('accounts', 'accounts_floor'), ('accounts', 'accounts_frozen'), ('accounts', 'accounts_closed'),
            ('accounts', 'accounts_owed'), ('accounts', 'accounts_owed_check'),
            ('accounts', 'accounts_pkey'), ('transactions', 'transactions_pkey'),
            ('transaction_steps', 'transaction_steps_pkey'), ('idempotency_keys', 'idempotency_keys_pkey'),
            ('ledger_entries', 'ledger_entries_pkey'), ('postings', 'postings_pkey'),
            ('holds', 'holds_transaction_id_key'), ('holds', 'holds_of_sagas_stay')
        ) AS w (root, guard)
        LEFT JOIN pg_class t ON t.relname = w.root AND t.relnamespace = 'ledger'::regnamespace
        LEFT JOIN pg_constraint c ON c.conrelid = t.oid AND c.conname = w.guard
        LEFT JOIN pg_index i ON i.indexrelid = c.conindid
    """,
)
