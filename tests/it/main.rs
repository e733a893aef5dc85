//! What the crate promises, against a real primary with a real streaming replica.

mod agreement;
mod append;
mod cancel;
mod canonical;
mod classify;
mod codes;
mod connect;
mod decide;
mod encryption;
mod failures;
mod generate;
mod house;
mod limits;
mod numbers;
mod pool;
mod read;
mod repeat;
mod replica;
mod retry;
mod roles;
mod schema;
mod support;
mod telemetry;
mod traps;
mod unknown;
mod witnesses;
