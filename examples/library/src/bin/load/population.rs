use std::collections::HashMap;
use std::sync::Arc;

use eddyline::SequenceNumber;
use library::domain::{BookId, ReaderId};
use library::queries::{
    BooksInCirculation, BooksLentOut, CanceledReaders, QueryError, QueryHandler, RegisteredReaders,
    RemovedBooks,
};

use crate::catalogue::{Catalogue, CopyState};

/// The books and readers of the library at the start of the load.
#[derive(Default)]
pub(crate) struct Population {
    /// The copies, which all clients share.
    pub(crate) catalogue: Catalogue,
    /// The registered readers.
    pub(crate) readers: Vec<Reader>,
    /// The readers whose contracts are canceled.
    pub(crate) former_readers: Vec<Reader>,
}

/// One client's share of the population: its readers, and the catalogue of all copies.
pub(crate) struct Share {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) former_readers: Vec<Reader>,
}

/// The state of a reader according to the replies that its client received.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) id: ReaderId,
    pub(crate) name: String,
    pub(crate) loans: Vec<BookId>,
    /// A position at or above that of the reader's last event. Queries about the reader must be
    /// answered at this position or later.
    pub(crate) last_position: SequenceNumber,
    /// Whether the loans are known: after an error they can differ from the log.
    pub(crate) loans_are_known: bool,
}

impl Reader {
    pub(crate) fn new(id: ReaderId, name: String) -> Self {
        Self {
            id,
            name,
            loans: Vec::new(),
            last_position: SequenceNumber::ZERO,
            loans_are_known: true,
        }
    }
}

impl Population {
    /// Reads the population from a log.
    pub(crate) async fn of_log(queries: &QueryHandler) -> Result<Self, QueryError> {
        let mut population = Self::default();
        for copy in queries.handle(&BooksInCirculation).await?.value.books {
            let state = if copy.is_currently_lent { CopyState::Lent } else { CopyState::OnShelf };
            population.catalogue.set(copy.book, state);
        }
        for copy in queries.handle(&RemovedBooks).await?.value {
            population.catalogue.set(copy.book, CopyState::Removed);
        }

        let mut loans: HashMap<ReaderId, Vec<BookId>> = HashMap::new();
        for loan in queries.handle(&BooksLentOut).await?.value {
            loans.entry(loan.reader).or_default().push(loan.book);
        }
        let registered = queries.handle(&RegisteredReaders).await?;
        for known in registered.value {
            let mut reader = Reader::new(known.reader, known.name);
            reader.loans = loans.remove(&reader.id).unwrap_or_default();
            reader.last_position = registered.position;
            population.readers.push(reader);
        }
        for known in queries.handle(&CanceledReaders).await?.value {
            let name = "a former reader".to_owned();
            population.former_readers.push(Reader::new(known.reader, name));
        }
        Ok(population)
    }

    /// Distributes the readers among clients.
    pub(crate) fn split(self, clients: u32) -> Vec<Share> {
        let catalogue = Arc::new(self.catalogue);
        let mut shares: Vec<_> = (0..clients)
            .map(|_| Share {
                catalogue: catalogue.clone(),
                readers: Vec::new(),
                former_readers: Vec::new(),
            })
            .collect();
        let count = shares.len();
        for (index, reader) in self.readers.into_iter().enumerate() {
            shares[index % count].readers.push(reader);
        }
        for (index, reader) in self.former_readers.into_iter().enumerate() {
            shares[index % count].former_readers.push(reader);
        }
        shares
    }
}
