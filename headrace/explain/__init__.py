"""What is known of one event, asked of the database, Temporal and Kafka."""
