"""Finds the accepted events whose runs have ended without telling so, and publishes their completions."""
