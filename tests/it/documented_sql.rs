//! The SQL statements of `docs/schema.md` run, and do what the page says.

use eddyline::{AppendCondition, Config, Error, Filter, Query, ReadOnly, ReadWrite, Schema, Store};
use local_postgres::Cluster;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::{Log, as_user, connect, lent, refusal, wait_until};

const PAGE: &str = include_str!("../../docs/schema.md");

/// The statements of the page that run on one of its two servers.
struct Statements(std::vec::IntoIter<String>);

impl Statements {
    /// Reads the statements of all code blocks with this info string.
    fn of(fence: &str) -> Self {
        let fence = format!("```{fence}\n");
        let mut statements = Vec::new();
        for block in PAGE.split(&fence).skip(1) {
            let block = block.split("```").next().unwrap();
            let block = block.split(";\n").map(str::trim).filter(|one| !one.is_empty());
            statements.extend(block.map(str::to_owned));
        }
        Self(statements.into_iter())
    }

    /// Runs the next statement, which must begin with `beginning`. Returns the first column of its
    /// rows.
    async fn run(&mut self, sql: &Client, beginning: &str) -> Vec<String> {
        let statement = self.0.next().unwrap_or_else(|| panic!("{beginning} is not on the page"));
        assert!(statement.starts_with(beginning), "expected {beginning}, found {statement}");
        let answer = sql.simple_query(&statement).await;
        let answer = answer.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        let values = answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        values.collect()
    }

    fn end(mut self) {
        assert_eq!(self.0.next(), None, "the page has a statement that is not tested");
    }
}

/// Returns the cells of the table rows in a section whose first cell is a name in backquotes.
fn table(heading: &str) -> Vec<Vec<String>> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| row.trim_matches('|').split('|').map(cell).collect()).collect()
}

/// Starts a server with the database and the log that the page uses.
async fn library(wal_level: &str) -> (Cluster, Config) {
    let builder = Cluster::builder().fsync(false).setting("wal_level", wal_level);
    let cluster = builder.start().await.unwrap();
    cluster.create_database("library").await.unwrap();
    let config = Config::new(&cluster.primary().url("library")).unwrap();
    migrate(&config).await;
    (cluster, config)
}

async fn migrate(config: &Config) {
    let schema = Schema::new(config).writer_role("library_writer").reader_role("library_reader");
    schema.migrate().await.unwrap();
}

async fn append(config: &Config) -> u64 {
    let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    let appended = store.append([lent("b-7", "r-1")], AppendCondition::none()).await;
    appended.unwrap().last().value()
}

#[tokio::test]
async fn each_documented_statement_does_what_the_page_says() {
    let (old, config) = library("logical").await;
    let (new, new_config) = library("replica").await;
    let (sql, mut page) = (connect(&old.primary().url("library")).await, Statements::of("sql"));
    let (new_sql, mut new_page) =
        (connect(&new.primary().url("library")).await, Statements::of("sql new"));
    let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    let history = store.query(Filter::everything()).await.unwrap();

    // Read and insert as a login role that is a member of the page's writer role.
    sql.batch_execute("CREATE ROLE ada LOGIN IN ROLE library_writer").await.unwrap();
    let writer = connect(&as_user(&old.primary().url("library"), "ada")).await;
    assert!(page.run(&writer, "SELECT sequence_number").await.is_empty());
    assert_eq!(page.run(&writer, "SELECT count(*)").await, ["0"]);
    assert_eq!(page.run(&writer, "INSERT INTO events").await, ["1"]);
    let broken = store.append([lent("b-7", "r-2")], history.condition()).await;
    assert!(matches!(broken, Err(Error::Conflict { .. })), "{broken:?}");

    // Correct and erase.
    let named = "INSERT INTO events (event_id, occurred_at, event_type, payload) VALUES
        (gen_random_uuid(), now(), 'ReaderRegistered', '{\"ReaderID\": \"r-1\"}'),
        (gen_random_uuid(), now(), 'ReaderMoved', '{\"ReaderID\": \"r-1\", \"ReaderName\": \"Ada\"}')";
    writer.batch_execute(named).await.unwrap();
    for beginning in ["BEGIN", "SET LOCAL", "UPDATE events", "DELETE FROM events", "COMMIT"] {
        page.run(&sql, beginning).await;
    }
    let names =
        "SELECT FROM events WHERE payload ? 'ReaderName' OR event_type = 'ReaderRegistered'";
    assert!(sql.query(names, &[]).await.unwrap().is_empty());
    assert_eq!(refusal(sql.batch_execute("DELETE FROM events").await), "55000");
    page.run(&sql, "VACUUM").await;
    assert_eq!(append(&config).await, 4);

    // Copy the log. The statements that drop it come earlier on the page, but run at the end.
    let (create_archive, drop) = (page.0.next().unwrap(), page.0.next().unwrap());
    page.run(&sql, "CREATE PUBLICATION").await;
    let address = format!(
        "host={} port={} user=postgres dbname=library",
        old.primary().host(),
        old.primary().port()
    );
    let replace =
        |statement: String| statement.replace("host=old.example dbname=library", &address);
    new_page = Statements(new_page.0.map(replace).collect::<Vec<_>>().into_iter());
    new_page.run(&new_sql, "CREATE SUBSCRIPTION").await;
    let copied = "SELECT FROM events WHERE sequence_number = 4";
    wait_until(async || !new_sql.query(copied, &[]).await.unwrap().is_empty()).await;
    new_page.run(&new_sql, "DROP SUBSCRIPTION").await;
    let refused = Store::<ReadWrite>::connect(new_config.clone()).await.err().unwrap();
    assert!(refused.to_string().contains("gives 1 next, and the head is 4"), "{refused}");
    migrate(&new_config).await;
    assert_eq!(append(&new_config).await, 5);
    new_sql.batch_execute("ALTER SEQUENCE events_sequence RESTART").await.unwrap();
    assert_eq!(new_page.run(&new_sql, "SELECT setval").await, ["5"]);
    assert_eq!(append(&new_config).await, 6);
    new_page.end();
    let bookmark = store.query(Filter::everything()).await.unwrap().bookmark();
    let after = || Query::new(&Filter::everything()).after(bookmark);
    let new_store = Store::<ReadWrite>::connect(new_config.clone()).await.unwrap();
    let refused = new_store.query(after()).await;
    assert!(matches!(refused, Err(Error::PositionLost { .. })), "{refused:?}");
    let identity = page.run(&sql, "SELECT format").await;
    new_sql.batch_execute(&identity[0]).await.unwrap();
    assert_eq!(new_store.query(after()).await.unwrap().events().len(), 2);
    assert_eq!(append(&new_config).await, 7);

    // Roles.
    page.run(&sql, "CREATE ROLE circulation").await;
    page.run(&sql, "CREATE ROLE statistics").await;
    page.end();
    for (login, appends) in [("circulation", true), ("statistics", false)] {
        let config = Config::new(&as_user(&old.primary().url("library"), login)).unwrap();
        Store::<ReadOnly>::connect(config.clone()).await.unwrap();
        assert_eq!(Store::<ReadWrite>::connect(config).await.is_ok(), appends, "{login}");
    }

    // Drop the log.
    for (statement, beginning) in [(create_archive, "CREATE TABLE"), (drop, "DROP TABLE")] {
        assert!(statement.starts_with(beginning), "{statement}");
        sql.batch_execute(&statement).await.unwrap();
    }
    migrate(&config).await;
    assert_eq!(append(&config).await, 1);
}

#[tokio::test]
async fn the_page_lists_the_columns_and_triggers_of_a_log() {
    let log = Log::isolated().await;
    Schema::new(&log.config().log("events")).migrate().await.unwrap();
    let sql = log.sql().await;
    let names = async |query: &str| -> Vec<Vec<String>> {
        let rows = sql.query(query, &[]).await.unwrap();
        rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
    };

    let columns = names(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
         WHERE attrelid = 'events'::regclass AND attnum > 0 ORDER BY attnum",
    );
    let triggers = names(
        "SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'events'::regclass ORDER BY tgtype % 2, tgname",
    );

    let documented = |heading, cells: usize| -> Vec<Vec<String>> {
        table(heading).into_iter().map(|row| row[..cells].to_vec()).collect()
    };
    assert_eq!(documented("The table", 2), columns.await);
    let columns = names(
        "SELECT attname::text FROM pg_attribute
         WHERE attrelid = 'eddyline_schema'::regclass AND attnum > 0 ORDER BY attnum",
    );
    assert_eq!(documented("Identity and epochs", 1), columns.await);
    let mut triggers = triggers.await;
    triggers.sort();
    let mut documented = documented("Triggers", 1);
    documented.sort();
    assert_eq!(documented, triggers);
}

/// After the owner changed an event, its id is a duplicate; after the owner deleted it, it is
/// stored again.
#[tokio::test]
async fn a_repeated_append_is_recognized_by_the_ids_and_contents_of_its_events() {
    for (change, is_deleted) in [
        ("UPDATE events SET payload = payload - 'ReaderID' WHERE sequence_number = 1", false),
        ("UPDATE events SET metadata = '{\"by\": \"owner\"}' WHERE sequence_number = 1", false),
        ("DELETE FROM events WHERE sequence_number = 1", true),
    ] {
        let log = Log::new().await;
        let store = log.writer().await;
        let append = [lent("b-1", "r-1")];
        store.append(append.clone(), AppendCondition::none()).await.unwrap();
        store.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();
        let repeated = store.append(append.clone(), AppendCondition::none()).await.unwrap();
        assert!(repeated.is_repeat());
        let change = change.replace("events", &log.name);
        let change = format!("SET eddyline.allow_changes = 'on'; {change}");
        log.sql().await.batch_execute(&change).await.unwrap();

        for store in [store, log.writer().await] {
            let again = store.append(append.clone(), AppendCondition::none()).await;

            match again {
                Ok(stored) => assert!(is_deleted && stored.last().value() > 2, "{stored:?}"),
                Err(error) => {
                    let is_duplicate = matches!(error, Error::DuplicateEvent { .. });
                    assert!(is_duplicate && !is_deleted, "{change}: {error:?}");
                }
            }
        }
    }
}

/// The head is the position of the newest event in the table.
#[tokio::test]
async fn a_position_above_the_head_is_refused_after_the_last_event_was_deleted() {
    let log = Log::new().await;
    let store = log.writer().await;
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    store.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();
    let history = store.query(Filter::everything()).await.unwrap();
    let delete = format!(
        "SET eddyline.allow_changes = 'on'; DELETE FROM {} WHERE sequence_number = 2",
        log.name
    );
    log.sql().await.batch_execute(&delete).await.unwrap();

    let refused = log.writer().await.append([lent("b-3", "r-1")], history.condition()).await;

    assert!(matches!(refused, Err(Error::PositionLost { .. })), "{refused:?}");
    let number = AppendCondition::no_match_after(Filter::everything(), history.position());
    let refused = log.writer().await.append([lent("b-3", "r-1")], number).await;
    assert!(matches!(refused, Err(Error::PositionAhead { .. })), "{refused:?}");
    let other = log.writer().await.append([lent("b-3", "r-1")], AppendCondition::none()).await;
    assert_eq!(other.unwrap().last().value(), 3);
}
