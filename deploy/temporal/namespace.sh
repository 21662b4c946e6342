#!/bin/sh
# The namespace that Sagapay runs in. The server accepts connections a little before it can answer.
set -eu
tries=30
until temporal operator cluster health; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "Temporal did not become healthy" >&2; exit 1; }
    sleep 2
done
temporal operator namespace describe --namespace default ||
    temporal operator namespace create --namespace default --retention "$RETENTION"
