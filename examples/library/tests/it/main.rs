//! Tests of the commands and the queries against a real primary and a streaming replica.

mod commands;
mod handlers;
mod observer;
mod queries;
mod support;
