"""Credit transactions."""
