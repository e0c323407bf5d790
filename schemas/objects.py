"""Keys in the bucket that more than one domain must know."""

TEMPORARY = "tmp/"
"""What a run needs no longer than itself. Maintenance removes what is older than `HEADRACE_TEMPORARY_HOURS` here, and nothing else."""
REQUESTS = "requests/"
"""Values of request records that are too large for Kafka. Nobody removes them but a rule of the bucket's owner."""
HISTORY_ARCHIVE = "archive/history/"
"""History that has left the database, one Parquet file or more for each UTC day."""
