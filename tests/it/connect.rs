//! Settings, addresses and servers that a store refuses, and the errors.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use eddyline::error::Reason;
use eddyline::{
    AppendCondition, Class, Config, Error, Fallback, Filter, ReadOnly, ReadWrite, Replica, Schema,
    Store,
};

use crate::support::{
    FOREVER, Log, MEMBER, PASSWORD, as_user, cluster, connect, lent, next, promptly, secure_server,
    unreachable_url,
};

async fn write_error(config: Config) -> Error {
    Store::<ReadWrite>::connect(config).await.expect_err("connected")
}

async fn read_error(config: Config) -> Error {
    Store::<ReadOnly>::connect(config).await.expect_err("connected")
}

fn setting(error: &Error) -> &'static str {
    match error {
        Error::InvalidConfig { setting, .. } => setting,
        error => panic!("{error:?}"),
    }
}

/// Listens, and passes each connection to a function.
fn listen(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    format!("postgres://postgres@127.0.0.1:{port}/library")
}

#[test]
fn an_invalid_address_is_refused_without_showing_its_password() {
    for url in [
        "",
        "shelf-mark",
        "postgres://",
        "postgres:///library",
        "postgres://ada:shelf-mark@/library",
        "postgres://ada:shelf-mark@localhost:port/library",
        "postgres://ada:shelf-mark@localhost:65536/library",
        "postgres://ada:shelf-mark@localhost:-1/library",
        "postgres://ada:shelf-mark@[::1/library",
        "postgres://ada:shelf-mark@localhost/library?connect_timeout=shelf-mark",
        "postgres://ada@localhost/library?shelf-mark=1",
        "postgres://ada@localhost/library?password",
        "mysql://ada:shelf-mark@localhost/library",
        "host=localhost port=shelf-mark",
        "host=localhost password='shelf-mark",
        "host=localhost shelf-mark",
        "password=shelf-mark dbname=library",
    ] {
        let first = Config::new(url).err();
        let second = Config::new("postgres://localhost").unwrap().replica(url).err();

        for error in [first, second] {
            let error = error.unwrap_or_else(|| panic!("accepted: {url}"));
            assert_eq!(setting(&error), "url", "{url}");
            assert!(!format!("{error} {error:?}").contains("shelf-mark"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn no_output_contains_a_password() {
    let url = as_user(&Log::new().await.primary_url(), &format!("postgres:{PASSWORD}"));
    let log = Log::new().await;
    let replica = as_user(&log.replica_url(), &format!("postgres:{PASSWORD}"));
    let replica = Replica::new(&replica).unwrap();
    let config = Config::new(&url).unwrap().log(&log.name).replica(replica.clone()).unwrap();
    let config = config.primary(&url, Fallback::Never).unwrap();
    let writer = Store::<ReadWrite>::connect(Config::new(&url).unwrap().log(&log.name)).await;
    let reader = Store::<ReadOnly>::connect(config.clone()).await.unwrap();
    let stream = reader.stream(Filter::everything()).await.unwrap();
    let unreachable = as_user(&unreachable_url(), &format!("postgres:{PASSWORD}"));
    let wrong = as_user(&secure_server().await.url(), &format!("{MEMBER}:{PASSWORD}s"));

    for shown in [
        format!("{config:?}"),
        format!("{:?}", Schema::new(&config)),
        format!("{:?}", writer.unwrap()),
        format!("{reader:?}"),
        format!("{:?} {replica:?}", reader.replicas()),
        format!("{stream:?}"),
        format!("{:?}", write_error(Config::new(&unreachable).unwrap()).await),
        format!("{:?}", write_error(Config::new(&wrong).unwrap()).await),
    ] {
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
}

#[tokio::test]
async fn names_that_need_quoting_are_refused() {
    for name in ["", "a b", "a\"b", "events\"; DROP TABLE x --", "évènements", "1st", "a.b", "a-b"]
    {
        let config = Config::new(&unreachable_url()).unwrap();

        let log = write_error(config.clone().log(name)).await;
        let schema = write_error(config.clone().schema(name)).await;
        let migrated = Schema::new(&config.log(name)).migrate().await.unwrap_err();

        assert_eq!([setting(&log), setting(&schema)], ["log", "schema"], "{name}");
        assert_eq!(setting(&migrated), "log", "{name}");
    }
}

#[tokio::test]
async fn settings_out_of_range_are_refused_by_their_names() {
    type Set = fn(Config, Duration) -> Config;
    let timeouts: [(&str, Set); 5] = [
        ("acquire_timeout", Config::acquire_timeout),
        ("connect_timeout", Config::connect_timeout),
        ("lock_timeout", Config::lock_timeout),
        ("replica_timeout", Config::replica_timeout),
        ("statement_timeout", Config::statement_timeout),
    ];
    let log = Log::new().await;
    let day = Duration::from_secs(24 * 60 * 60);
    for (name, set) in timeouts {
        for timeout in [Duration::ZERO, Duration::from_micros(999), 25 * day, Duration::MAX] {
            assert_eq!(setting(&write_error(set(log.config(), timeout)).await), name);
            assert_eq!(setting(&read_error(set(log.config(), timeout)).await), name);
        }
    }
    assert_eq!(setting(&write_error(log.config().max_connections(0)).await), "max_connections");

    let longest = timeouts.iter().fold(log.config(), |config, (_, set)| set(config, 24 * day));
    let store = Store::<ReadWrite>::connect(longest.max_connections(u32::MAX)).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

#[tokio::test]
async fn a_read_write_store_has_one_server() {
    let log = Log::new().await;

    let error = write_error(log.config().replica(&log.replica_url()).unwrap()).await;

    assert_eq!(setting(&error), "replica");
}

#[tokio::test]
async fn an_address_without_a_listener_is_unreachable_at_once() {
    for url in [unreachable_url(), "postgres://postgres@no-such-host.invalid/library".to_owned()] {
        let config = Config::new(&url).unwrap().connect_timeout(FOREVER);

        let errors =
            [promptly(write_error(config.clone())).await, promptly(read_error(config)).await];

        for error in errors {
            assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
            assert_eq!(error.class(), Class::Transient, "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_unreachable_within_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://postgres@{}/library", silent.local_addr().unwrap());
    let timeout = Duration::from_millis(200);
    let started = Instant::now();

    let error = promptly(write_error(Config::new(&url).unwrap().connect_timeout(timeout))).await;

    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Transient);
    assert!(started.elapsed() >= timeout, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_schema_check_is_unreachable_within_the_timeout() {
    let log = Log::isolated().await;
    let holder = log.sql().await;
    holder.batch_execute("BEGIN; LOCK TABLE eddyline_schema").await.unwrap();
    let timeout = Duration::from_millis(300);

    let error = promptly(write_error(log.config().connect_timeout(timeout))).await;

    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_program_other_than_postgresql_is_unreachable() {
    let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let closing = listen(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(answer);
    });
    let staying = listen(|mut stream| {
        let _ = stream.write_all(answer);
        // Until the client closes the connection.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mute = listen(|stream| stream.shutdown(Shutdown::Both).unwrap());
    for url in [closing, staying, mute] {
        for mode in ["disable", "prefer", "require"] {
            let url = format!("{url}?sslmode={mode}");
            let timeout = Duration::from_millis(200);

            let error = write_error(Config::new(&url).unwrap().connect_timeout(timeout)).await;

            assert!(matches!(error, Error::Unreachable { .. }), "{url}: {error:?}");
            // An answer that does not belong to the negotiation of encryption means no encryption.
            assert!(mode == "require" || error.class().is_retryable(), "{url}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_login_has_the_reason_of_the_server() {
    let url = cluster().await.primary().url("library");
    let wrong = as_user(&secure_server().await.url(), &format!("{MEMBER}:{PASSWORD}s"));
    for (url, sqlstate, reason) in [
        (as_user(&url, "nobody_of_that_name"), "28000", Reason::Authentication),
        (cluster().await.primary().url("no_such_library"), "3D000", Reason::Schema),
        (wrong, "28P01", Reason::Authentication),
    ] {
        let config = Config::new(&url).unwrap();

        for error in [write_error(config.clone()).await, read_error(config).await] {
            assert!(matches!(error, Error::Database { .. }), "{error:?}");
            assert_eq!(error.sqlstate().map(|state| state.as_str()), Some(sqlstate), "{error:?}");
            assert_eq!(error.class(), Class::Permanent(reason), "{error:?}");
        }
    }
}

/// The driver fails without a request to the server.
#[tokio::test]
async fn a_login_without_a_password_is_denied() {
    let url = as_user(&secure_server().await.url(), MEMBER);

    let error = write_error(Config::new(&url).unwrap()).await;

    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Permanent(Reason::Authentication));
}

#[tokio::test]
async fn a_login_with_the_right_password_succeeds() {
    let url = as_user(&secure_server().await.url(), &format!("{MEMBER}:{PASSWORD}"));

    assert!(Store::<ReadWrite>::connect(Config::new(&url).unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_read_write_store_refuses_a_replica() {
    let log = Log::new().await;
    log.reader().await;

    let error = write_error(log.replica_config()).await;

    assert!(matches!(error, Error::UnsuitableServer { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Transient, "it may be promoted");
    let migrated = Schema::new(&log.replica_config()).migrate().await;
    assert!(matches!(migrated, Err(Error::UnsuitableServer { .. })), "{migrated:?}");
}

#[tokio::test]
async fn a_read_write_store_finds_the_primary_among_several_hosts() {
    let log = Log::new().await;
    log.reader().await;
    let (primary, replica) = (cluster().await.primary(), &cluster().await.standbys()[0]);
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", replica.port(), primary.port());
    let url = format!("postgres://postgres@{hosts}/library");

    let store =
        Store::<ReadWrite>::connect(Config::new(&url).unwrap().log(&log.name)).await.unwrap();

    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

#[tokio::test]
async fn a_read_write_store_waits_for_a_primary_among_several_hosts() {
    let log = Log::new().await;
    log.reader().await;
    let port = cluster().await.standbys()[0].port();
    let url = format!("postgres://postgres@127.0.0.1:{port},127.0.0.1:{port}/library");

    let error = write_error(Config::new(&url).unwrap().log(&log.name)).await;

    assert!(matches!(error, Error::UnsuitableServer { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Transient);
}

#[tokio::test]
async fn a_read_write_store_refuses_a_server_that_is_set_to_read_only() {
    let log = Log::isolated().await;
    log.set("default_transaction_read_only = on").await;

    let error = write_error(log.config()).await;

    assert!(matches!(error, Error::UnsuitableServer { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Transient);
    assert!(Store::<ReadOnly>::connect(log.config()).await.is_ok());
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = format!("library_{}", next());
        let create = format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING '{encoding}'");
        let postgres = cluster().await.primary().url("postgres");
        connect(&postgres).await.batch_execute(&create).await.unwrap();
        let config = Config::new(&cluster().await.primary().url(&database)).unwrap();

        let errors = [
            Schema::new(&config).migrate().await.unwrap_err(),
            write_error(config.clone()).await,
            read_error(config).await,
        ];

        for error in errors {
            assert!(matches!(error, Error::UnsuitableServer { .. }), "{error:?}");
            assert!(error.to_string().contains(encoding), "{error}");
            assert_eq!(error.class(), Class::Permanent(Reason::Resource));
        }
    }
}

#[tokio::test]
async fn a_configuration_of_the_driver_connects_like_an_address() {
    let log = Log::new().await;
    let driver: tokio_postgres::Config = log.primary_url().parse().unwrap();

    let config = Config::try_from(driver).unwrap().log(&log.name);

    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

#[test]
fn a_configuration_of_the_driver_that_cannot_be_honored_is_refused_without_its_password() {
    let mut driver = tokio_postgres::Config::new();
    driver.host("localhost").password(PASSWORD).connect_timeout(Duration::ZERO);

    let error = Config::try_from(driver).unwrap_err();

    assert_eq!(setting(&error), "tokio_postgres::Config");
    assert!(error.to_string().contains("connect_timeout"), "{error}");
    assert!(!format!("{error} {error:?}").contains(PASSWORD), "{error:?}");
}

/// A proxy between the store and the server reports an older version.
#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let log = Log::new().await;
    let version = "SHOW server_version_num";
    let real: String = log.sql().await.query_one(version, &[]).await.unwrap().get(0);
    let port = cluster().await.primary().port();
    for version in [b"090624", b"120000", b"130022"] {
        let real = real.clone();
        let url = listen(move |client| {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut requests, mut to_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut requests, &mut to_server));
            forward_replacing(server, client, real.as_bytes(), version);
        });

        let error = write_error(Config::new(&url).unwrap().log(&log.name)).await;

        let Error::UnsuitableServer { reason, class, .. } = error else { panic!("{error:?}") };
        assert_eq!(class, Class::Permanent(Reason::Resource));
        assert!(reason.contains("oldest supported is 14"), "{reason}");
    }
}

/// Forwards what a server sends, and replaces one text by another of the same length.
fn forward_replacing(mut server: TcpStream, mut client: TcpStream, real: &[u8], other: &[u8]) {
    let mut bytes = [0; 8192];
    while let Ok(read @ 1..) = server.read(&mut bytes) {
        let bytes = &mut bytes[..read];
        for at in 0..=read.saturating_sub(real.len()) {
            if bytes[at..].starts_with(real) {
                bytes[at..at + real.len()].copy_from_slice(other);
            }
        }
        if client.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
