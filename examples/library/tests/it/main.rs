//! The library against a real primary and a real streaming replica: commands, queries, and the load.

mod commands;
mod load;
mod queries;
mod support;
