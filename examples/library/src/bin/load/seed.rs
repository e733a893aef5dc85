use console::{Progress, tell};
use eddyline::{AppendCondition, Event, Filter, ReadWrite, SequenceNumber, Store};
use library::domain::{BookCopyAddedToCirculation, DomainEvent, OccurredAt, ReaderRegistered};
use library::queries::QueryHandler;
use rand::SeedableRng;
use rand::rngs::StdRng;
use uuid::Uuid;

use crate::args::Args;
use crate::books;
use crate::catalogue::Place;
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::population::{Population, Reader};

/// Gives the library the books and readers that it lacks.
pub(crate) struct Seed {
    books: usize,
    readers: usize,
    start: SequenceNumber,
    rng: StdRng,
}

impl Seed {
    pub(crate) fn new(args: &Args, start: SequenceNumber) -> Self {
        Self {
            books: args.books as usize,
            readers: args.readers as usize,
            start,
            rng: rng(args, start, 0),
        }
    }

    /// Learns what the log says already and appends what is missing.
    pub(crate) async fn fill(
        mut self,
        writer: &Store<ReadWrite>,
        queries: &QueryHandler,
        ledger: &mut Ledger,
    ) -> Result<Population, Failure> {
        if self.start > SequenceNumber::ZERO {
            tell(&format!("reading what the log says already, up to event {}", self.start));
        }
        let mut population = Population::of_log(queries).await.map_err(Failure::Query)?;
        let events = self.missing(&mut population).map_err(Failure::Store)?;
        if !events.is_empty() {
            append(writer, self.start, events, ledger).await?;
        }
        Ok(population)
    }

    /// Makes the missing events, and adds what they say to what is known.
    fn missing(&mut self, population: &mut Population) -> Result<Vec<Event>, eddyline::Error> {
        let command = Uuid::now_v7();
        let mut events = Vec::new();
        for _ in population.catalogue.in_circulation()..self.books {
            let (book, data) = books::book(&mut self.rng);
            population.catalogue.put(book, Place::OnShelf);
            let occurred_at = OccurredAt::now();
            let added = BookCopyAddedToCirculation { book, data, occurred_at };
            events.push(DomainEvent::from(added).to_event(command)?);
        }
        for _ in population.readers.len()..self.readers {
            let (reader, name) = books::reader(&mut self.rng);
            population.readers.push(Reader::new(reader, name.clone()));
            let occurred_at = OccurredAt::now();
            let registered = ReaderRegistered { reader, name, occurred_at };
            events.push(DomainEvent::from(registered).to_event(command)?);
        }
        Ok(events)
    }
}

/// Makes the random choices of one of several: other ones where a log is continued, so that nothing
/// is made up twice.
pub(crate) fn rng(args: &Args, start: SequenceNumber, number: u64) -> StdRng {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip([args.seed, start.value(), number]) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    StdRng::from_seed(bytes)
}

/// Appends many events in a few calls, if nobody else appends meanwhile.
async fn append(
    writer: &Store<ReadWrite>,
    start: SequenceNumber,
    events: Vec<Event>,
    ledger: &mut Ledger,
) -> Result<(), Failure> {
    let mut progress = Progress::toward("seed", events.len() as u64);
    let mut head = start;
    let mut done = 0;
    for batch in events.chunks(BATCH) {
        let condition = AppendCondition::no_match_after(Filter::everything(), head);
        let appended = writer.append(batch.to_vec(), condition).await.map_err(Failure::Store)?;
        for event in batch {
            ledger.store(event.id(), appended.first()..=appended.last());
        }
        head = appended.last();
        done += batch.len() as u64;
        progress.show(done, &format!("{done} books and readers"));
    }
    drop(progress);
    tell(&format!("seeded {done} books and readers"));
    Ok(())
}

const BATCH: usize = 1_000;
