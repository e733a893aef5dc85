//! What the comparisons with Prometheus rely on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use truth::exporter::serve;
use truth::prometheus_server::PrometheusServer;

/// A run takes the values of one scrape for those of its end. If the wait for that scrape ended
/// early, the last second of a run would be missing.
#[tokio::test]
async fn a_wait_for_a_scrape_ends_when_prometheus_has_a_value_of_after_its_beginning() {
    if !PrometheusServer::is_installed() {
        return;
    }
    let answered = Arc::new(AtomicU64::new(0));
    let scrapes = answered.clone();
    let served = serve(move || {
        format!("# TYPE asked counter\nasked {}\n", scrapes.fetch_add(1, Ordering::SeqCst) + 1)
    });
    let (address, _serving) = served.await.unwrap();
    let prometheus = PrometheusServer::start(address).await.unwrap();

    for _ in 0..3 {
        let before = answered.load(Ordering::SeqCst);
        prometheus.wait_for_scrape().await.unwrap();

        let asked = prometheus.query("asked").await.unwrap();
        assert!(asked[0].value > before as f64, "{asked:?} and {before}");
    }
}
