//! Tests of the commands, the queries and the load generator against a real primary and a streaming
//! replica.

mod commands;
mod load;
mod queries;
mod support;
