//! The options of a load, checked before anything is started.

use std::time::Duration;

use crate::LoadError;
use crate::args::{LoadOptions, MixArguments, RateOptions, RateShape, Spacing};
use crate::city::Skew;
use crate::engine::LimitSettings;
use crate::faults::{CheckedScript, Script};
use crate::import::CitySize;
use crate::plan::{
    Aim, Arrivals, Crowd, Group, IntentionSettings, Mix, MixOptions, Plan, Planned, Schedule, Shape,
};
use crate::report::{Asked, Shares};
use crate::servers::ServerSettings;
use crate::telemetry::Export;
use crate::web::Address;

/// Everything that the options say, checked.
#[derive(Debug)]
pub struct Setup {
    /// The size of the city.
    pub size: CitySize,
    /// How unequal the choices in the city are.
    pub skew: Skew,
    /// The shares of groups and outcomes. `None` if a plan from a file has its own.
    pub mix: Option<Mix>,
    /// How operations begin.
    pub mode: Mode,
    /// The faults.
    pub script: CheckedScript,
    /// The servers.
    pub servers: ServerSettings,
    /// The seed.
    pub seed: u64,
    /// The hash of the intentions.
    pub hash: String,
    /// When an operation is late.
    pub late_after: Duration,
    /// The address of the live page and of the metrics.
    pub address: Address,
    /// Where metrics and traces are sent. `None` if they are not.
    pub export: Option<Export>,
}

/// How operations begin.
#[derive(Debug)]
pub enum Mode {
    /// Each after the end of another one.
    Closed {
        /// How intentions are drawn.
        intentions: IntentionSettings,
        /// The duration of the load.
        duration: Duration,
    },
    /// At growing rates, until a goal is not kept.
    Limit {
        /// How intentions are drawn.
        intentions: IntentionSettings,
        /// How the limit is looked for.
        settings: LimitSettings,
    },
    /// Each at its time.
    Open(Plan),
}

impl Setup {
    /// Checks the options.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the option that is wrong.
    pub fn check(options: &LoadOptions) -> Result<Self, LoadError> {
        let LoadOptions { city, rate, mix, plan, servers, telemetry, .. } = options;
        let address = Address::parse(telemetry.metrics.as_deref())?;
        let export = telemetry.export.as_deref().map(Export::parse).transpose()?;
        let loans = city.loans.unwrap_or_else(|| city.readers.min(city.books / 2));
        let size = CitySize { books: city.books, readers: city.readers, loans }.check()?;
        let skew = Skew { copies: city.book_skew, readers: city.reader_skew }.check()?;
        let (mode, mix) = match &plan.plan {
            Some(path) => (Mode::Open(Plan::read(path)?), None),
            None => {
                let mix = mix_options(mix).check()?;
                let intentions = IntentionSettings { mix, readers: city.readers, seed: plan.seed };
                (Mode::check(rate, intentions)?, Some(mix))
            }
        };
        let servers = ServerSettings {
            primary: servers.primary.clone(),
            replica_addresses: servers.replica.clone(),
            replicas: servers.replicas,
            pg_bin: servers.pg_bin.clone(),
            log: servers.log.clone(),
            clients: rate.clients,
            fsync: true,
        };
        servers.check()?;
        let script = Script::parse(plan.faults())?.check(&servers, mode.duration())?;
        Ok(Self {
            size,
            skew,
            mix,
            hash: mode.hash(),
            mode,
            script,
            servers,
            seed: plan.seed,
            late_after: Duration::from_millis(rate.late_ms),
            address,
            export,
        })
    }
}

impl Setup {
    /// Returns what the options ask for, or what the plan of a file has.
    pub fn asked(&self) -> Asked {
        match (&self.mix, &self.mode) {
            (Some(mix), _) => Asked {
                lending: mix.share(Group::Lending),
                circulation: mix.share(Group::Circulation),
                readers: mix.share(Group::Readers),
                queries: mix.share(Group::Queries),
                outcomes: Shares {
                    success: 1.0 - mix.idempotent() - mix.rejected(),
                    idempotent: mix.idempotent(),
                    rejected: mix.rejected(),
                },
                lost_rounds: mix.lost_rounds(),
            },
            (None, Mode::Open(plan)) => asked_by(plan),
            (None, _) => Asked::default(),
        }
    }
}

/// Counts what a plan asks for.
fn asked_by(plan: &Plan) -> Asked {
    let (mut asked, mut commands, mut queries) = (Asked::default(), 0.0, 0.0);
    for Planned { intention, .. } in plan.planned() {
        let operations = intention.crowd.operations() as f64;
        let group = match intention.act.group() {
            Group::Circulation => &mut asked.circulation,
            Group::Lending => &mut asked.lending,
            Group::Queries => {
                queries += operations;
                continue;
            }
            Group::Readers => &mut asked.readers,
        };
        *group += operations;
        commands += operations;
        let rejected = f64::from(intention.crowd == Crowd::OneCopy);
        asked.outcomes.rejected += rejected;
        asked.lost_rounds += operations - 1.0;
        match intention.aim {
            Aim::Idempotent => asked.outcomes.idempotent += operations,
            Aim::Rejected => asked.outcomes.rejected += operations,
            Aim::Success => asked.outcomes.success += operations - rejected,
        }
    }
    let share = |count: f64, all: f64| if all > 0.0 { count / all } else { 0.0 };
    Asked {
        lending: share(asked.lending, commands),
        circulation: share(asked.circulation, commands),
        readers: share(asked.readers, commands),
        queries: share(queries, commands + queries),
        outcomes: Shares {
            success: share(asked.outcomes.success, commands),
            idempotent: share(asked.outcomes.idempotent, commands),
            rejected: share(asked.outcomes.rejected, commands),
        },
        lost_rounds: share(asked.lost_rounds, commands),
    }
}

impl Mode {
    fn check(rate: &RateOptions, intentions: IntentionSettings) -> Result<Self, LoadError> {
        let duration = Duration::from_secs(rate.seconds);
        if rate.closed {
            return Ok(Self::Closed { intentions, duration });
        }
        let arrivals = match rate.arrivals {
            Spacing::Even => Arrivals::Even,
            Spacing::Poisson => Arrivals::Poisson,
        };
        if rate.find_limit {
            let window = Duration::from_secs(rate.window_seconds);
            // The first rate is checked as that of any schedule.
            Schedule::new(Shape::Constant, rate.rate, window, arrivals, intentions.seed)?;
            let goal = rate.goal_ms;
            if !(goal > 0.0 && goal <= MAX_GOAL_MS) {
                return Err(LoadError::Goal { goal });
            }
            let settings = LimitSettings {
                start_rate: rate.rate,
                goal: Duration::from_secs_f64(goal / 1_000.0),
                window,
                rounds: rate.rounds,
                arrivals,
                seed: intentions.seed,
            };
            return Ok(Self::Limit { intentions, settings });
        }
        let shape = match rate.shape {
            RateShape::Constant => Shape::Constant,
            RateShape::Day => Shape::Day,
            RateShape::Ramp => Shape::Ramp { from: rate.ramp_from },
        };
        let schedule = Schedule::new(shape, rate.rate, duration, arrivals, intentions.seed)?;
        Ok(Self::Open(Plan::Drawn { schedule, intentions }))
    }

    /// Returns the duration of the load: for a search of the limit, the shortest one possible.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Closed { duration, .. } => *duration,
            Self::Limit { settings, .. } => settings.window * settings.rounds,
            Self::Open(plan) => plan.duration(),
        }
    }

    /// Returns the duration of the load, or `None` if it is not known.
    pub fn planned_duration(&self) -> Option<Duration> {
        match self {
            Self::Closed { .. } | Self::Open(_) => Some(self.duration()),
            // The number of rates that will be tried is not known.
            Self::Limit { .. } => None,
        }
    }

    fn hash(&self) -> String {
        match self {
            Self::Closed { intentions, .. } | Self::Limit { intentions, .. } => intentions.hash(),
            Self::Open(plan) => plan.header().hash,
        }
    }

    /// Returns the name of the mode in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Limit { .. } => "limit",
            Self::Open(_) => "open",
        }
    }
}

fn mix_options(mix: &MixArguments) -> MixOptions {
    MixOptions {
        groups: mix.mix.clone(),
        queries: mix.queries,
        lists: mix.lists,
        idempotent: mix.idempotent,
        rejected: mix.rejected,
        lost_rounds: mix.lost_rounds,
    }
}

/// The longest goal of a search for the limit, in milliseconds.
const MAX_GOAL_MS: f64 = 600_000.0;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Arguments;

    fn setup(arguments: &str) -> Setup {
        let arguments = ["load"].into_iter().chain(arguments.split_whitespace());
        Setup::check(&Arguments::parse_from(arguments).load).unwrap()
    }

    #[test]
    fn a_city_has_as_many_loans_as_readers_but_half_of_the_books_at_most() {
        let loans = |arguments| setup(arguments).size.loans;

        assert_eq!(loans("--books 1000 --readers 400"), 400);
        assert_eq!(loans("--books 1000 --readers 900"), 500);
        assert_eq!(loans("--books 1000 --readers 900 --loans 7"), 7);
    }

    #[test]
    fn every_option_has_an_effect() {
        let options =
            "--book-skew 0.2 --reader-skew 0.3 --late-ms 7 --clients 9 --log shelf --seed 5";

        let Setup { skew, servers, late_after, seed, .. } = setup(options);

        assert_eq!(skew, Skew { copies: 0.2, readers: 0.3 });
        assert_eq!((servers.clients, servers.log.as_str(), seed), (9, "shelf", 5));
        assert_eq!(late_after, Duration::from_millis(7));
    }

    #[test]
    fn the_shape_and_the_arrivals_are_those_of_the_options() {
        let options = "--shape ramp --ramp-from 50 --rate 150 --seconds 10 --arrivals even";
        let Mode::Open(plan) = setup(options).mode else { panic!("the loop is open") };

        let (rates, first) = (plan.rates(Duration::from_secs(5)), plan.planned().nth(1).unwrap());

        assert_eq!(rates, [75.0, 125.0]);
        assert!((18_000..=41_000).contains(&first.at.as_micros()), "{first:?}");
    }

    #[test]
    fn a_search_for_the_limit_has_its_options() {
        let options = "--find-limit --goal-ms 20 --rate 300 --window-seconds 4 --rounds 6 --seed 5";
        let setup = setup(options);

        let duration = setup.mode.duration();

        let Mode::Limit { settings, .. } = setup.mode else { panic!("a search was asked for") };
        assert_eq!((settings.start_rate, settings.goal), (300.0, Duration::from_millis(20)));
        assert_eq!((settings.rounds, settings.seed), (6, 5));
        assert_eq!(duration, Duration::from_secs(24));
    }

    #[test]
    fn a_search_for_the_limit_begins_with_a_rate_that_is_possible() {
        let arguments = Arguments::parse_from(["load", "--find-limit", "--rate", "0"]);

        let error = Setup::check(&arguments.load).unwrap_err();

        assert!(matches!(error, LoadError::Schedule(_)), "{error:?}");
    }

    #[test]
    fn a_plan_from_a_file_asks_for_what_it_was_drawn_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan");
        let options = "--rate 2000 --shape constant --seconds 30 --lost-rounds 6 --rejected 9";
        let drawn = setup(options);
        let Mode::Open(plan) = &drawn.mode else { panic!("the loop is open") };
        crate::plan::file::write(&path, &plan.header(), plan.planned()).unwrap();

        let read = setup(&format!("--plan {}", path.display()));

        let (asked, counted) = (drawn.asked(), read.asked());
        let difference = counted.minus(&asked);
        let Shares { success, idempotent, rejected } = difference.outcomes;
        let Asked { lending, circulation, readers, queries, lost_rounds, .. } = difference;
        for share in
            [lending, circulation, readers, queries, lost_rounds, success, idempotent, rejected]
        {
            assert!(share.abs() < 0.01, "{asked:?} {counted:?}");
        }
        assert_eq!(read.hash, drawn.hash);
        assert!((asked.outcomes.success - 0.86).abs() < 1e-9, "{asked:?}");
    }
}
