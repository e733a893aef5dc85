//! Tests of the commands and the queries against a real primary and a streaming replica.

mod commands;
mod queries;
mod support;
