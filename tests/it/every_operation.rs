//! Each operation of a store, on each kind of connection.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;

use eddyline::{
    AppendCondition, Config, Decision, Error, Event, Filter, Pooler, Query, ReadOnly, ReadWrite,
    RetryPolicy, Schema, Store, Tls,
};
use futures_util::{TryStreamExt, stream};

use crate::support::{ConnectionPooler, Log, lent, loans_of, next, secure_server, wait};

/// A kind of connection between a store and its server.
#[derive(Clone, Copy, Debug)]
enum Way {
    Direct,
    Encrypted,
    SessionPooler,
    Socket,
    TransactionPooler,
}

impl Way {
    const ALL: [Self; 5] =
        [Self::Direct, Self::Encrypted, Self::SessionPooler, Self::Socket, Self::TransactionPooler];

    /// Returns the settings of a store that connects in this way, and of one that connects directly, to
    /// the same server.
    async fn configs(self) -> (Config, Config) {
        let at = |url: &str| Config::new(url).unwrap();
        let (log, secure) = (Log::missing().await, secure_server().await);
        let (url, secure_url) = (log.primary_url(), secure.url());
        match self {
            Self::Direct => (at(&url), at(&url)),
            Self::Encrypted => {
                let verified = at(&secure_url).tls(Tls::Verify { ca_file: secure.authority() });
                (verified, at(&secure_url).tls(Tls::Disable))
            }
            Self::SessionPooler => {
                let pooler = ConnectionPooler::in_session_mode(&url).await;
                (at(&pooler.url(&url)), at(&url))
            }
            Self::Socket => (at(&secure.socket_url()), at(&secure_url)),
            Self::TransactionPooler => {
                let pooler = ConnectionPooler::in_transaction_mode(&url).await;
                (at(&pooler.url(&url)).pooler(Pooler::Transaction), at(&url))
            }
        }
    }
}

/// What is asked of a server, by the name of its method.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Append,
    AtLeast,
    Connect,
    Decide,
    Event,
    Head,
    Import,
    Migrate,
    Query,
    Retry,
    Stream,
}

/// The methods of a store that ask its server nothing.
const OTHERS: [&str; 3] = ["retry_policy", "retrying", "scope"];

impl Operation {
    const ALL: [Self; 11] = [
        Self::Append,
        Self::AtLeast,
        Self::Connect,
        Self::Decide,
        Self::Event,
        Self::Head,
        Self::Import,
        Self::Migrate,
        Self::Query,
        Self::Retry,
        Self::Stream,
    ];

    fn method(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::AtLeast => "at_least",
            Self::Connect => "connect",
            Self::Decide => "decide",
            Self::Event => "event",
            Self::Head => "head",
            Self::Import => "import",
            Self::Migrate => "migrate",
            Self::Query => "query",
            Self::Retry => "retry",
            Self::Stream => "stream",
        }
    }

    async fn run(self, desk: &Desk) {
        let Desk { config, writer, reader, .. } = desk;
        let book = format!("b-{}", next());
        let loan = lent(&book, "r-1");
        match self {
            Self::Append => desk.append(&book).await,
            Self::AtLeast => {
                let last = desk.lend(&loan).await;
                let history = reader.at_least(last).query(&loans_of(&book)).await.unwrap();
                assert_eq!(history.events().len(), 1);
            }
            Self::Connect => {
                Store::<ReadWrite>::connect(config.clone()).await.unwrap();
                Store::<ReadOnly>::connect(config.clone()).await.unwrap();
            }
            Self::Decide => desk.decide(&book).await,
            Self::Event => {
                desk.lend(&loan).await;
                for found in [reader.event(loan.id()).await, writer.event(loan.id()).await] {
                    assert_eq!(found.unwrap().map(|event| event.id()), Some(loan.id()));
                }
            }
            Self::Head => {
                let last = desk.lend(&loan).await;
                assert_eq!([reader.head().await.unwrap(), writer.head().await.unwrap()], [last; 2]);
            }
            Self::Import => desk.import(&book).await,
            Self::Migrate => Schema::new(config).migrate().await.unwrap(),
            Self::Query => {
                let last = desk.lend(&loan).await;
                let read = reader.query(&loans_of(&book)).await.unwrap();
                assert_eq!((read.events().len(), read.position()), (1, last));
                let written = writer.query(&loans_of(&book)).await.unwrap();
                assert_eq!((written.events().len(), written.position()), (1, last));
            }
            Self::Retry => {
                let once = writer.with_retry_policy(RetryPolicy::never());
                let head = writer.retry(async || once.head().await).await.into_result();
                assert_eq!(head.unwrap(), reader.head().await.unwrap());
            }
            Self::Stream => {
                desk.lend(&loan).await;
                desk.lend(&lent(&book, "r-2")).await;
                let newest = || Query::new(&Filter::everything()).newest_first().limit(2);
                for events in [reader.stream(newest()).await, writer.stream(newest()).await] {
                    let events: Vec<_> = events.unwrap().try_collect().await.unwrap();
                    assert_eq!(events.last().map(|event| event.id()), Some(loan.id()));
                }
            }
        }
    }
}

/// The stores of a log, and one that connects to it directly.
struct Desk {
    config: Config,
    writer: Store<ReadWrite>,
    reader: Store<ReadOnly>,
    rival: Store<ReadWrite>,
}

impl Desk {
    async fn open(config: Config, direct: Config) -> Self {
        Schema::new(&config).migrate().await.unwrap();
        let writer = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
        let reader = Store::<ReadOnly>::connect(config.clone()).await.unwrap();
        let rival = Store::<ReadWrite>::connect(direct).await.unwrap();
        Self { config, writer, reader, rival }
    }

    async fn lend(&self, loan: &Event) -> eddyline::SequenceNumber {
        let appended = self.writer.append([loan.clone()], AppendCondition::none()).await;
        appended.unwrap().last()
    }

    /// Appends in each of the ways that it takes: on conditions new and old, with events that are there
    /// already, refused, and large.
    async fn append(&self, book: &str) {
        let writer = &self.writer;
        let stale = AppendCondition::no_match(loans_of(book));
        let stored = lent(book, "r-1");
        writer.append([stored.clone()], stale.clone()).await.unwrap();
        let fresh = writer.query(&loans_of(book)).await.unwrap().condition();
        writer.append([lent(book, "r-2")], fresh.clone()).await.unwrap();
        let everything = AppendCondition::no_match(Filter::everything());
        for condition in [fresh, stale.clone(), everything] {
            let refused = writer.append([lent(book, "r-3")], condition).await;
            assert!(refused.is_err_and(|error| error.is_conflict()));
        }
        for condition in [AppendCondition::none(), stale.clone()] {
            let repeated = writer.append([stored.clone()], condition).await.unwrap();
            assert!(repeated.is_repeat());
        }
        let nested = Filter::any_of([("Shelf", serde_json::json!({ "Row": { "Of": book } }))]);
        let nested = AppendCondition::no_match(nested.build().unwrap());
        writer.append([lent(book, "r-1")], nested).await.unwrap();

        let note = serde_json::json!({ "BookID": book, "Note": "x".repeat(200_000) });
        let large = || [Event::new("BookCopyLentToReader", &note).unwrap()];
        writer.append(large(), AppendCondition::none()).await.unwrap();
        let refused = writer.append(large(), stale).await;
        assert!(refused.is_err_and(|error| error.is_conflict()));
        let other = AppendCondition::no_match(loans_of("b-none"));
        writer.append(large(), other).await.unwrap();
    }

    /// Loses the first round, so that the second is held under the lock.
    async fn decide(&self, book: &str) {
        let rivals = Cell::new(1);
        let policy = RetryPolicy::builder().escalate_after(1).build().unwrap();
        let lend = |_: &_| {
            if rivals.replace(0) > 0 {
                wait(self.rival.append([lent(book, "r-2")], AppendCondition::none())).unwrap();
            }
            Ok::<_, Error>(Decision::append([lent(book, "r-1")]))
        };
        let decided = self.writer.with_retry_policy(policy).decide(&loans_of(book), lend).await;
        assert!(decided.unwrap().is_escalated());
    }

    /// Imports events of which a part is there already, and all of them again.
    async fn import(&self, book: &str) {
        let events: Vec<_> = (0..5).map(|copy| lent(&format!("{book}-{copy}"), "r-1")).collect();
        self.lend(&events[3]).await;
        for stored in [4, 0] {
            let import = self.writer.import(stream::iter(events.clone())).chunk(2);
            let imported = import.await.unwrap();
            assert_eq!((imported.read(), imported.stored()), (5, stored));
        }
    }
}

/// Asks for each operation.
pub async fn use_all(config: Config, direct: Config) {
    let desk = Desk::open(config, direct).await;
    for operation in Operation::ALL {
        operation.run(&desk).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_works_on_each_kind_of_connection() {
    for way in Way::ALL {
        let (config, direct) = way.configs().await;
        let log = format!("log_{}", next());
        println!("{way:?}");

        use_all(config.log(&log).max_connections(1), direct.log(&log)).await;
    }
}

/// A new method of a store, or of its schema, has to find a place in the table.
#[test]
fn each_method_that_asks_a_server_is_in_the_table() {
    let mut methods = BTreeSet::from(["migrate".to_owned()]);
    for entry in fs::read_dir("src/store").unwrap() {
        let path = entry.unwrap().path();
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        let source = if is_code { fs::read_to_string(path).unwrap() } else { continue };
        let mut is_store = false;
        for line in source.lines() {
            if line.starts_with("impl") {
                is_store = line.contains(" Store<") && !line.contains(" for ");
            }
            let method = ["    pub fn ", "    pub async fn "].iter();
            let method = method.filter_map(|beginning| line.strip_prefix(beginning)).next();
            if let Some(method) = method.filter(|_| is_store) {
                methods.insert(method.split(['(', '<']).next().unwrap().to_owned());
            }
        }
    }

    let table = Operation::ALL.map(Operation::method).into_iter().chain(OTHERS);
    assert_eq!(table.map(str::to_owned).collect::<BTreeSet<_>>(), methods);
}
