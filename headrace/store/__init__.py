"""SQL: the engine, the tables, their migrations."""
