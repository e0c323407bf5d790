"""The workflow that sends dead letters again, and its activity."""
