"""Learning paths."""
