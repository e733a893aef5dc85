//! A run from its beginning to its report.

use std::net::SocketAddr;
use std::time::Duration;

use console::{Progress, print_stderr};
use library::commands::CommandHandler;
use library::queries::QueryHandler;

use crate::args::Args;
use crate::calls::Ended;
use crate::comparison::Comparisons;
use crate::exporter::{Exporter, serve};
use crate::panels::PanelStart;
use crate::probe::Probe;
use crate::prometheus_server::PrometheusServer;
use crate::repeated::{RepeatedCall, RepeatedOperation};
use crate::report::Report;
use crate::steps::{STEPS, Steps};
use crate::stores::Stores;
use crate::testbed::Testbed;
use crate::whole_way::{compare_names, compare_with_prometheus, complete_counts, last_scrape};
use crate::{Failure, generator, mix};

/// Runs all steps and makes all comparisons.
///
/// # Errors
///
/// [`Failure`] if the run itself fails.
pub async fn run(args: &Args) -> Result<Report, Failure> {
    let most_clients = args.clients.iter().copied().max().unwrap_or(1);
    let connections = CONNECTIONS + CONNECTIONS_PER_CLIENT * most_clients;
    let testbed = Testbed::start(args.pg_bin.as_deref(), connections).await?;
    let exporter = Exporter::new()?;
    let text = exporter.clone();
    let (address, _serving) = serve(move || text.text()).await?;
    let mut report = Report::default();
    let prometheus = start_prometheus(address, &mut report).await?;
    generator::prepare(&testbed).await?;
    let stores = Stores::connect(&testbed, &exporter.telemetry(), most_clients).await?;
    RepeatedCall::fill(&stores.repeated).await.map_err(Failure::store("fill a log"))?;
    Probe::prepare(&testbed).await?;
    testbed.wait_for_replay().await?;

    announce(&stores);
    let panels = match &prometheus {
        Some(prometheus) => Some(PanelStart::now(prometheus, exporter.scrape()?).await?),
        None => None,
    };

    let ended = all_steps(args, &testbed, &stores, &exporter, &mut report).await?;
    compare_names(&mut report.comparisons, &exporter.scrape()?);
    if let (Some(prometheus), Some(panels)) = (&prometheus, &panels) {
        panels.compare(prometheus, &exporter.scrape()?, &mut report.comparisons).await?;
    }
    // The watchers of the stores count until they are dropped.
    drop(stores);
    let stored = match &prometheus {
        Some(prometheus) => Some(last_scrape(prometheus, &exporter).await?),
        None => None,
    };
    if let Some(stored) = &stored {
        let ended = (most_clients, &ended);
        compare_with_prometheus(&mut report.comparisons, &exporter, stored, ended)?;
    }
    complete_counts(&mut report.counted, &exporter.scrape()?, stored.as_ref());
    Ok(report)
}

async fn start_prometheus(
    address: SocketAddr,
    report: &mut Report,
) -> Result<Option<PrometheusServer>, Failure> {
    if !PrometheusServer::is_installed() {
        let missing = "what Prometheus has, because the program `prometheus` is missing: \
                       apt-get install prometheus";
        print_stderr(&format!("left out: {missing}"));
        report.left_out.push(missing.to_owned());
        return Ok(None);
    }
    Ok(Some(PrometheusServer::start(address).await?))
}

/// Makes the series of handlers and scopes visible before the panels' time begins.
fn announce(stores: &Stores) {
    CommandHandler::new(stores.commands.clone());
    QueryHandler::new(stores.queries.clone());
    stores.decisions.with_scope(mix::DECISION_SCOPE);
    stores.unsteady.with_scope(mix::RETRY_SCOPE);
}

/// Runs the steps for each number of clients. Returns all calls of the mixes.
async fn all_steps(
    args: &Args,
    testbed: &Testbed,
    stores: &Stores,
    exporter: &Exporter,
    report: &mut Report,
) -> Result<Ended, Failure> {
    let length = Duration::from_secs(args.seconds);
    let (mut exchanges, mut ways) = (Comparisons::default(), Comparisons::default());
    exchanges.begin("Requests, by the server's log and a round trip");
    ways.begin("The same call in a closed loop and under the load generator");
    let (mut ended, mut done) = (Ended::default(), 0);
    let mut progress = Progress::toward("truth", STEPS * args.clients.len() as u64);
    for clients in args.clients.iter().copied() {
        let steps = Steps { testbed, stores, exporter, clients, length };
        let mut show = |what: &str| {
            progress.show(done, &format!("{clients} clients: {what}"));
            done += 1;
        };
        show("calls with every outcome");
        ended.add(&steps.mix(&mut report.comparisons).await?);
        for operation in RepeatedOperation::ALL {
            show(&format!("requests of {}", operation.name()));
            steps.exchange(operation, &mut exchanges).await?;
        }
        for operation in RepeatedOperation::ALL {
            show(&format!("{} in two ways", operation.name()));
            steps.two_ways(operation, &mut ways).await?;
        }
        show("the load generator");
        steps.generator(&mut report.comparisons, &mut report.counted).await?;
    }
    report.comparisons.append(exchanges);
    report.comparisons.append(ways);
    Ok(ended)
}

/// The connections of replication, watchers and the program itself.
const CONNECTIONS: u32 = 60;
/// The stores have pools of their own on the primary, and each client may have a probe.
const CONNECTIONS_PER_CLIENT: u32 = 8;
