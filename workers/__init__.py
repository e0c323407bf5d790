"""The Temporal workers: one folder per domain."""
