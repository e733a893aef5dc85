//! Each operation of a store works on each kind of connection.

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
enum Connection {
    Direct,
    Encrypted,
    SessionPooler,
    Socket,
    TransactionPooler,
}

impl Connection {
    const ALL: [Self; 5] =
        [Self::Direct, Self::Encrypted, Self::SessionPooler, Self::Socket, Self::TransactionPooler];

    /// Returns the configuration of a store with this kind of connection, and that of a store with
    /// a direct connection to the same server.
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

/// An operation that calls the server, named like its method.
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

/// The methods of a store that do not call the server.
const LOCAL_METHODS: [&str; 9] = [
    "add_replica",
    "handler",
    "max_staleness",
    "remove_replica",
    "replicas",
    "retry_policy",
    "with_causality",
    "with_retry_policy",
    "with_scope",
];

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

    async fn run(self, stores: &Stores) {
        let Stores { config, writer, reader, .. } = stores;
        let book = format!("b-{}", next());
        let loan = lent(&book, "r-1");
        match self {
            Self::Append => stores.append(&book).await,
            Self::AtLeast => {
                let last = stores.lend(&loan).await;
                let history = reader.at_least(last).query(&loans_of(&book)).await.unwrap();
                assert_eq!(history.events().len(), 1);
            }
            Self::Connect => {
                Store::<ReadWrite>::connect(config.clone()).await.unwrap();
                Store::<ReadOnly>::connect(config.clone()).await.unwrap();
            }
            Self::Decide => stores.decide(&book).await,
            Self::Event => {
                stores.lend(&loan).await;
                for found in [reader.event(loan.id()).await, writer.event(loan.id()).await] {
                    assert_eq!(found.unwrap().map(|event| event.id()), Some(loan.id()));
                }
            }
            Self::Head => {
                let last = stores.lend(&loan).await;
                assert_eq!([reader.head().await.unwrap(), writer.head().await.unwrap()], [last; 2]);
            }
            Self::Import => stores.import(&book).await,
            Self::Migrate => Schema::new(config).migrate().await.unwrap(),
            Self::Query => {
                let last = stores.lend(&loan).await;
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
                stores.lend(&loan).await;
                stores.lend(&lent(&book, "r-2")).await;
                let newest = || Query::new(&Filter::everything()).newest_first().limit(2);
                for events in [reader.stream(newest()).await, writer.stream(newest()).await] {
                    let events: Vec<_> = events.unwrap().try_collect().await.unwrap();
                    assert_eq!(events.last().map(|event| event.id()), Some(loan.id()));
                }
            }
        }
    }
}

/// The stores of a log, and a rival store with a direct connection.
struct Stores {
    config: Config,
    writer: Store<ReadWrite>,
    reader: Store<ReadOnly>,
    rival: Store<ReadWrite>,
}

impl Stores {
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

    /// Appends in each way: on fresh and on stale conditions, with events that exist already, with
    /// a conflict, and with large events.
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

    /// Loses the first attempt to a conflict, so that the second one runs under the lock.
    async fn decide(&self, book: &str) {
        let rivals_left = Cell::new(1);
        let policy = RetryPolicy::builder().escalate_after(1).build().unwrap();
        let lend = |_: &_| {
            if rivals_left.replace(0) > 0 {
                wait(self.rival.append([lent(book, "r-2")], AppendCondition::none())).unwrap();
            }
            Ok::<_, Error>(Decision::append([lent(book, "r-1")]))
        };
        let decided = self.writer.with_retry_policy(policy).decide(&loans_of(book), lend).await;
        assert!(decided.unwrap().is_escalated());
    }

    /// Imports events of which one exists already, then imports all of them again.
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

/// Runs each operation.
pub async fn use_all(config: Config, direct: Config) {
    let stores = Stores::open(config, direct).await;
    for operation in Operation::ALL {
        operation.run(&stores).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_works_on_each_kind_of_connection() {
    for connection in Connection::ALL {
        let (config, direct) = connection.configs().await;
        let log = format!("log_{}", next());
        println!("{connection:?}");

        use_all(config.log(&log).max_connections(1), direct.log(&log)).await;
    }
}

/// This fails until a new method of a store is added to `Operation` or to `LOCAL_METHODS`.
#[test]
fn each_method_of_a_store_is_an_operation_or_a_local_method() {
    let mut methods = BTreeSet::from(["migrate".to_owned()]);
    for entry in fs::read_dir("src/store").unwrap() {
        let path = entry.unwrap().path();
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        let source = if is_code { fs::read_to_string(path).unwrap() } else { continue };
        let mut in_store_impl = false;
        for line in source.lines() {
            if line.starts_with("impl") {
                in_store_impl = line.contains(" Store<") && !line.contains(" for ");
            }
            let method = ["    pub fn ", "    pub async fn "].iter();
            let method = method.filter_map(|beginning| line.strip_prefix(beginning)).next();
            if let Some(method) = method.filter(|_| in_store_impl) {
                methods.insert(method.split(['(', '<']).next().unwrap().to_owned());
            }
        }
    }

    let listed = Operation::ALL.map(Operation::method).into_iter().chain(LOCAL_METHODS);
    assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), methods);
}
