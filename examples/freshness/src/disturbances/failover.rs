//! Promotions of a standby.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::time::sleep;
use tokio::try_join;

use super::Disturbance;
use crate::failure::Failure;
use crate::record::Active;
use crate::run::Run;
use crate::sql;
use crate::testbed::Roles;

/// Shuts the primary down, promotes a standby, and makes all others follow it. No event is lost.
pub async fn switch_over(run: &Run, is_over: &impl Fn() -> bool) -> Result<(), Failure> {
    let (active, Roles { primary: old, mut replicas }) = begin(run, Disturbance::Promoted).await?;
    let new = replicas.remove(0);
    take_out(run, new).await?;
    run.testbed.server(old).stop().await?;
    run.testbed.server(new).promote().await?;
    run.testbed.set_roles(Roles { primary: new, replicas: replicas.clone() });
    let followers = replicas.iter().chain([&old]).map(|&number| run.testbed.server(number));
    try_join_all(followers.map(|server| server.follow(run.testbed.server(new)))).await?;
    put_in(run, old, Disturbance::Promoted, is_over).await?;
    drop(active);
    Ok(())
}

/// Stops the primary in immediate mode, and promotes a standby that lacks events which have been
/// acknowledged. Another standby has them.
pub async fn fail_over(run: &Run, is_over: &impl Fn() -> bool) -> Result<(), Failure> {
    let (active, Roles { primary: old, replicas }) = begin(run, Disturbance::FailedOver).await?;
    let [new, behind, ahead] = replicas[..] else { panic!("there are three standbys") };
    take_out(run, new).await?;
    let server = |number| run.testbed.server(number);
    // The standby that will follow the new primary must have no more than it has.
    server(behind).stop_streaming().await?;
    server(new).stop_streaming().await?;
    run.record.wait_for_appends(LOST_EVENTS).await?;
    server(ahead).catch_up_with(server(old)).await?;

    let mut checks = run.checks.lock().await;
    // Backends of a killed primary would answer for a moment.
    server(old).stop_immediately().await?;
    server(new).promote().await?;
    run.testbed.set_roles(Roles { primary: new, replicas: vec![behind, ahead] });
    server(behind).follow(server(new)).await?;
    run.record.wait_for_appends(LOST_EVENTS).await?;

    // Every append that the old primary may have acknowledged has ended.
    run.record.wait_for_running().await;
    let closed = Instant::now();
    server(old).start().await?;
    // The old primary would take whatever is sent to it.
    server(new).stop().await?;
    sleep(TIME_WITHOUT_THE_NEW_PRIMARY).await;
    server(new).start().await?;
    run.record.wait_for_appends(APPENDS_BESIDE_THE_OLD_PRIMARY).await?;
    let lost = sql::read_log(&run.testbed.url(old), checks.checker.head()).await?;
    let kept = sql::read_log(&run.testbed.url(new), 0).await?;
    checks.checker.extend(&lost);
    checks.checker.fork(closed, &kept);
    drop(checks);

    try_join!(server(ahead).rebuild(server(new)), server(old).rebuild(server(new)))?;
    put_in(run, old, Disturbance::FailedOver, is_over).await?;
    drop(active);
    Ok(())
}

/// Begins a disturbance, with all standbys up to date.
async fn begin(run: &Run, disturbance: Disturbance) -> Result<(Active<'_>, Roles), Failure> {
    let roles = run.testbed.roles();
    let primary = run.testbed.server(roles.primary);
    for &standby in &roles.replicas {
        run.testbed.server(standby).catch_up_with(primary).await?;
    }
    Ok((run.record.disturb(disturbance), roles))
}

/// Takes a standby out of the stores. From now on no reader may read from it.
async fn take_out(run: &Run, standby: usize) -> Result<(), Failure> {
    run.stores.remove(standby).await?;
    run.record.wait_for_running().await;
    run.checks.lock().await.audit.begin(&run.testbed, standby).await
}

/// Adds a server to the stores, which follows the new primary now, and waits until each kind of
/// read was answered since the disturbance began, or the run is over.
async fn put_in(
    run: &Run,
    standby: usize,
    disturbance: Disturbance,
    is_over: &impl Fn() -> bool,
) -> Result<(), Failure> {
    run.checks.lock().await.end_audit(&run.testbed, standby).await?;
    run.testbed.add_replica(standby);
    run.stores.add(&run.testbed, standby).await?;
    let is_answered = || run.record.tally(|tally| tally.unanswered(disturbance).next().is_none());
    while !is_answered() && !is_over() {
        sleep(PAUSE).await;
    }
    Ok(())
}

/// The number of appends that the promoted standby lacks, and the number that it accepts before the
/// old primary is started. Then the number that it accepts beside the old primary.
const LOST_EVENTS: u64 = 20;
const APPENDS_BESIDE_THE_OLD_PRIMARY: u64 = 100;

const TIME_WITHOUT_THE_NEW_PRIMARY: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);
