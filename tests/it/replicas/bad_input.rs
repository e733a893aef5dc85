//! Settings of read-only stores that cannot be used.

use std::time::Duration;

use eddyline::{Config, Error, Fallback, ReadOnly, ReadWrite, Replica, Store};

use crate::support::Log;

fn setting_of<T>(outcome: Result<T, Error>) -> &'static str {
    match outcome.map(drop) {
        Err(Error::InvalidConfig { setting, .. }) => setting,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn weights_that_mean_nothing_are_refused() {
    let log = Log::new().await;
    for weight in [-1.0, -0.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE] {
        let replica = Replica::new(&log.replica_url()).unwrap().weight(weight);
        let reader = log.reader().await;

        let config = Config::from(replica.clone()).log(&log.name);
        assert_eq!(setting_of(Store::<ReadOnly>::connect(config).await), "weight");
        assert_eq!(setting_of(reader.add_replica(replica).await), "weight");
    }
}

#[tokio::test]
async fn the_same_address_twice_is_refused() {
    let log = Log::new().await;
    log.reader().await;
    let url = log.replica_url();
    let config = Config::new(&url).unwrap().replica(&format!("{url}?connect_timeout=3")).unwrap();

    let refused = Store::<ReadOnly>::connect(config.log(&log.name)).await;

    assert_eq!(setting_of(refused), "replica");
}

#[tokio::test]
async fn settings_of_the_primary_are_checked() {
    let log = Log::new().await;
    log.reader().await;
    let standby = format!("{}?target_session_attrs=standby", log.primary_url());
    let config = log.replica_config().primary(&standby, Fallback::Never).unwrap();
    assert_eq!(setting_of(Store::<ReadOnly>::connect(config).await), "primary");

    let config = log.config().primary(&log.primary_url(), Fallback::Never).unwrap();
    assert_eq!(setting_of(Store::<ReadWrite>::connect(config).await), "primary");
}

#[tokio::test]
async fn an_interval_of_zero_is_refused() {
    let log = Log::new().await;
    let config = log.replica_config().watch_interval(Duration::ZERO);

    assert_eq!(setting_of(Store::<ReadOnly>::connect(config).await), "watch_interval");
}
