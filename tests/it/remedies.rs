//! The remedies that errors name: applying each one helps.

use std::error::Error as _;
use std::net::TcpListener;
use std::time::Duration;

use eddyline::{
    AppendCondition, Config, Error, Event, Filter, Pooler, ReadOnly, ReadWrite, RetryPolicy,
    Schema, Store, Tls,
};
use local_postgres::Cluster;

use crate::support::{
    ConnectionPooler, Log, as_user, closed_port, connect, lent, log_that_runs, next, promptly,
    secure_server,
};

/// Returns the error of a connection that is refused.
async fn refused(config: Config) -> Error {
    Store::<ReadWrite>::connect(config).await.expect_err("connected")
}

fn once(config: Config) -> Config {
    config.retry(RetryPolicy::never())
}

#[tokio::test]
async fn a_decode_error_names_the_event() {
    let log = Log::new().await;
    let store = log.writer().await;
    let event = lent("b-1", "r-1");
    let id = event.id();
    store.append([event], AppendCondition::none()).await.unwrap();
    let history = store.query(Filter::everything()).await.unwrap();
    let stored = &history.events()[0];

    for error in
        [stored.payload::<Vec<u8>>().unwrap_err(), stored.metadata::<Vec<u8>>().unwrap_err()]
    {
        let message = error.to_string();
        let number = stored.sequence_number().to_string();
        for part in [number, "BookCopyLentToReader".to_owned(), id.to_string()] {
            assert!(message.contains(&part), "{message}");
        }
        assert!(matches!(error, Error::Payload { .. }));
        assert!(error.source().unwrap().to_string().contains("invalid type"), "{error:?}");
    }
}

/// The year is outside the range of the crate's timestamps.
#[tokio::test]
async fn an_event_with_an_undecodable_column_is_named() {
    let log = Log::isolated().await;
    let sql = log.sql().await;
    let id = "018f0000-0000-7000-8000-000000000001";
    let row = format!(
        "RETURN QUERY SELECT 1::bigint, '{id}'::uuid, '290000-01-01'::timestamptz, now(),
             'BookCopyLentToReader'::text, '{{}}'::jsonb, '{{}}'::jsonb;"
    );
    let name = log_that_runs(&sql, &row).await;
    let store = Store::<ReadOnly>::connect(once(log.config()).log(name)).await.unwrap();

    let error = store.query(Filter::everything()).await.unwrap_err();

    let Error::Decode { event_type, event_id, .. } = &error else { panic!("{error:?}") };
    assert_eq!(
        (event_type.as_str(), event_id.unwrap().to_string().as_str()),
        ("BookCopyLentToReader", id)
    );
}

#[tokio::test]
async fn a_lock_timeout_names_the_prepared_transaction_that_holds_the_lock_and_how_to_end_it() {
    let cluster = Cluster::builder().fsync(false).setting("max_prepared_transactions", 2);
    let cluster = cluster.start().await.unwrap();
    let url = cluster.primary().url("postgres");
    let config = once(Config::new(&url).unwrap()).lock_timeout(Duration::from_millis(50));
    Schema::new(&config).migrate().await.unwrap();
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let sql = connect(&url).await;
    for gid in ["forgotten", "it''s"] {
        let insert = "INSERT INTO events (event_id, occurred_at, event_type, payload)
            VALUES (gen_random_uuid(), now(), 'BookCopyLentToReader', '{}')";
        let prepare = format!("BEGIN; {insert}; PREPARE TRANSACTION '{gid}'");
        sql.batch_execute(&prepare).await.unwrap();

        let error = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();

        let message = error.source().unwrap().to_string();
        let (_, remedy) = message.split_once(" or ").unwrap_or_else(|| panic!("{message}"));
        assert_eq!(remedy, format!("ROLLBACK PREPARED '{gid}'"));
        sql.batch_execute(remedy).await.unwrap();
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    }
}

/// Prepares statements under the names that the driver of this process will use next.
async fn occupy_statement_names(url: &str) {
    let sql = connect(url).await;
    let _own = sql.prepare("SELECT 1").await.unwrap();
    let newest =
        "SELECT max(substr(name, 2)::int) FROM pg_prepared_statements WHERE name ~ '^s[0-9]+$'";
    let newest = sql.simple_query(newest).await.unwrap();
    let newest = newest.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse::<u32>().ok(),
        _ => None,
    });
    let newest = newest.unwrap();
    let prepare = format!(
        "DO $$ BEGIN FOR i IN {} .. {} LOOP
             EXECUTE format('PREPARE s%s AS SELECT 1', i);
         END LOOP; END $$",
        newest + 1,
        newest + 3_000
    );
    sql.batch_execute(&prepare).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_mixed_up_prepared_statements_name_the_pooler_setting() {
    let log = Log::new().await;
    let pooler = ConnectionPooler::in_transaction_mode(&log.primary_url()).await;
    let url = pooler.url(&log.primary_url());
    let config = once(Config::new(&url).unwrap().log(&log.name));
    let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    let append = [lent("b-1", "r-1")];
    store.append(append.clone(), AppendCondition::none()).await.unwrap();
    connect(&url).await.batch_execute("DEALLOCATE ALL").await.unwrap();

    let forgotten = store.append([lent("b-2", "r-1")], AppendCondition::none()).await;
    occupy_statement_names(&url).await;
    let conflicting = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    let conflicting = conflicting.query(Filter::everything()).await;

    for (code, error) in [("26000", forgotten.map(drop)), ("42P05", conflicting.map(drop))] {
        let error = error.unwrap_err();
        assert_eq!(error.sqlstate().unwrap().as_str(), code, "{error:?}");
        let message = error.to_string();
        assert!(message.contains("Config::pooler(Pooler::Transaction)"), "{message}");
    }
    let pooled = Store::<ReadWrite>::connect(config.pooler(Pooler::Transaction)).await.unwrap();
    pooled.append([lent("b-3", "r-1")], AppendCondition::none()).await.unwrap();
    connect(&url).await.batch_execute("DEALLOCATE ALL").await.unwrap();
    pooled.append([lent("b-4", "r-1")], AppendCondition::none()).await.unwrap();
    pooled.query(Filter::everything()).await.unwrap();
}

#[tokio::test]
async fn a_role_without_rights_gets_an_error_that_names_the_schema_roles() {
    let log = Log::isolated().await;
    let role = format!("visitor_{}", next());
    log.sql().await.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    let config = once(Config::new(&as_user(&log.primary_url(), &role)).unwrap().log(&log.name));

    let writes = refused(config.clone()).await;
    let reads = Store::<ReadOnly>::connect(config.clone()).await.unwrap_err();

    for (error, remedy) in [(writes, "writer_role"), (reads, "reader_role")] {
        assert!(matches!(error, Error::UnsuitableRole { .. }), "{error:?}");
        assert!(error.to_string().contains(remedy), "{error}");
    }
    Schema::new(&log.config()).reader_role(&role).migrate().await.unwrap();
    Store::<ReadOnly>::connect(config.clone()).await.unwrap().head().await.unwrap();
    Schema::new(&log.config()).writer_role(&role).migrate().await.unwrap();
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

/// `Schema` accepts no such role names.
#[tokio::test]
async fn a_role_of_any_name_gets_an_error_that_names_a_role_to_join() {
    for name in [format!("app-user {}", next()), format!("{}_{}", "r".repeat(50), next())] {
        let log = Log::isolated().await;
        let sql = log.sql().await;
        sql.batch_execute(&format!("CREATE ROLE \"{name}\" LOGIN")).await.unwrap();
        let url = as_user(&log.primary_url(), &name.replace(' ', "%20"));
        let config = once(Config::new(&url).unwrap().log(&log.name));

        let writes = refused(config.clone()).await;
        let reads = Store::<ReadOnly>::connect(config.clone()).await.unwrap_err();

        for (error, setting, group) in [
            (reads, "Schema::reader_role", "library_reader"),
            (writes, "Schema::writer_role", "library_writer"),
        ] {
            assert!(matches!(error, Error::UnsuitableRole { .. }), "{error:?}");
            let message = error.to_string();
            assert!(message.contains(&format!("a role such as {group} as {setting}")), "{message}");
            let schema = Schema::new(&log.config());
            let schema = match group {
                "library_reader" => schema.reader_role(group),
                _ => schema.writer_role(group),
            };
            schema.migrate().await.unwrap();
            let (_, grant) = message.split_once(", and run ").unwrap();
            let grant = grant.split(", or ").next().unwrap();
            sql.batch_execute(grant).await.unwrap_or_else(|error| panic!("{grant}: {error:?}"));
            Store::<ReadOnly>::connect(config.clone()).await.unwrap().head().await.unwrap();
        }
        let store = Store::<ReadWrite>::connect(config).await.unwrap();
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    }
}

/// A connected store continues after the remedy.
#[tokio::test]
async fn the_error_of_an_exhausted_sequence_names_the_migration() {
    let log = Log::new().await;
    let store = Store::<ReadWrite>::connect(once(log.config())).await.unwrap();
    let append = || store.append([lent("b-1", "r-1")], AppendCondition::none());
    append().await.unwrap();
    append().await.unwrap();
    let exhaust = format!("ALTER SEQUENCE {}_sequence MAXVALUE 2", log.name);
    log.sql().await.batch_execute(&exhaust).await.unwrap();

    let error = append().await.unwrap_err();

    assert_eq!(error.sqlstate().unwrap().as_str(), "2200H", "{error:?}");
    assert!(error.to_string().contains("run eddyline::Schema::migrate once"), "{error}");
    Schema::new(&log.config()).migrate().await.unwrap();
    assert_eq!(append().await.unwrap().last().value(), 3);
}

#[tokio::test]
async fn the_error_of_an_exhausted_pool_names_its_setting_and_open_streams() {
    let log = Log::new().await;
    let config = once(log.config()).acquire_timeout(Duration::from_millis(50));
    let events: Vec<_> = (0..2_000).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    log.writer().await.append(events, AppendCondition::none()).await.unwrap();
    let store = Store::<ReadWrite>::connect(config.clone().max_connections(1)).await.unwrap();
    // Opening the connection may take longer than the acquire timeout of the store.
    let stream = promptly(async {
        loop {
            match store.stream(Filter::everything()).await {
                Ok(stream) => break stream,
                Err(Error::Unreachable { .. } | Error::PoolExhausted { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    let stream = stream.await;

    let error = store.head().await.unwrap_err();

    let message = error.to_string();
    assert!(message.contains("all 1 of Config::max_connections are in use"), "{message}");
    assert!(message.contains("drop open streams"), "{message}");
    drop(stream);
    let patient = Store::<ReadWrite>::connect(log.config().max_connections(2)).await.unwrap();
    let _stream = patient.stream(Filter::everything()).await.unwrap();
    patient.head().await.unwrap();
}

#[tokio::test]
async fn an_error_of_too_many_connections_names_the_limits_of_server_and_role() {
    let log = Log::new().await;
    let role = format!("writer_{}", next());
    Schema::new(&log.config()).writer_role(&role).migrate().await.unwrap();
    let sql = log.sql().await;
    sql.batch_execute(&format!("ALTER ROLE {role} LOGIN CONNECTION LIMIT 0")).await.unwrap();
    let config = once(Config::new(&as_user(&log.primary_url(), &role)).unwrap().log(&log.name));

    let error = refused(config.clone()).await;

    assert_eq!(error.sqlstate().unwrap().as_str(), "53300", "{error:?}");
    assert!(error.to_string().contains("limit of the role"), "{error}");
    sql.batch_execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 2")).await.unwrap();
    Store::<ReadWrite>::connect(config).await.unwrap();
}

#[tokio::test]
async fn a_wrong_port_is_named() {
    let log = Log::new().await;
    let url = log.primary_url();
    let (_, right) = url.rsplit_once(':').unwrap();
    let closed = closed_port();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let talking = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in other.incoming().flatten() {
            let _ = std::io::Read::read(&mut client, &mut [0; 1024]);
            let _ = std::io::Write::write_all(&mut client, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let at = |port: u16| format!("postgres://postgres@127.0.0.1:{port}/library");

    let nothing = refused(once(Config::new(&at(closed)).unwrap())).await.to_string();
    let no_server = refused(once(Config::new(&at(talking)).unwrap())).await.to_string();

    assert!(nothing.contains(&format!("nothing listens on port {closed}")), "{nothing}");
    assert!(no_server.contains(&format!("check that port {talking}")), "{no_server}");
    let right = Config::new(&format!("postgres://postgres@127.0.0.1:{right}")).unwrap();
    Store::<ReadWrite>::connect(right.log(&log.name)).await.unwrap();
}

#[tokio::test]
async fn a_password_encoded_as_the_error_says_is_accepted() {
    let server = secure_server().await;
    let (role, password) = (format!("member_{}", next()), "s3cr@t/?#100%[] ");
    server.create_user_with_password(&role, password).await;
    let raw = as_user(&server.url(), &format!("{role}:{password}"));

    let message = Config::new(&raw).unwrap_err().to_string();

    assert!(message.contains("write %40 for @"), "{message}");
    let mut written = password.replace('%', "%25");
    for (character, code) in [('@', "%40"), ('/', "%2F"), ('?', "%3F")] {
        assert!(message.contains(code), "{message}");
        written = written.replace(character, code);
    }
    let url = as_user(&server.url(), &format!("{role}:{written}"));
    Store::<ReadWrite>::connect(once(Config::new(&url).unwrap())).await.unwrap();
}

#[tokio::test]
async fn verification_succeeds_with_the_setting_that_the_error_names() {
    let server = secure_server().await;
    for parameter in ["sslmode=verify-full", "sslmode=verify-ca", "sslrootcert=root.crt"] {
        let message =
            Config::new(&format!("{}?{parameter}", server.url())).unwrap_err().to_string();
        assert!(message.contains("Config::tls(Tls::Verify { ca_file })"), "{message}");
    }

    let verified = Config::new(&server.url()).unwrap();
    let verified = verified.tls(Tls::Verify { ca_file: server.authority() });

    Store::<ReadWrite>::connect(once(verified)).await.unwrap();
}

/// An event without a position yields another error than a stored one.
#[test]
fn an_unstored_event_of_another_shape_is_invalid() {
    let event = Event::new("BookCopyLentToReader", &serde_json::json!({})).unwrap();

    let error = event.payload::<Vec<u8>>().unwrap_err();

    assert!(matches!(error, Error::Payload { field: "payload", .. }), "{error:?}");
}
