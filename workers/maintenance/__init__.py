"""Maintenance: temporary files, old history, analytics."""
