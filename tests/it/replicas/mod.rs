//! The servers of a read-only store: health, choice, freshness, and the primary as last resort.

mod bad_input;
mod fallback;
mod freshness;
mod health;
mod identity;
mod membership;
mod staleness;

use eddyline::{Config, ReadOnly, ReplicaState, RetryPolicy, Store};

use crate::support::FOREVER;

/// Removes all limits of a read, so that a test in which one waits for its limit never ends.
fn unlimited(config: Config) -> Config {
    config
        .acquire_timeout(FOREVER)
        .connect_timeout(FOREVER)
        .statement_timeout(FOREVER)
        .replica_timeout(FOREVER)
        .retry(RetryPolicy::never())
}

/// Returns the state of the servers of a store, by name.
fn states(store: &Store<ReadOnly>) -> Vec<(String, ReplicaState)> {
    store.replicas().into_iter().map(|replica| (replica.name, replica.state)).collect()
}

fn is_up(store: &Store<ReadOnly>, name: &str) -> bool {
    states(store).contains(&(name.to_owned(), ReplicaState::Up))
}
