//! The stores of the writers and readers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eddyline::{Config, Error, Fallback, ReadOnly, ReadWrite, RetryPolicy, Store};
use tokio::time::sleep;

use crate::args::Sabotage;
use crate::failure::Failure;
use crate::testbed::{FALLBACK_READER, READER, Roles, Testbed};

/// The stores.
pub struct Stores {
    pub writer: Store<ReadWrite>,
    /// Knows the replicas only.
    pub plain: Store<ReadOnly>,
    /// Observes the primary, and never reads from it.
    pub observing: Store<ReadOnly>,
    /// Reads from the primary if no replica is fresh enough.
    pub fallback: Store<ReadOnly>,
    /// The names of each server in the read-only stores.
    names: Mutex<HashMap<usize, [String; 3]>>,
}

impl Stores {
    pub async fn connect(testbed: &Testbed, sabotage: Option<Sabotage>) -> Result<Self, Failure> {
        let connect = async || {
            let writer = config(&testbed.primary_of_writers())?;
            let plain = replicas(testbed, READER, sabotage)?;
            let observing = replicas(testbed, READER, sabotage)?
                .primary(&testbed.primary_of_readers(READER), Fallback::Never)?;
            let fallback = replicas(testbed, FALLBACK_READER, sabotage)?
                .primary(&testbed.primary_of_readers(FALLBACK_READER), Fallback::WhenBehind)?;
            Ok(Self {
                writer: Store::<ReadWrite>::connect(writer).await?,
                plain: Store::<ReadOnly>::connect(plain).await?,
                observing: Store::<ReadOnly>::connect(observing).await?,
                fallback: Store::<ReadOnly>::connect(fallback).await?,
                names: Mutex::new(first_names(testbed)),
            })
        };
        connect().await.map_err(Failure::store("connect the stores"))
    }

    /// Removes a replica from the read-only stores. If it is the last one, waits for another one.
    pub async fn remove(&self, number: usize) -> Result<(), Failure> {
        while self.names().len() < 2 {
            sleep(PAUSE).await;
        }
        let names = self.names().remove(&number).expect("the server is a replica");
        let mut removals = self.read_only().into_iter().zip(&names);
        let removed = removals.try_for_each(|((store, _), name)| store.remove_replica(name));
        removed.map_err(Failure::store("remove a replica"))
    }

    /// Adds a replica to the read-only stores.
    pub async fn add(&self, testbed: &Testbed, number: usize) -> Result<(), Failure> {
        let mut names = Vec::new();
        for (store, user) in self.read_only() {
            let address = testbed.address(user, number);
            names.push(add(store, &address).await.map_err(Failure::store("add a replica"))?);
        }
        self.names().insert(number, names.try_into().expect("there are three stores"));
        Ok(())
    }

    /// Returns the read-only stores with their users.
    fn read_only(&self) -> [(&Store<ReadOnly>, &'static str); 3] {
        [(&self.plain, READER), (&self.observing, READER), (&self.fallback, FALLBACK_READER)]
    }

    fn names(&self) -> MutexGuard<'_, HashMap<usize, [String; 3]>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a replica, which a busy machine may keep from answering in time.
async fn add(store: &Store<ReadOnly>, address: &str) -> Result<String, Error> {
    let began = Instant::now();
    loop {
        match store.add_replica(address).await {
            Err(error) if error.is_transient() && began.elapsed() < LONGEST_ADDITION => {}
            outcome => return outcome,
        }
    }
}

/// Returns the names of the replicas that a new store has.
fn first_names(testbed: &Testbed) -> HashMap<usize, [String; 3]> {
    let replicas = testbed.roles().replicas.into_iter().enumerate();
    let names = replicas
        .map(|(index, number)| (number, std::array::from_fn(|_| format!("replica-{index}"))));
    names.collect()
}

/// Returns the configuration of a store that reads from the replicas.
fn replicas(testbed: &Testbed, user: &str, sabotage: Option<Sabotage>) -> Result<Config, Error> {
    let Roles { primary, replicas } = testbed.roles();
    let (first, others) = replicas.split_first().expect("there are replicas");
    let sabotaged = (sabotage == Some(Sabotage::Primary)).then_some(primary);
    let others = others.iter().copied().chain(sabotaged);
    let config = config(&testbed.address(user, *first))?;
    let mut others = others.map(|number| testbed.address(user, number));
    others.try_fold(config, |config, url| config.replica(&url))
}

fn config(url: &str) -> Result<Config, Error> {
    let policy = RetryPolicy::builder().attempt_timeout(ATTEMPT).deadline(DEADLINE).build()?;
    let config = Config::new(url)?.retry(policy).replica_timeout(REPLICA_TIMEOUT);
    Ok(config.connect_timeout(CONNECT_TIMEOUT).acquire_timeout(CONNECT_TIMEOUT))
}

const ATTEMPT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(6);
const LONGEST_ADDITION: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);
