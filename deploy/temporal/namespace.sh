#!/bin/sh
# The namespace, with thirty days of retention: longer than Kafka keeps a request. Idempotent.
set -eu
namespace=${TEMPORAL_NAMESPACE:-default}
if temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1; then
  temporal operator namespace update --namespace "$namespace" --retention 720h
else
  temporal operator namespace create --namespace "$namespace" --retention 720h
fi

# The frontend answers before it has found the other roles, for up to half a minute after a restart: only history can say that there is no such run.
for attempt in $(seq 120); do
  case $(temporal workflow describe --namespace "$namespace" --workflow-id nobody 2>&1) in *"not found"*) exit 0 ;; esac
  [ "$attempt" -gt 1 ] || echo "waiting for Temporal's history service"
  sleep 1
done
echo "Temporal's history service does not answer" >&2
exit 1
