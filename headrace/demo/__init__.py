"""`make demo`: real requests through the real path, verified and shown."""
