use std::sync::Arc;

use console::Stop;
use eddyline::SequenceNumber;
use library::commands::CommandHandler;
use library::queries::QueryHandler;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::args::Args;
use crate::catalogue::Catalogue;
use crate::population::{Population, Reader};
use crate::seed;
use crate::servers::Stores;
use crate::session::{ClientSession, LiveCounts};

/// A client of the library. It runs random operations for its share of the readers, one at a time.
pub(crate) struct Client {
    pub(crate) session: ClientSession,
    pub(crate) rng: StdRng,
    pub(crate) readers: Vec<Reader>,
    pub(crate) former_readers: Vec<Reader>,
    pub(crate) catalogue: Arc<Catalogue>,
    live_counts: Arc<LiveCounts>,
    /// The minimum share of queries, in percent.
    queries: u32,
}

impl Client {
    /// Creates the clients of a load. Each has its own readers and its own random choices.
    pub(crate) fn create_all(
        args: &Args,
        stores: &Stores,
        population: Population,
        start: SequenceNumber,
    ) -> Vec<Self> {
        let counts = Arc::new(LiveCounts::default());
        let commands = CommandHandler::new(stores.writer.clone());
        let queries = QueryHandler::new(stores.reader.clone());
        (1..)
            .zip(population.split(args.clients))
            .map(|(number, share)| Self {
                session: ClientSession::new(
                    commands.clone(),
                    queries.clone(),
                    counts.clone(),
                    start,
                ),
                rng: seed::rng(args, start, number),
                readers: share.readers,
                former_readers: share.former_readers,
                catalogue: share.catalogue,
                live_counts: counts.clone(),
                queries: args.queries,
            })
            .collect()
    }

    /// Runs operations until `stop` is set. An operation that has begun is completed.
    pub(crate) async fn run(mut self, stop: Stop) -> ClientSession {
        while !stop.is_set() {
            if !self.session.has_share_of_queries(self.queries) {
                self.run_query().await;
                continue;
            }
            match self.rng.random_range(0..100) {
                0..90 => self.serve_reader().await,
                90..94 => self.change_circulation().await,
                94..96 => self.change_registrations().await,
                _ => self.run_list_query().await,
            }
        }
        self.session
    }

    /// Runs a random query. One in eight concerns all books or all readers, about as many as
    /// without a minimum share.
    async fn run_query(&mut self) {
        match self.random_reader() {
            Some(reader) if !self.chance(0.125) => self.query_loans(&reader).await,
            _ => self.run_list_query().await,
        }
    }

    /// Returns the counts that all clients share.
    pub(crate) fn live_counts(&self) -> Arc<LiveCounts> {
        self.live_counts.clone()
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }
}
