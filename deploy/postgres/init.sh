#!/bin/bash
# At the first start of PostgreSQL: a user and databases of its own for each who uses it. Passwords come from files, not from arguments.
set -eu
psql --set ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set headrace_password `cat /run/secrets/headrace_postgres_password`
\set temporal_password `cat /run/secrets/temporal_postgres_password`
CREATE ROLE headrace LOGIN PASSWORD :'headrace_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE headrace OWNER headrace;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
REVOKE CONNECT ON DATABASE headrace, temporal, temporal_visibility FROM PUBLIC;
SQL
