//! What the crate promises, against a real primary with a real streaming replica.

mod append;
mod support;
