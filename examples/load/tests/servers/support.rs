//! Servers, and clients that append to their log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use console::Stop;
use eddyline::{AppendCondition, Appended, Event, Filter, History, ReadOnly, ReadWrite, Store};
use load::faults::{CheckedScript, Director, Mark, Marks, Script};
use load::servers::{ServerSettings, Servers, Stores};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The servers of a test, and their stores.
pub struct Fixture {
    pub servers: Servers,
    pub stores: Stores,
    pub script: CheckedScript,
}

impl Fixture {
    /// Starts servers for a script.
    pub async fn start(replicas: u16, faults: &[&str]) -> Self {
        let settings = settings(replicas);
        let script = Script::parse(faults).unwrap();
        let script = script.check(&settings, Duration::from_secs(600)).unwrap();
        let servers = Servers::open(&settings, &script.preparations()).await.unwrap();
        let stores = servers.connect().await.unwrap();
        Self { servers, stores, script }
    }

    /// Carries out the script in a task of its own, and returns its marks.
    pub async fn direct(&self, start: Instant, stop: &Stop) -> Vec<Mark> {
        let marks = Marks::default();
        let (script, servers) = (self.script.clone(), self.servers.clone());
        let (reader, shared, stop) = (self.stores.reader.clone(), marks.clone(), stop.clone());
        let directing = async move {
            Director::run(&script, &servers, &reader, start, &shared, &stop).await;
        };
        tokio::spawn(directing).await.unwrap();
        marks.list()
    }

    /// Checks that all servers have the same log, with each acknowledged event at its position.
    pub async fn assert_holds(&self, acknowledged: &BTreeMap<u64, Uuid>, replicas: usize) {
        let audit = self.servers.connect_for_audit().await.unwrap();
        assert_eq!((audit.replicas.len(), audit.gone.len()), (replicas, 0));
        let history = audit.primary.query(Filter::everything()).await.unwrap();
        let stored = ids(&history);
        for (position, id) in acknowledged {
            assert_eq!(stored.get(position), Some(id), "position {position}");
        }
        for (_, replica) in &audit.replicas {
            let replica = replica.at_least(history.position());
            assert_eq!(ids(&replica.query(Filter::everything()).await.unwrap()), stored);
        }
    }
}

pub fn settings(replicas: u16) -> ServerSettings {
    ServerSettings {
        primary: None,
        replica_addresses: Vec::new(),
        replicas,
        pg_bin: None,
        log: "events".to_owned(),
        clients: 8,
        fsync: false,
    }
}

/// Clients that append events until they are ended.
pub struct Clients {
    tasks: Vec<JoinHandle<BTreeMap<u64, Uuid>>>,
    is_over: Arc<AtomicBool>,
    count: watch::Receiver<u64>,
}

impl Clients {
    pub fn start(store: &Store<ReadWrite>) -> Self {
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(0));
        let tasks = (0..4)
            .map(|_| tokio::spawn(append_until(store.clone(), is_over.clone(), count.clone())));
        Self { tasks: tasks.collect(), is_over, count: count.subscribe() }
    }

    /// Waits until further events have been stored.
    pub async fn wait_for(&mut self, events: u64) {
        let goal = *self.count.borrow() + events;
        self.count.wait_for(|count| *count >= goal).await.unwrap();
    }

    /// Ends the clients. Returns the events that were acknowledged, by their positions.
    pub async fn end(self) -> BTreeMap<u64, Uuid> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut acknowledged = BTreeMap::new();
        for task in self.tasks {
            acknowledged.extend(task.await.unwrap());
        }
        acknowledged
    }
}

async fn append_until(
    store: Store<ReadWrite>,
    is_over: Arc<AtomicBool>,
    count: watch::Sender<u64>,
) -> BTreeMap<u64, Uuid> {
    let mut acknowledged = BTreeMap::new();
    while !is_over.load(Ordering::Relaxed) {
        let event = lent();
        let id = event.id();
        if let Ok(appended) = store.append([event], AppendCondition::none()).await {
            acknowledged.insert(appended.last().value(), id);
            count.send_modify(|count| *count += 1);
        }
    }
    acknowledged
}

/// Appends events in one transaction.
pub async fn append(fixture: &Fixture, events: usize) -> Appended {
    let events: Vec<_> = (0..events).map(|_| lent()).collect();
    fixture.stores.writer.append(events, AppendCondition::none()).await.unwrap()
}

/// Returns an event of a book and a reader of its own.
pub fn lent() -> Event {
    let payload = json!({ "BookID": Uuid::now_v7(), "ReaderID": Uuid::now_v7() });
    Event::new("BookCopyLentToReader", &payload).unwrap()
}

/// Returns the ids of events by their positions.
fn ids(history: &History<ReadOnly>) -> BTreeMap<u64, Uuid> {
    history.events().iter().map(|event| (event.sequence_number().value(), event.id())).collect()
}

/// Asserts that each fault was done and undone without an error, in this order.
pub fn assert_done(marks: &[Mark], texts: &[&str]) {
    let done: Vec<_> = marks.iter().map(|mark| mark.text.as_str()).collect();
    assert_eq!(done, texts, "{marks:?}");
    for mark in marks {
        assert_eq!(mark.error, None);
        assert!(mark.until.is_some_and(|until| until >= mark.at), "{mark:?}");
    }
}
