# shellcheck shell=sh
# Points a process on this machine at the containers of docker-compose.yml:  . deploy/host.sh && headrace completions --follow
export HEADRACE_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:${KAFKA_PORT:-9092}"
export HEADRACE_SCHEMA_REGISTRY_URL="http://127.0.0.1:${SCHEMA_REGISTRY_PORT:-8081}/apis/ccompat/v7"
export TEMPORAL_ADDRESS="127.0.0.1:${TEMPORAL_PORT:-7233}"
export TEMPORAL_UI_ADDRESS="http://127.0.0.1:${TEMPORAL_UI_PORT:-8233}"
export HEADRACE_S3_ENDPOINT_URL="http://127.0.0.1:${S3_PORT:-8333}"
export HEADRACE_SECRETS_DIR="${HEADRACE_SECRETS_DIR:-$PWD/deploy/secrets/host}"
