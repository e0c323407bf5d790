"""Alembic's folder: one file a revision, run by `headrace.store.migrate`."""
