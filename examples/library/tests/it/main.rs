//! The library's commands against a real primary, its queries against a real streaming replica.

mod commands;
mod queries;
mod support;
