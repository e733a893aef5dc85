use std::time::Duration;

use eddyline::retry::Retry;
use eddyline::{Config, Error, ReadOnly, RetryPolicy, Store};

use crate::LoadError;

/// Connects to replicas as soon as they have the log.
pub async fn connect_replica(config: Config) -> Result<Store<ReadOnly>, LoadError> {
    connect_with_retry(config, |error| matches!(error, Error::SchemaMissing { .. })).await
}

/// Connects to a server for the audit. Transient errors are retried as well: the server may still
/// count connections that the load has just closed, and have none free.
pub async fn connect_audit_store(config: &Config) -> Result<Store<ReadOnly>, LoadError> {
    let is_retried =
        |error: &Error| matches!(error, Error::SchemaMissing { .. }) || error.is_transient();
    connect_with_retry(audit_config(config), is_retried).await
}

/// Adds a replica to a store, which a busy machine may keep from answering in time. Returns its
/// name in the store.
pub async fn add_replica(store: &Store<ReadOnly>, url: &str) -> Result<String, LoadError> {
    let policy = repeated(RETRY_DELAY)?;
    Retry::new(&policy, || store.add_replica(url))
        .when(Error::is_transient)
        .await
        .into_result()
        .map_err(|failed| LoadError::Store(failed.into()))
}

/// Connects a read-only store. Retries the errors for which `is_retried` returns true, up to a
/// deadline.
async fn connect_with_retry(
    config: Config,
    is_retried: impl Fn(&Error) -> bool,
) -> Result<Store<ReadOnly>, LoadError> {
    let policy = repeated(RETRY_DELAY)?;
    Retry::new(&policy, || Store::<ReadOnly>::connect(config.clone()))
        .when(is_retried)
        .await
        .into_result()
        .map_err(|failed| LoadError::Store(failed.into()))
}

/// Returns a policy of repetitions at equal intervals, up to a deadline.
fn repeated(delay: Duration) -> Result<RetryPolicy, LoadError> {
    RetryPolicy::builder()
        .attempts(u32::MAX)
        .base_delay(delay)
        .max_delay(delay)
        .deadline(REPLAY_TIMEOUT)
        .no_budget()
        .build()
        .map_err(LoadError::Store)
}

/// Returns the configuration for an audit. Its statement timeout is long, since the audit reads the
/// whole log.
fn audit_config(config: &Config) -> Config {
    config
        .clone()
        .max_connections(1)
        .statement_timeout(Duration::from_secs(3_600))
        .replica_timeout(REPLAY_TIMEOUT)
}

/// The longest time for a replica to replay what the primary has committed, and for a connection
/// attempt to succeed.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_DELAY: Duration = Duration::from_millis(50);
