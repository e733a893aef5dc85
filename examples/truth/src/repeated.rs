//! One call, again and again: with a closed loop of the program, and with the load generator.

use std::sync::Arc;
use std::time::Duration;

use console::Stop;
use eddyline::{AppendCondition, Error, ReadWrite, Store};
use futures_util::stream;
use load::engine::{Engine, Executor};
use load::plan::{Act, Aim, Crowd, Intention};
use load::tally::Tally;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Failure;
use crate::boundary::{loan, loans_of, note};

/// A call that is repeated.
#[derive(Clone, Debug)]
pub struct RepeatedCall {
    store: Store<ReadWrite>,
    operation: RepeatedOperation,
}

/// What is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RepeatedOperation {
    /// An append of one event without a condition.
    Append,
    /// A query for the 20 loans of a book, among its 620 events.
    Query,
}

impl RepeatedOperation {
    /// Both operations.
    pub const ALL: [Self; 2] = [Self::Query, Self::Append];

    /// Returns the name that the metrics have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Query => "query",
        }
    }
}

impl RepeatedCall {
    /// Creates a call of a store.
    pub fn new(store: &Store<ReadWrite>, operation: RepeatedOperation) -> Self {
        Self { store: store.clone(), operation }
    }

    /// Imports the events that queries find.
    ///
    /// # Errors
    ///
    /// Those of [`Store::import`].
    pub async fn fill(store: &Store<ReadWrite>) -> Result<(), Error> {
        let events = (0..BOOKS).flat_map(|book| {
            let loans = (0..LOANS_OF_A_BOOK).map(move |_| loan(book));
            loans.chain((0..NOTES_OF_A_BOOK).map(move |_| note(book)))
        });
        store.import(stream::iter(events)).await.map_err(Error::from)?;
        Ok(())
    }

    /// Makes the call once.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub async fn call(&self, number: u64) -> Result<(), Error> {
        match self.operation {
            RepeatedOperation::Append => {
                // Of a book that no query asks for, so that queries find the same all the time.
                let append = self.store.append([loan(BOOKS)?], AppendCondition::none());
                append.await.map(drop)
            }
            RepeatedOperation::Query => {
                let book = (number % u64::from(BOOKS)) as u32;
                self.store.query(loans_of(book)?).await.map(drop)
            }
        }
    }
}

/// Runs a closed loop: each client makes the call again as soon as it has ended.
///
/// # Errors
///
/// The first error of a call.
pub async fn run_loop(call: &RepeatedCall, clients: u32, length: Duration) -> Result<(), Failure> {
    let end = Instant::now() + length;
    run_clients(clients, |client| {
        let call = call.clone();
        async move {
            for number in client.. {
                if Instant::now() >= end {
                    break;
                }
                call.call(number).await.map_err(Failure::store("repeat a call"))?;
            }
            Ok(())
        }
    })
    .await
}

/// Lets the engine of the load generator make the call, with as many clients in a closed loop.
///
/// # Errors
///
/// That of the engine.
pub async fn run_engine(
    call: &RepeatedCall,
    clients: u32,
    length: Duration,
    tally: &Arc<Tally>,
) -> Result<(), Failure> {
    let engine = Engine::new(call.clone(), clients, Arc::clone(tally), Stop::default());
    engine.closed((0..).map(intention), length).await?;
    Ok(())
}

/// Runs a task for each client, and waits for all.
///
/// # Errors
///
/// The first one that a client returns.
pub async fn run_clients<F>(clients: u32, client: impl Fn(u64) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut tasks: JoinSet<_> = (0..u64::from(clients)).map(client).collect();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

impl Executor for RepeatedCall {
    async fn execute(&self, intention: Intention, _intended: std::time::Instant) {
        // A call that fails makes the counts of the two ways differ.
        let _ = self.call(intention.draw).await;
    }
}

/// Makes an intention of a visit of its own, so that none waits for another one.
fn intention(number: u32) -> Intention {
    Intention {
        visit: number,
        act: Act::Browse,
        aim: Aim::Success,
        crowd: Crowd::Alone,
        ends_visit: true,
        draw: u64::from(number),
    }
}

/// The number of books, each of which a query may ask for.
pub const BOOKS: u32 = 40;
const LOANS_OF_A_BOOK: u32 = 20;
/// The events of a book that the server looks at for a query, and that are of another type.
const NOTES_OF_A_BOOK: u32 = 600;
