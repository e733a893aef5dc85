//! Runs a load of library commands and queries. `cargo demo -- --help` describes its options.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use console::{OutcomeFile, error_chain, parse_arguments, print_stderr, print_stdout};
use load::LoadError;
use load::args::{Action, Arguments, LoadOptions, ReportOptions};
use load::live_page::{Live, Phase};
use load::plan::file;
use load::report::{Report, compare, page};
use load::run::{Loaded, load};
use load::setup::{Mode, Setup};
use load::telemetry::Instrumentation;
use load::web::{Server, Serving};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Arguments = match parse_arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let result = match &arguments.command {
        Some(Action::Compare { before, after }) => compare_files(before, after).map(|()| true),
        None => run(&arguments.load).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print_stderr(&format!("error: {}", error_chain(&error)));
            ExitCode::from(2)
        }
    }
}

/// Runs the load and the audit. Returns whether the audit has no findings.
async fn run(options: &LoadOptions) -> Result<bool, LoadError> {
    let setup = Setup::check(options)?;
    let files = ReportFiles::check(&options.report)?;
    if let (Some(path), Mode::Open(plan)) = (&options.plan.write_plan, &setup.mode) {
        file::write(path, &plan.header(), plan.planned())?;
    }
    print_stderr(&format!("plan {}", setup.hash));
    let observable = Observable::start(&setup).await?;
    let result = load_and_audit(options, &setup, &files, &observable.live).await;
    observable.end(result.is_ok()).await;
    result
}

/// Runs the load and the audit, and writes the report.
async fn load_and_audit(
    options: &LoadOptions,
    setup: &Setup,
    files: &ReportFiles,
    live: &Live,
) -> Result<bool, LoadError> {
    let Loaded { mut report, evidence } = load(options, setup, live).await?;
    // These files remain if the program is killed during the audit. Their error is ignored: the
    // audit runs in any case, and the second write reports an error that persists.
    let _ = files.write(&report);

    let audited = match evidence {
        Some(evidence) => evidence.audit().await.map(|audit| report.audit = Some(audit)),
        None => Ok(()),
    };
    print_stdout(&report);
    let written = files.write(&report);
    if let (Err(_), Err(error)) = (&audited, &written) {
        print_stderr(&format!("error: {}", error_chain(error)));
    }
    audited?;
    written?;
    files.announce();
    Ok(report.audit.is_none_or(|audit| audit.is_clean()))
}

/// What others can see of a load while it runs.
struct Observable {
    live: Live,
    serving: Option<Serving>,
    instrumentation: Option<Arc<Instrumentation>>,
}

impl Observable {
    /// Starts to serve the live page and the metrics, and to export, as the options say.
    async fn start(setup: &Setup) -> Result<Self, LoadError> {
        let server = Server::bind(setup.address).await?;
        let is_measured = server.is_some() || setup.export.is_some();
        let instrumentation =
            is_measured.then(|| Instrumentation::start(setup.export.as_ref())).transpose()?;
        let instrumentation = instrumentation.map(Arc::new);
        let live = Live::new(instrumentation.clone());
        let serving = server.map(|server| {
            let address = server.address();
            if let Some(usual) = server.instead_of() {
                print_stderr(&format!("{usual} is taken, a free port is used instead"));
            }
            print_stderr(&format!("live page at http://{address}/"));
            print_stderr(&format!("metrics at http://{address}/metrics"));
            live.serve(server)
        });
        Ok(Self { live, serving, instrumentation })
    }

    /// Tells open pages that the load has ended, and ends.
    async fn end(self, is_ok: bool) {
        let Self { live, serving, instrumentation } = self;
        live.enter(if is_ok { Phase::Ended } else { Phase::Failed });
        if let Some(serving) = serving {
            live.until_told().await;
            serving.shut_down().await;
        }
        if let Some(instrumentation) = instrumentation {
            instrumentation.shut_down().await;
        }
    }
}

/// Compares two reports.
fn compare_files(before: &Path, after: &Path) -> Result<(), LoadError> {
    let read = |path: &Path| {
        let failed = |source| LoadError::Compare { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(|error| failed(error.into()))?;
        Report::from_json(&text).map_err(|error| failed(error.into()))
    };
    let comparison = compare(&read(before)?, &read(after)?);
    print_stdout(
        &comparison
            .map_err(|error| LoadError::Compare { path: after.to_owned(), source: error.into() })?,
    );
    Ok(())
}

/// The files for the report.
struct ReportFiles {
    json: Option<(OutcomeFile, PathBuf)>,
    html: (OutcomeFile, PathBuf),
}

impl ReportFiles {
    /// Checks before the load that the files can be written after it.
    fn check(options: &ReportOptions) -> Result<Self, LoadError> {
        let open = |path: PathBuf| match OutcomeFile::at(&path) {
            Ok(file) => Ok((file, path)),
            Err(source) => Err(LoadError::ReportFile { path, source }),
        };
        let html = options.html.clone().unwrap_or_else(|| {
            let target = Path::new("target");
            if target.is_dir() { target.join(HTML) } else { PathBuf::from(HTML) }
        });
        Ok(Self { json: options.json.clone().map(open).transpose()?, html: open(html)? })
    }

    fn write(&self, report: &Report) -> Result<(), LoadError> {
        let write = |(file, path): &(OutcomeFile, PathBuf), text: String| {
            let failed = |source: io::Error| LoadError::ReportFile { path: path.clone(), source };
            file.write(text.as_bytes()).map_err(failed)
        };
        let json = self.json.as_ref().map_or(Ok(()), |json| write(json, report.to_json()));
        write(&self.html, page(report))?;
        json
    }

    /// Says where the page is.
    fn announce(&self) {
        print_stderr(&format!("open {} in a browser", self.html.1.display()));
    }
}

/// The name of the page, if no other is given.
const HTML: &str = "load-report.html";
