"""Keys in the bucket that more than one domain must know."""

TEMPORARY = "tmp/"
"""What a run needs no longer than itself. Maintenance removes what is older than `HEADRACE_TEMPORARY_HOURS` here, and nothing else."""
HISTORY_ARCHIVE = "archive/history/"
"""History that has left the database, one Parquet file or more for each UTC day."""
