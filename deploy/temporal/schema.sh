#!/bin/sh
# Temporal's tables in its two databases. Every step may run again: a version that is there already is skipped.
set -eu
for pair in temporal:temporal temporal_visibility:visibility; do
    SQL_DATABASE=${pair%%:*}
    export SQL_DATABASE
    temporal-sql-tool setup-schema -v 0.0
    temporal-sql-tool update-schema -d "/etc/temporal/schema/postgresql/v12/${pair##*:}/versioned"
done
