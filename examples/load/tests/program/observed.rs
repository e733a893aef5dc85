//! What others see of a run of the program: its metrics, its page, and what it exports.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use eddyline::telemetry::INSTRUMENTS;
use serde_json::Value;

use crate::support::{Reports, SHORT, SMALL, Servers, assert_clean, lines, wait};

/// A run of the program, and the address of its metrics.
struct Observed {
    load: Child,
    address: SocketAddr,
    errors: BufReader<std::process::ChildStderr>,
}

impl Observed {
    /// Starts the program, and waits for the address of its metrics.
    fn start(reports: &Reports, arguments: &[&str]) -> Self {
        let mut load = reports.start(arguments);
        let mut errors = BufReader::new(load.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("metrics at http://") {
            line.clear();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the program ended early");
        }
        let address = line.trim_start_matches("metrics at http://").trim_end();
        let address = address.trim_end_matches("/metrics").parse().unwrap();
        Self { load, address, errors }
    }

    /// Waits for the end of the program.
    fn end(mut self) -> Output {
        let reader = thread::spawn(move || {
            let mut stderr = Vec::new();
            self.errors.read_to_end(&mut stderr).unwrap();
            stderr
        });
        let output = self.load.wait_with_output().unwrap();
        Output { stderr: reader.join().unwrap(), ..output }
    }
}

/// Asks for a page, and returns its content. Returns `None` if the connection is refused.
///
/// # Panics
///
/// If the answer is not complete.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(content.len(), length.parse::<usize>().unwrap());
    Some(content.to_owned())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn a_page_is_told_of_the_end_and_each_scrape_is_complete() {
    let (servers, reports) = (Servers::open().await, Reports::new());
    let arguments =
        [&SMALL[..], &SHORT, &servers.arguments(), &["--metrics", "127.0.0.1:0"]].concat();
    let observed = Observed::start(&reports, &arguments);
    let address = observed.address;
    // A client that sends half of a request keeps nothing from ending.
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(b"GET /metr").unwrap();

    let (scrapes, last) = blocking(move || {
        let (mut scrapes, mut last) = (0, String::new());
        while let Some(document) = get(address, "/tally.json") {
            last = document;
            if let Some(metrics) = get(address, "/metrics") {
                assert!(metrics.contains("\ntarget_info{"), "{metrics}");
                scrapes += 1;
            }
        }
        (scrapes, last)
    })
    .await;
    let output = blocking(move || observed.end()).await;

    assert_clean(&output);
    assert!(scrapes > 2);
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["phase"], "ended");
    let report = &reports.json()["load"];
    for figure in ["due", "ended", "lost_rounds", "reads_by_server"] {
        assert_eq!(last["load"][figure], report[figure], "{figure}");
    }
}

#[tokio::test]
async fn a_taken_port_is_refused_before_servers_start_and_the_usual_one_is_replaced() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let given = Reports::new().run(&["--metrics", &address, "--pg-bin", "/nowhere"]).await;
    // If another program has the usual port, it is as good.
    let held = TcpListener::bind("127.0.0.1:9464");
    let usual = [&SMALL[..], &SHORT, &["--no-store"]].concat();
    let usual = Reports::new().run(&usual).await;

    assert_eq!(given.status.code(), Some(2), "{given:?}");
    let error = lines(&given.stderr).last().unwrap().to_string();
    assert!(error.contains(&address) && error.contains("is taken by another program"), "{error}");
    assert_eq!(usual.status.code(), Some(0), "{usual:?}");
    let errors = lines(&usual.stderr);
    if held.is_ok() {
        assert!(
            errors.iter().any(|line| line.starts_with("127.0.0.1:9464 is taken")),
            "{errors:?}"
        );
    }
    assert!(errors.iter().any(|line| line.starts_with("live page at http://127.0.0.1:")));
}

#[tokio::test]
async fn without_metrics_there_is_no_page() {
    let arguments = [&SMALL[..], &SHORT, &["--no-store", "--metrics", "off"]].concat();

    let output = Reports::new().run(&arguments).await;

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("http://"), "{output:?}");
}

/// What a collector has received: the path and the content of each request.
type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Stands for a collector: accepts requests by HTTP, and keeps their contents by path.
fn collector() -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, received) = (listener.local_addr().unwrap(), Received::default());
    let kept = Arc::clone(&received);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = Arc::clone(&kept);
            thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(request) = request(&mut stream) {
                    kept.lock().unwrap().push(request);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.get_mut().write_all(answer).unwrap();
                }
            });
        }
    });
    (address, received)
}

/// Reads the path and the content of a request. Returns `None` at the end of the connection.
fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim_end().to_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut content = vec![0; length];
    stream.read_exact(&mut content).ok()?;
    Some((first.split(' ').nth(1).unwrap().to_owned(), content))
}

#[tokio::test]
async fn a_collector_gets_metrics_and_spans() {
    let (servers, reports) = (Servers::open().await, Reports::new());
    let (address, received) = collector();

    let target = format!("otlp://{address}");
    let options = ["--metrics", "off", "--export", &target];
    let output = reports.run_against(&servers, &options).await;

    assert_clean(&output);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("warning"), "{output:?}");
    let received = received.lock().unwrap();
    let content = |path: &str| -> Vec<u8> {
        let contents = received.iter().filter(|(to, _)| to == path);
        contents.flat_map(|(_, content)| content.clone()).collect()
    };
    // Texts in the messages are as they are.
    let has = |content: &[u8], text: &str| {
        content.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let metrics = content("/v1/metrics");
    // The stores of a load do not read from the primary if no replica answers.
    let reported = INSTRUMENTS.iter().filter(|one| one.name != "eventstore.replica.fallbacks");
    for instrument in reported {
        assert!(has(&metrics, instrument.name), "{}", instrument.name);
    }
    assert!(has(&metrics, "service.name"));
    let spans = content("/v1/traces");
    for name in ["eventstore.append", "eventstore.stream", "service.instance.id"] {
        assert!(has(&spans, name), "{name}");
    }
}

#[tokio::test]
async fn a_collector_that_is_absent_or_silent_changes_nothing_but_a_warning() {
    let absent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // The system accepts its connections, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [absent, silent.local_addr().unwrap()] {
        let (servers, reports) = (Servers::open().await, Reports::new());
        let target = format!("otlp://{address}");

        let options = ["--metrics", "off", "--export", &target];
        let output = reports.run_against(&servers, &options).await;

        assert_clean(&output);
        let errors = lines(&output.stderr);
        let warnings: Vec<_> = errors.iter().filter(|line| line.contains("warning: ")).collect();
        assert_eq!(warnings.len(), 1, "{errors:?}");
        let start = format!("warning: cannot export to http://{address}: ");
        assert!(warnings[0].starts_with(&start), "{warnings:?}");
        let load = &reports.json()["load"];
        assert_eq!(load["due"], load["ended"]);
    }
}

#[tokio::test]
async fn an_address_of_a_collector_that_needs_tls_is_refused() {
    let mut load = Reports::new().command(&["--export", "otlp", "--pg-bin", "/nowhere"]);
    load.env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318");

    let output = wait(load.stderr(std::process::Stdio::piped()).spawn().unwrap()).await;

    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = lines(&output.stderr).last().unwrap().to_string();
    assert!(error.contains("OTEL_EXPORTER_OTLP_ENDPOINT begins with https"), "{error}");
}
