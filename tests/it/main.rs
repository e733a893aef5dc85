//! What the crate promises, against a real primary with a real streaming replica.

mod agreement;
mod append;
mod cancel;
mod canonical;
mod generate;
mod read;
mod support;
mod traps;
