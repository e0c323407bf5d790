"""The workflow that starts events anew whose run failed, and its activity."""
