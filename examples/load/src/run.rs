//! A load from its beginning to its audit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use console::{Stop, print_stderr};
use eddyline::SequenceNumber;
use jiff::Timestamp;
use library::commands::CommandHandler;
use library::queries::QueryHandler;

use crate::args::{LoadOptions, RateShape};
use crate::city::{City, CityBuilder};
use crate::clients::run_clients;
use crate::engine::Limit;
use crate::faults::{Director, Marks};
use crate::import::{fill, fill_without_store};
use crate::journey::Journey;
use crate::live_page::{Live, Phase};
use crate::machine::{cpu_time, eddyline_version, machine};
use crate::observer::{Observations, Observer};
use crate::replies::Replies;
use crate::report::{Report, Settings};
use crate::servers::{Servers, Stores};
use crate::service::Service;
use crate::setup::{Mode, Setup};
use crate::tally::{Tally, TallySettings};
use crate::{LoadError, audit, clock};

/// A load that has ended, before its audit.
pub struct Loaded {
    /// The report, without the result of the audit.
    pub report: Report,
    /// What the audit needs. `None` if there was no store.
    pub evidence: Option<Evidence>,
}

/// What an audit needs.
pub struct Evidence {
    servers: Servers,
    replies: Replies,
}

/// Runs a load, and shows it on the live page.
///
/// # Errors
///
/// [`LoadError`]: an option is wrong, or the servers cannot be started or reached. Errors of
/// operations during the load are counted, and are no errors of the load.
pub async fn load(options: &LoadOptions, setup: &Setup, live: &Live) -> Result<Loaded, LoadError> {
    match options.servers.no_store {
        true => load_without_store(options, setup, live).await,
        false => load_with_servers(options, setup, live).await,
    }
}

impl Evidence {
    /// Reads the log and compares it with the rules and with what the handlers returned.
    ///
    /// # Errors
    ///
    /// [`LoadError::Store`] if the log cannot be read.
    pub async fn audit(self) -> Result<audit::Audit, LoadError> {
        let stores = self.servers.connect_for_audit().await?;
        audit::audit(&stores, self.replies).await
    }
}

async fn load_with_servers(
    options: &LoadOptions,
    setup: &Setup,
    live: &Live,
) -> Result<Loaded, LoadError> {
    let servers = Servers::open(&setup.servers, &setup.script.preparations()).await?;
    let servers = servers.telemetry(live.telemetry());
    let stores = servers.connect().await?;
    let before = stores.writer.head().await.map_err(LoadError::Store)?;
    let replies = Replies::after(before);
    let city = prepare(setup, &stores, &replies, before).await?;
    let service = match options.servers.sabotage {
        Some(sabotage) => Service::sabotaged(sabotage, stores.writer, stores.reader.clone()),
        None => Service::library(
            CommandHandler::new(stores.writer),
            QueryHandler::new(stores.reader.clone()),
        ),
    };
    let interval = Observer::interval(setup.mode.duration());
    let observer = Observer::start(&servers, interval).await;
    // The load begins after the first sample: operations must not wait for the observer.
    let start = observer.started();
    let load = Load::new(setup, city, service, &replies, start);
    let marks = Marks::default();
    // The director ends when the load has ended, and undoes its faults.
    let (limit, ()) = tokio::join!(
        load.run(live),
        Director::run(&setup.script, &servers, &stores.reader, start, &marks, &load.stop),
    );
    let limit = limit?;
    let observed = observer.finish().await;
    let mut report = load.report(options, limit, observed);
    report.faults = marks.list();
    Ok(Loaded { report, evidence: Some(Evidence { servers, replies }) })
}

/// Reads the city from the log, and imports what it lacks.
async fn prepare(
    setup: &Setup,
    stores: &Stores,
    replies: &Replies,
    start: SequenceNumber,
) -> Result<City, LoadError> {
    let mut city = CityBuilder::new(setup.skew);
    if start > SequenceNumber::ZERO {
        print_stderr(&format!("reading the existing log, up to event {start}"));
        city = city.read(&stores.reader.at_least(start)).await.map_err(LoadError::Store)?;
        if city.unreadable() > 0 {
            let count = city.unreadable();
            print_stderr(&format!("the library cannot read {count} events; the audit names them"));
        }
    }
    fill(&mut city, setup.size, setup.seed, &stores.writer, replies)
        .await
        .map_err(LoadError::Store)?;
    let imported = stores.writer.head().await.map_err(LoadError::Store)?;
    stores.reader.at_least(imported).head().await.map_err(LoadError::Store)?;
    Ok(city.build(start))
}

async fn load_without_store(
    options: &LoadOptions,
    setup: &Setup,
    live: &Live,
) -> Result<Loaded, LoadError> {
    let mut city = CityBuilder::new(setup.skew);
    fill_without_store(&mut city, setup.size, setup.seed, |_| {});
    let replies = Replies::after(SequenceNumber::ZERO);
    let (city, start) = (city.build(SequenceNumber::ZERO), clock::now());
    let load = Load::new(setup, city, Service::null(), &replies, start);
    let limit = load.run(live).await?;
    let report = load.report(options, limit, Observations::default());
    Ok(Loaded { report, evidence: None })
}

/// The clients of a load, and what they need.
struct Load<'a> {
    setup: &'a Setup,
    journey: Journey,
    tally: Arc<Tally>,
    stop: Stop,
    started_at: Timestamp,
    cpu_before: Option<Duration>,
}

impl<'a> Load<'a> {
    fn new(
        setup: &'a Setup,
        city: City,
        service: Service,
        replies: &Replies,
        start: Instant,
    ) -> Self {
        let duration = setup.mode.duration();
        let tally = Arc::new(Tally::new(TallySettings {
            late_after: setup.late_after,
            ..TallySettings::for_duration(start, duration)
        }));
        let pause = match setup.mode {
            Mode::Closed { .. } => PAUSE_AFTER_ERROR,
            Mode::Limit { .. } | Mode::Open(_) => Duration::ZERO,
        };
        let replies = replies.clone();
        let journey = Journey::new(city, service, Arc::clone(&tally), replies, pause);
        let (stop, started_at) = (Stop::on_signals("the load"), Timestamp::now());
        Self { setup, journey, tally, stop, started_at, cpu_before: cpu_time() }
    }
}

impl Load<'_> {
    async fn run(&self, live: &Live) -> Result<Option<Limit>, LoadError> {
        let Self { setup, journey, tally, stop, .. } = self;
        live.begin(tally, setup.mode.planned_duration());
        let clients = setup.servers.clients;
        let limit = run_clients(&setup.mode, journey.clone(), clients, tally, stop).await;
        stop.set();
        live.enter(Phase::Auditing);
        limit
    }

    fn report(&self, options: &LoadOptions, limit: Option<Limit>, servers: Observations) -> Report {
        let Self { setup, tally, started_at, cpu_before, .. } = self;
        let load = tally.snapshot();
        let cpu = cpu_time().zip(*cpu_before).map(|(now, before)| now.saturating_sub(before));
        let per_operation = |cpu: Duration| cpu.as_secs_f64() * 1e6 / load.ended.max(1) as f64;
        Report {
            version: Report::VERSION,
            started_at: *started_at,
            machine: machine(),
            settings: self.settings(options),
            asked: setup.asked(),
            cpu_per_operation_us: cpu.map(per_operation),
            load,
            servers,
            faults: Vec::new(),
            limit,
            audit: None,
        }
    }

    fn settings(&self, options: &LoadOptions) -> Settings {
        let Self { setup, tally, .. } = self;
        let shape = match &setup.mode {
            Mode::Open(_) if options.plan.plan.is_some() => "plan",
            Mode::Open(_) => match options.rate.shape {
                RateShape::Constant => "constant",
                RateShape::Day => "day",
                RateShape::Ramp => "ramp",
            },
            Mode::Closed { .. } | Mode::Limit { .. } => "none",
        };
        let rates = match &setup.mode {
            Mode::Open(plan) => plan.rates(tally.settings().window),
            Mode::Closed { .. } | Mode::Limit { .. } => Vec::new(),
        };
        Settings {
            eddyline: eddyline_version().to_owned(),
            model: setup.mode.name().to_owned(),
            shape: shape.to_owned(),
            clients: setup.servers.clients,
            plan: setup.hash.clone(),
            seed: setup.seed,
            rates,
            is_embedded: setup.servers.primary.is_none(),
            options: options.named(),
        }
    }
}

/// The pause of a client after an error in a closed loop. Requests to an unavailable server fail at
/// once, and without a pause the client would only count errors.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
