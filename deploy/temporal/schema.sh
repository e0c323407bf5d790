#!/bin/sh
# Temporal's tables in PostgreSQL: made, or brought to this version of the server. Idempotent.
set -eu
SQL_PASSWORD=$(cat /run/secrets/temporal_postgres_password)
export SQL_PASSWORD

tables() {
  set -- "$2" temporal-sql-tool --plugin postgres12 --endpoint postgres --port 5432 --user temporal --database "$1"
  kind=$1
  shift
  "$@" setup-schema --version 0.0
  "$@" update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$kind/versioned"
}

tables temporal temporal
tables temporal_visibility visibility
