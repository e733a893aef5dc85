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
use crate::session::{Live, Session};

/// Does what a part of the population wants of the library, one thing after the other.
pub(crate) struct Client {
    pub(crate) session: Session,
    pub(crate) rng: StdRng,
    pub(crate) readers: Vec<Reader>,
    pub(crate) former: Vec<Reader>,
    pub(crate) catalogue: Arc<Catalogue>,
    live: Arc<Live>,
}

impl Client {
    /// Makes the clients of a load, each with its own readers and its own random choices.
    pub(crate) fn crew(
        args: &Args,
        stores: &Stores,
        population: Population,
        start: SequenceNumber,
    ) -> Vec<Self> {
        let live = Arc::new(Live::default());
        let commands = CommandHandler::new(stores.writer.clone());
        let queries = QueryHandler::new(stores.reader.clone());
        (1..)
            .zip(population.divide(args.clients))
            .map(|(number, quarter)| Self {
                session: Session::new(commands.clone(), queries.clone(), live.clone(), start),
                rng: seed::rng(args, start, number),
                readers: quarter.readers,
                former: quarter.former,
                catalogue: quarter.catalogue,
                live: live.clone(),
            })
            .collect()
    }

    /// Works until told to stop; what was begun is finished first.
    pub(crate) async fn work(mut self, stop: Stop) -> Session {
        while !stop.is_set() {
            match self.rng.random_range(0..100) {
                0..90 => self.reader_ops().await,
                90..94 => self.keep_shelves().await,
                94..96 => self.keep_register().await,
                _ => self.look_around().await,
            }
        }
        self.session
    }

    /// Returns the counts that all clients share.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }
}
