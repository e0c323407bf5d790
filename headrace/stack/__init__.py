"""The embedded stack: Kafka, Temporal, S3 and SQL on one machine, without Docker."""
