use console::{Progress, print_stderr};
use eddyline::{AppendCondition, Event, Filter, ReadWrite, SequenceNumber, Store};
use library::domain::{BookCopyAddedToCirculation, DomainEvent, OccurredAt, ReaderRegistered};
use library::queries::QueryHandler;
use rand::SeedableRng;
use rand::rngs::StdRng;
use uuid::Uuid;

use crate::args::Args;
use crate::catalogue::CopyState;
use crate::error::LoadError;
use crate::generate;
use crate::population::{Population, Reader};
use crate::replies::Replies;

/// The books and readers to append before the load, so that the library has as many as requested.
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

    /// Reads the population from the log and appends the missing books and readers.
    pub(crate) async fn fill(
        mut self,
        writer: &Store<ReadWrite>,
        queries: &QueryHandler,
        replies: &mut Replies,
    ) -> Result<Population, LoadError> {
        if self.start > SequenceNumber::ZERO {
            print_stderr(&format!("reading the existing log, up to event {}", self.start));
        }
        let mut population = Population::of_log(queries).await.map_err(LoadError::Query)?;
        let events = self.generate_missing(&mut population).map_err(LoadError::Store)?;
        if !events.is_empty() {
            append(writer, self.start, events, replies).await?;
        }
        Ok(population)
    }

    /// Generates the missing books and readers, and adds them to the population. Returns their
    /// events.
    fn generate_missing(
        &mut self,
        population: &mut Population,
    ) -> Result<Vec<Event>, eddyline::Error> {
        let command = Uuid::now_v7();
        let mut events = Vec::new();
        for _ in population.catalogue.in_circulation()..self.books {
            let (book, data) = generate::book(&mut self.rng);
            population.catalogue.set(book, CopyState::OnShelf);
            let occurred_at = OccurredAt::now();
            let added = BookCopyAddedToCirculation { book, data, occurred_at };
            events.push(DomainEvent::from(added).to_event(command)?);
        }
        for _ in population.readers.len()..self.readers {
            let (reader, name) = generate::reader(&mut self.rng);
            population.readers.push(Reader::new(reader, name.clone()));
            let occurred_at = OccurredAt::now();
            let registered = ReaderRegistered { reader, name, occurred_at };
            events.push(DomainEvent::from(registered).to_event(command)?);
        }
        Ok(events)
    }
}

/// Returns a random number generator. Each `number` has its own sequence, and so has each `start`:
/// a run that continues a log must not generate the ids of an earlier run again.
pub(crate) fn rng(args: &Args, start: SequenceNumber, number: u64) -> StdRng {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip([args.seed, start.value(), number]) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    StdRng::from_seed(bytes)
}

/// Appends the events in a few calls. A call fails with a conflict if another process appends in
/// between.
async fn append(
    writer: &Store<ReadWrite>,
    start: SequenceNumber,
    events: Vec<Event>,
    replies: &mut Replies,
) -> Result<(), LoadError> {
    let mut progress = Progress::toward("seed", events.len() as u64);
    let mut head = start;
    let mut appended_count = 0;
    for chunk in events.chunks(EVENTS_PER_APPEND) {
        let condition = AppendCondition::no_match_after(Filter::everything(), head);
        let appended = writer.append(chunk.to_vec(), condition).await.map_err(LoadError::Store)?;
        for event in chunk {
            replies.add_stored(event.id(), appended.first()..=appended.last());
        }
        head = appended.last();
        appended_count += chunk.len() as u64;
        progress.show(appended_count, &format!("{appended_count} books and readers"));
    }
    drop(progress);
    print_stderr(&format!("seeded {appended_count} books and readers"));
    Ok(())
}

const EVENTS_PER_APPEND: usize = 1_000;
