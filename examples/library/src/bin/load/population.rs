use std::collections::HashMap;
use std::sync::Arc;

use eddyline::SequenceNumber;
use library::domain::{BookId, ReaderId};
use library::queries::{
    BooksInCirculation, BooksLentOut, CanceledReaders, QueryError, QueryHandler, RegisteredReaders,
    RemovedBooks,
};

use crate::catalogue::{Catalogue, Place};

/// Holds what the clients know of the library before they start.
#[derive(Default)]
pub(crate) struct Population {
    /// The copies, known to every client.
    pub(crate) catalogue: Catalogue,
    /// Who may borrow.
    pub(crate) readers: Vec<Reader>,
    /// Who may no longer.
    pub(crate) former: Vec<Reader>,
}

/// Is a part of the population: one client's readers, and the catalogue of all.
pub(crate) struct Quarter {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) former: Vec<Reader>,
}

/// Is a reader, as far as the client knows that the reader belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) id: ReaderId,
    pub(crate) name: String,
    pub(crate) loans: Vec<BookId>,
    /// What a query about the reader must see: where the reader's last event is, or lies before.
    pub(crate) seen: SequenceNumber,
    /// Whether the loans are known: after an error they may be others.
    pub(crate) is_certain: bool,
}

impl Reader {
    pub(crate) fn new(id: ReaderId, name: String) -> Self {
        Self { id, name, loans: Vec::new(), seen: SequenceNumber::ZERO, is_certain: true }
    }
}

impl Population {
    /// Learns what a log says already.
    pub(crate) async fn of_log(queries: &QueryHandler) -> Result<Self, QueryError> {
        let mut population = Self::default();
        for copy in queries.handle(&BooksInCirculation).await?.value.books {
            let place = if copy.is_currently_lent { Place::Lent } else { Place::OnShelf };
            population.catalogue.put(copy.book, place);
        }
        for copy in queries.handle(&RemovedBooks).await?.value {
            population.catalogue.put(copy.book, Place::Removed);
        }

        let mut loans: HashMap<ReaderId, Vec<BookId>> = HashMap::new();
        for loan in queries.handle(&BooksLentOut).await?.value {
            loans.entry(loan.reader).or_default().push(loan.book);
        }
        let registered = queries.handle(&RegisteredReaders).await?;
        for known in registered.value {
            let mut reader = Reader::new(known.reader, known.name);
            reader.loans = loans.remove(&reader.id).unwrap_or_default();
            reader.seen = registered.position;
            population.readers.push(reader);
        }
        for known in queries.handle(&CanceledReaders).await?.value {
            population.former.push(Reader::new(known.reader, "a former reader".to_owned()));
        }
        Ok(population)
    }

    /// Divides the readers among clients.
    pub(crate) fn divide(self, clients: u32) -> Vec<Quarter> {
        let catalogue = Arc::new(self.catalogue);
        let mut quarters: Vec<_> = (0..clients)
            .map(|_| Quarter {
                catalogue: catalogue.clone(),
                readers: Vec::new(),
                former: Vec::new(),
            })
            .collect();
        let count = quarters.len();
        for (index, reader) in self.readers.into_iter().enumerate() {
            quarters[index % count].readers.push(reader);
        }
        for (index, reader) in self.former.into_iter().enumerate() {
            quarters[index % count].former.push(reader);
        }
        quarters
    }
}
