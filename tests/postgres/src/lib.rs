//! Local PostgreSQL clusters with streaming replicas, for tests and demonstrations.
