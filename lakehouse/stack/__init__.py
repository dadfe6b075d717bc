"""The embedded servers: Kafka, an S3 object store, PostgreSQL and Valkey, as detached processes on the loopback address."""
