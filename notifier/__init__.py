"""The Temporal worker that publishes completions and history."""
