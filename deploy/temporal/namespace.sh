#!/bin/sh
# The namespace, with thirty days of retention: longer than Kafka keeps a request. Idempotent.
set -eu
namespace=${TEMPORAL_NAMESPACE:-default}
if temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1; then
  temporal operator namespace update --namespace "$namespace" --retention 720h
else
  temporal operator namespace create --namespace "$namespace" --retention 720h
fi
