//! A Prometheus of the program's own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::Failure;
use crate::http::post;
use crate::scrape::Series;

/// A Prometheus that scrapes an endpoint each second. It ends when this is dropped, and when the
/// program ends.
#[derive(Debug)]
pub struct PrometheusServer {
    address: SocketAddr,
    shell: Child,
    folder: TempDir,
}

/// A sample that Prometheus returned.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The series.
    pub series: Series,
    /// The time of the evaluation, in seconds since 1970.
    pub time: f64,
    /// The value.
    pub value: f64,
}

impl PrometheusServer {
    /// Returns whether the program `prometheus` is installed.
    pub fn is_installed() -> bool {
        let silent = Command::new("prometheus")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        silent.is_ok_and(|status| status.success())
    }

    /// Starts Prometheus and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`Failure::Io`], or [`Failure::Prometheus`] with its log if it does not answer.
    pub async fn start(target: SocketAddr) -> Result<Self, Failure> {
        let failed = Failure::io("start Prometheus");
        let folder = tempfile::tempdir().map_err(&failed)?;
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, config_text(target)).map_err(&failed)?;
        let address = free_address().map_err(&failed)?;
        let log = File::create(folder.path().join("log")).map_err(&failed)?;
        // The shell reads a pipe whose other end only this process holds, so it notices any end of
        // this process.
        let shell = Command::new("sh")
            .args(["-c", RUN, "truth", "prometheus"])
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(&failed)?)
            .stderr(log)
            .spawn()
            .map_err(&failed)?;
        let server = Self { address, shell, folder };
        server
            .wait_for("answer", async || Ok(!server.query("vector(1)").await?.is_empty()))
            .await?;
        Ok(server)
    }

    /// Evaluates an expression now.
    ///
    /// # Errors
    ///
    /// [`Failure::Prometheus`] with its explanation if the expression is invalid.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, Failure> {
        samples(&self.ask(&[("query", expression)]).await?)
    }

    /// Evaluates an expression at a time, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub async fn query_at(&self, expression: &str, time: f64) -> Result<Vec<Sample>, Failure> {
        let time = format!("{time:.3}");
        samples(&self.ask(&[("query", expression), ("time", &time)]).await?)
    }

    async fn ask(&self, form: &[(&str, &str)]) -> Result<Value, Failure> {
        let asked = post(self.address, "/api/v1/query", form).await;
        let body = asked.map_err(Failure::io("ask Prometheus"))?;
        let answer: Value = serde_json::from_str(&body).map_err(|error| {
            Failure::Malformed(format!("Prometheus answered {body:?}: {error}"))
        })?;
        if answer["status"] != "success" {
            let error = answer["error"].as_str().unwrap_or_default();
            return Err(Failure::Prometheus(format!("refuses {form:?}: {error}")));
        }
        Ok(answer)
    }

    /// Waits until Prometheus has scraped the endpoint after this call.
    ///
    /// # Errors
    ///
    /// [`Failure::Prometheus`] if it does not.
    pub async fn wait_for_scrape(&self) -> Result<(), Failure> {
        let now = self.now().await?;
        // The time of a sample of `up` is that of the beginning of its scrape. The value becomes
        // visible when the scrape has ended. Of any expression but the name of a metric,
        // `timestamp` returns the time of the evaluation.
        self.wait_for("scrape", async || {
            let up = self.query("timestamp(up) and up == 1").await?;
            Ok(up.iter().any(|sample| sample.value > now))
        })
        .await
    }

    /// Returns Prometheus' time, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub async fn now(&self) -> Result<f64, Failure> {
        let samples = self.query("vector(1)").await?;
        Ok(samples.first().map_or(0.0, |sample| sample.time))
    }

    /// Returns the time of the last scrape.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub async fn last_scrape(&self) -> Result<f64, Failure> {
        let up = self.query("timestamp(up)").await?;
        Ok(up.first().map_or(0.0, |sample| sample.value))
    }

    /// Returns the times of the scrapes in a range that ends at a time, for instance `1m`.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub async fn scrape_times(&self, range: &str, time: f64) -> Result<Vec<f64>, Failure> {
        let (range, time) = (format!("up[{range}]"), format!("{time:.3}"));
        let answer = self.ask(&[("query", &range), ("time", &time)]).await?;
        let times = answer["data"]["result"][0]["values"]
            .as_array()
            .map(|values| values.iter().filter_map(|value| value[0].as_f64()).collect::<Vec<_>>());
        Ok(times.unwrap_or_default())
    }

    async fn wait_for(
        &self,
        what: &str,
        has_happened: impl AsyncFn() -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            match has_happened().await {
                Ok(true) => return Ok(()),
                Ok(false) | Err(Failure::Io { .. }) if started.elapsed() < LONGEST_WAIT => {
                    sleep(INTERVAL).await;
                }
                Err(error) if !matches!(error, Failure::Io { .. }) => return Err(error),
                _ => {
                    let log = fs::read_to_string(self.folder.path().join("log"));
                    let log = log.unwrap_or_default();
                    return Err(Failure::Prometheus(format!("does not {what}:\n{log}")));
                }
            }
        }
    }
}

impl Drop for PrometheusServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // An error means that it has ended.
        let _ = self.shell.wait();
    }
}

fn samples(answer: &Value) -> Result<Vec<Sample>, Failure> {
    let samples = match &answer["data"]["result"] {
        Value::Array(samples) => samples.iter().map(sample).collect(),
        _ => None,
    };
    samples.ok_or_else(|| Failure::Malformed(format!("Prometheus answered {answer}")))
}

fn sample(value: &Value) -> Option<Sample> {
    let mut labels: BTreeMap<String, String> =
        serde_json::from_value(value["metric"].clone()).ok()?;
    let name = labels.remove("__name__").unwrap_or_default();
    let text = value["value"][1].as_str()?;
    let number = text.replace("Inf", "inf").parse().ok()?;
    let series = Series { name, labels };
    Some(Sample { series, time: value["value"][0].as_f64()?, value: number })
}

fn config_text(target: SocketAddr) -> String {
    format!(
        "global:\n  scrape_interval: {INTERVAL_TEXT}\n  scrape_timeout: {INTERVAL_TEXT}\n\
         scrape_configs:\n  - job_name: {JOB}\n    static_configs:\n      - targets: ['{target}']\n"
    )
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The value of the label `job`.
pub const JOB: &str = "truth";

/// Runs a program until the pipe is closed.
const RUN: &str = "\"$@\" & child=$!; read -r line; kill \"$child\"; wait \"$child\"";
const INTERVAL: Duration = Duration::from_millis(50);
const INTERVAL_TEXT: &str = "1s";
const LONGEST_WAIT: Duration = Duration::from_secs(30);
