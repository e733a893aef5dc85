//! A short run with small counts, of which all that is exact must hold. What needs Prometheus is left
//! out where it is not installed.

use truth::args::Args;
use truth::run::run;

#[tokio::test(flavor = "multi_thread")]
async fn counts_names_and_panels_are_those_of_the_program() {
    let args = Args { seconds: 2, clients: vec![4], exact: true, pg_bin: None };

    let report = run(&args).await.unwrap();

    let text = report.to_string();
    let failed: Vec<_> = text.lines().filter(|line| line.contains("FAILED")).collect();
    assert!(report.holds(args.exact), "{failed:#?}");
    assert!(report.comparisons.count() > 100 && report.counted.count() > 0, "{text}");
}
