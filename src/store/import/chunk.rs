use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::Pin;

use futures_core::Stream;
use futures_util::StreamExt;
use tokio::task::coop::consume_budget;
use uuid::Uuid;

use crate::Event;
use crate::imported::Importable;
use crate::store::append::json_bytes;

/// The events of one transaction of an import. No two of them have the same id.
pub(super) struct Chunk<E> {
    pub(super) events: Vec<Event>,
    /// How many events were read for the chunk, including those that came earlier in the stream.
    pub(super) read: u64,
    /// The end of the source, if no chunk follows.
    pub(super) end: Option<SourceEnd<E>>,
    /// The first event of the next chunk, if it was read already.
    pub(super) next: Option<Event>,
    /// The index of each event by its id.
    ids: HashMap<Uuid, usize>,
    /// The size of the events' JSON.
    bytes: usize,
}

/// The way in which a source ended.
pub(super) enum SourceEnd<E> {
    Complete,
    Failed(E),
}

impl<E> Chunk<E> {
    /// Reads a chunk. It begins with `first`, an event that was read for the chunk before.
    ///
    /// If an event has the id of another one of the chunk and other contents, it begins the next
    /// chunk, so that the server compares the two.
    pub(super) async fn read(
        mut source: Pin<&mut impl Stream<Item: Importable<Error = E>>>,
        size: usize,
        mut first: Option<Event>,
    ) -> Self {
        let mut chunk = Self::empty();
        while chunk.read < size as u64 && chunk.bytes < MAX_CHUNK_BYTES {
            // From a source that is always ready, the whole chunk would be read before the future
            // that stores the previous chunk is polled.
            consume_budget().await;
            match next_event(source.as_mut(), first.take()).await {
                Ok(event) => chunk.add(event),
                Err(end) => chunk.end = Some(end),
            }
            if chunk.next.is_some() || chunk.end.is_some() {
                break;
            }
        }
        chunk
    }

    fn empty() -> Self {
        Self { events: Vec::new(), read: 0, end: None, next: None, ids: HashMap::new(), bytes: 0 }
    }

    fn add(&mut self, event: Event) {
        match self.ids.entry(event.id()) {
            Entry::Occupied(same_id) if self.events[*same_id.get()] != event => {
                self.next = Some(event);
                return;
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => {
                entry.insert(self.events.len());
                self.bytes += json_bytes([&event]);
                self.events.push(event);
            }
        }
        self.read += 1;
    }
}

/// Returns the event that was read already or, without one, the next event of the source.
async fn next_event<E>(
    mut source: Pin<&mut impl Stream<Item: Importable<Error = E>>>,
    first: Option<Event>,
) -> Result<Event, SourceEnd<E>> {
    let item = match first {
        Some(event) => Some(Ok(event)),
        None => source.next().await.map(Importable::into_event),
    };
    match item {
        None => Err(SourceEnd::Complete),
        Some(Err(error)) => Err(SourceEnd::Failed(error)),
        Some(Ok(event)) => Ok(event),
    }
}

/// A chunk with this many bytes of JSON is full.
const MAX_CHUNK_BYTES: usize = 8 << 20;
