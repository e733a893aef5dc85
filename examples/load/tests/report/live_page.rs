//! The live page shows the numbers of the tally, and says what the load generator does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use load::live_page::{Live, Phase};
use load::plan::Group;
use load::tally::{Ended, Status, Tally, TallySettings};
use load::web::{Address, Answer, Limits, Request, Server};
use serde_json::Value;

use crate::browser::{Element, elements_at};
use crate::shown::{points, wrong_number};

/// Returns a tally of a load that began 9.5 seconds ago. Its last second is not complete.
fn tally() -> Arc<Tally> {
    let start = Instant::now() - Duration::from_millis(9_500);
    let tally = Tally::new(TallySettings { start, ..TallySettings::default() });
    for number in 0..OPERATIONS_ENDED {
        let (operation, group) = OPERATIONS[(number % 4) as usize];
        let intended = start + Duration::from_millis(number * 10);
        let began = intended + Duration::from_millis(number % 7);
        let ended = began + Duration::from_millis(1 + number % 23);
        let status = if group == Group::Queries || number % 5 > 1 {
            Status::Success
        } else {
            STATUSES[(number % 3) as usize]
        };
        tally.due(intended, 1);
        tally.ended(&Ended {
            lost_rounds: u32::from(number % 11 == 0),
            served_by: (group == Group::Queries).then(|| "replica-0".to_owned()),
            error: (number == 35).then(|| "no route <to> the host".to_owned()),
            ..Ended::new(operation, group, status, intended, began, ended)
        });
    }
    Arc::new(tally)
}

/// Opens the page of a load in a browser. `answer` answers its requests.
async fn opened<F>(answer: F) -> Vec<Element>
where
    F: Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
{
    let free = Address::parse(Some("0")).unwrap();
    let server = Server::bind(free).await.unwrap().unwrap();
    let url = format!("http://{}/", server.address());
    let _serving = server.serve(Limits::default(), answer);
    tokio::task::spawn_blocking(move || elements_at(&url)).await.unwrap()
}

/// Returns the counts as a page gets them.
pub fn document(live: &Live) -> Value {
    let request = Request { path: "/tally.json".to_owned(), query: String::new() };
    serde_json::from_slice(&live.answer(&request).unwrap().content).unwrap()
}

/// Returns the value of an attribute of the body.
fn of_body(elements: &[Element], name: &str) -> Option<String> {
    elements.iter().find_map(|element| element.attribute(name))
}

/// Returns what is wrong with a page: errors of its scripts, and numbers that are not those of the
/// document.
pub fn problems(elements: &[Element], document: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let errors = of_body(elements, "data-errors");
    if errors.as_deref() != Some("0") {
        problems.push(format!("data-errors is {errors:?}"));
    }
    let numbers: Vec<&Element> = elements
        .iter()
        .filter(|one| one.attribute("data-value-of").is_some_and(|name| name.starts_with("/load/")))
        .collect();
    if numbers.len() < 30 {
        problems.push(format!("only {} numbers are shown", numbers.len()));
    }
    problems.extend(numbers.into_iter().filter_map(|number| wrong_number(number, document)));
    problems
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_the_numbers_of_the_tally() {
    let (live, tally) = (Live::new(None), tally());
    live.begin(&tally, Some(Duration::from_secs(60)));
    live.enter(Phase::Ended);
    let expected = document(&live);

    let answering = live.clone();
    let elements = opened(move |request| answering.answer(request)).await;

    assert_eq!(problems(&elements, &expected), [""; 0]);
    let snapshot = tally.snapshot();
    assert_eq!(expected["load"]["ended"], snapshot.ended);
    assert_eq!(expected["load"]["commands"]["latency"]["p99"], snapshot.commands.latency.p99);
    let points = points(&elements);
    for chart in OF_THE_TALLY {
        assert!(points.get(chart) > Some(&0), "{chart}: {points:?}");
    }
    for chart in ["events", "connections", "attempts"] {
        assert_eq!(points.get(chart), Some(&0), "{chart}");
    }
    let error = elements.iter().filter(|element| element.text == "no route <to> the host");
    assert_eq!(error.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_show_the_last_second_of_the_tally() {
    let (live, tally) = (Live::new(None), tally());
    live.begin(&tally, None);
    live.enter(Phase::Auditing);
    let last = loop {
        if let Some(last) = tally.seconds(Some(8)).first() {
            break last.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(last.at == 9 && last.ended() > 0, "{last:?}");

    let elements = opened(move |request| live.answer(request)).await;

    let shown = |chart: &str| -> BTreeMap<String, Option<f64>> {
        let is_chart = |one: &&Element| one.attribute("data-chart").as_deref() == Some(chart);
        let values = elements.iter().find(is_chart).unwrap().attribute("data-last").unwrap();
        serde_json::from_str(&values).unwrap()
    };
    for (name, value) in shown("commands") {
        let count = last.operations.get(name.as_str()).map_or(0, |outcomes| outcomes.success);
        assert_eq!(value, Some(count as f64), "{name}");
    }
    assert_eq!(shown("rate")["due"], Some(last.due as f64));
    assert_eq!(shown("rate")["ended"], Some(last.ended() as f64));
    let latencies = &shown("command-latency");
    let expected = &last.commands;
    for (name, value) in [("p50", expected.p50), ("p99", expected.p99), ("mean", expected.mean)] {
        let expected = (expected.count > 0).then_some(value);
        assert_eq!(latencies[name], expected, "{name}");
    }
    assert_eq!(shown("lost-rounds")["lost rounds"], Some(last.lost_rounds as f64));
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_the_load_generator_does() {
    for (phase, text) in [
        (Phase::Preparing, "Preparing: "),
        (Phase::Running, "Running: "),
        (Phase::Auditing, "The load has ended. The log is audited now."),
        (Phase::Ended, "The demo has ended. These are its last values"),
        (Phase::Failed, "The demo has ended with an error"),
    ] {
        let live = Live::new(None);
        if phase != Phase::Preparing {
            live.begin(&tally(), Some(Duration::from_secs(60)));
            live.enter(phase);
        }

        let elements = opened(move |request| live.answer(request)).await;

        assert!(elements.iter().any(|one| one.text.starts_with(text)), "{phase:?}");
        assert_eq!(of_body(&elements, "data-errors").as_deref(), Some("0"), "{phase:?}");
    }
}

/// Returns the page of a load in this phase that answers twice and then no more.
async fn lost(phase: Phase) -> Vec<Element> {
    let (live, asked) = (Live::new(None), AtomicU32::new(0));
    live.begin(&tally(), Some(Duration::from_secs(60)));
    live.enter(phase);
    let answer = move |request: &Request| match request.path.as_str() {
        "/tally.json" if asked.fetch_add(1, Ordering::Relaxed) >= 2 => None,
        _ => live.answer(request),
    };
    opened(answer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_last_values_if_the_demo_does_not_answer() {
    for (phase, state) in [(Phase::Running, "unreachable"), (Phase::Auditing, "ended")] {
        let elements = lost(phase).await;

        assert_eq!(of_body(&elements, "data-state").as_deref(), Some(state));
        let ended = elements
            .iter()
            .find(|one| one.attribute("data-value-of").as_deref() == Some("/load/ended"));
        assert_eq!(ended.unwrap().text, OPERATIONS_ENDED.to_string());
        assert!(points(&elements)["commands"] > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_other_numbers_or_an_error_fails_the_check() {
    let live = Live::new(None);
    live.begin(&tally(), None);
    live.enter(Phase::Ended);
    let mut other = document(&live);
    let p99 = other["load"]["commands"]["latency"]["p99"].as_f64().unwrap();
    other["load"]["commands"]["latency"]["p99"] = (p99 * 1.1).into();
    let answer = move |request: &Request| {
        let answer = live.answer(request)?;
        let text = String::from_utf8(answer.content.to_vec()).unwrap();
        let broken = text.replace("function drawTiles(", "function drawNothing(");
        Some(Answer { content: broken.into(), ..answer })
    };
    let intact = Live::new(None);
    intact.begin(&tally(), None);
    intact.enter(Phase::Ended);

    let broken = problems(&opened(answer).await, &other);
    let wrong = problems(&opened(move |request| intact.answer(request)).await, &other);

    assert!(broken.iter().any(|one| one.starts_with("data-errors is ")), "{broken:?}");
    assert!(wrong.iter().any(|one| one.starts_with("/load/commands/latency/p99 ")), "{wrong:?}");
}

#[test]
fn a_page_gets_only_what_is_new() {
    let live = Live::new(None);
    live.begin(&tally(), None);
    live.enter(Phase::Auditing);
    let all = document(&live)["seconds"].as_array().unwrap().len();
    let request = |query: &str| Request { path: "/tally.json".to_owned(), query: query.to_owned() };

    let answer = live.answer(&request("after=5")).unwrap();

    let document: Value = serde_json::from_slice(&answer.content).unwrap();
    let seconds = document["seconds"].as_array().unwrap();
    assert!(seconds.len() >= all - 6);
    assert_eq!(seconds[0]["at"], 6);
    let nonsense = live.answer(&request("after=yesterday&x")).unwrap();
    assert!(nonsense.content.len() > answer.content.len());
}

/// One each ten milliseconds.
const OPERATIONS_ENDED: u64 = 940;
const OPERATIONS: [(&str, Group); 4] = [
    ("LendBookCopyToReader", Group::Lending),
    ("AddBookCopy", Group::Circulation),
    ("RegisterReader", Group::Readers),
    ("BooksLentByReader", Group::Queries),
];
const STATUSES: [Status; 3] = [Status::Idempotent, Status::Rejected, Status::Error];
/// The charts whose numbers are those of the tally.
const OF_THE_TALLY: [&str; 10] = [
    "command-latency",
    "commands",
    "errors",
    "lost-rounds",
    "outcomes",
    "queries",
    "query-latency",
    "rate",
    "reads",
    "waiting",
];
