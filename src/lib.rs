//! An event store for dynamic consistency boundaries on PostgreSQL.
