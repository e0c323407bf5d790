"""What two processes must agree on: Avro schemas, the models of the same records, ids, topics, headers, routes."""
