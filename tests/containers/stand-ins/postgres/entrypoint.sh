#!/bin/bash
# What the official image does at its first start, for what compose.yaml says.
set -euo pipefail

if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
# A process 1 is not ended by what it does not expect.
trap 'exit 1' INT TERM
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?a superuser needs a password}"
    initdb --username "$POSTGRES_USER" --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") --auth-local trust --auth-host scram-sha-256 >/dev/null
    printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    # No client outside reaches it before it is complete.
    pg_ctl -w -o "-c listen_addresses=''" start >/dev/null
    createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl -w -m fast stop >/dev/null
fi
exec "$@" -c listen_addresses='*'
