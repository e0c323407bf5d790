#!/bin/sh
# The official image takes the password from the environment: here it comes from a file.
set -eu
POSTGRES_PWD=$(cat /run/secrets/temporal_postgres_password)
export POSTGRES_PWD
exec /etc/temporal/entrypoint.sh
