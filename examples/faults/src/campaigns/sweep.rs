//! Faults at every byte of an append's exchange, in every layout of the request.
//!
//! Each writer has its own connection through its own proxy, so the byte at which a fault is
//! injected belongs to its appends. Before each injection it makes some appends without faults.
//! After these it is connected and its statements are prepared, so only the exchange itself is
//! counted.
//!
//! A partly delivered request may take its log's lock and hold it until the server's timeout
//! expires. Each writer has a log of its own, so that this delays no other writer.

use std::time::Duration;

use fault_proxy::{Action, Direction, Ending, Fault};
use futures_util::future::try_join_all;
use rand::RngExt;
use tokio::time::sleep;

use super::exchange::{Exchange, ending, run_alongside, spread};
use super::layout::{Layout, WriterPair};
use crate::checker::DEADLINE;
use crate::draft::{ConditionKind, Draft};
use crate::testbed::Testbed;
use crate::{Campaign, Failure};

/// A fault to inject, and the appends that it is injected into.
#[derive(Clone, Copy, Debug)]
struct Injection {
    layout: Layout,
    kind: ConditionKind,
    direction: Direction,
    after: u64,
    variant: usize,
}

pub async fn run(testbed: &Testbed, campaign: Campaign) -> Result<(), Failure> {
    let mut points = Vec::new();
    let mut pair = WriterPair::connect(testbed, campaign, testbed.plan.writers).await?;
    for layout in Layout::ALL {
        let exchange = pair.measure(layout).await?;
        testbed.recorder.add_exchange(
            campaign,
            layout.name(),
            exchange.to_server,
            exchange.to_client,
        );
        let own = exchange.injection_points_after(Exchange::default());
        points.extend(own.into_iter().map(|point| (layout, point)));
    }
    drop(pair);
    let injections = injections(testbed, campaign, &points);
    let pairs = (0..testbed.plan.writers).map(|number| {
        let own = injections.iter().skip(number).step_by(testbed.plan.writers).copied();
        inject_all(testbed, campaign, number, own.collect())
    });
    try_join_all(pairs).await.map(drop)
}

/// Distributes the injections of a campaign over all bytes of all layouts. If there are more
/// injections than bytes, each byte has several. The condition of a single append is of each kind
/// in rotation.
fn injections(
    testbed: &Testbed,
    campaign: Campaign,
    points: &[(Layout, (Direction, u64))],
) -> Vec<Injection> {
    let count = (testbed.plan.share(campaign) / 2).max(1) as usize;
    let spread = spread(count, points.len(), testbed.plan.seed);
    spread
        .map(|(point, variant)| {
            let (layout, (direction, after)) = points[point];
            let kind = ConditionKind::ALL[variant % ConditionKind::ALL.len()];
            Injection {
                layout,
                kind,
                direction,
                after,
                variant: variant / ConditionKind::ALL.len(),
            }
        })
        .collect()
}

async fn inject_all(
    testbed: &Testbed,
    campaign: Campaign,
    number: usize,
    injections: Vec<Injection>,
) -> Result<(), Failure> {
    let mut pair = WriterPair::connect(testbed, campaign, number).await?;
    let mut previous_layout = None;
    for injection in injections.into_iter().take_while(|_| !testbed.plan.stop.is_set()) {
        // Appends that arrive late change what the store knows of the log, and so the layout of
        // later ones.
        if campaign == Campaign::Stall
            || previous_layout.replace(injection.layout) != Some(injection.layout)
        {
            pair.reconnect().await?;
        }
        let drafts = pair.prepare(injection.layout, injection.kind).await?;
        let fault = match campaign {
            Campaign::Half => half(&mut pair, drafts, injection).await,
            Campaign::Stall => stall(&mut pair, drafts, injection, testbed.plan.retry).await?,
            _ => cut(&pair, drafts, injection).await,
        };
        testbed.recorder.add_faults(campaign, u64::from(fault.has_triggered()));
    }
    Ok(())
}

/// Cuts the connection. The outcomes are recorded.
async fn cut(pair: &WriterPair<'_>, drafts: Vec<Draft>, injection: Injection) -> Fault {
    let ending = ending(injection.variant);
    let fault = pair.proxy.inject(injection.direction, injection.after, Action::Cut(ending));
    pair.append(drafts).await;
    fault
}

async fn half(pair: &mut WriterPair<'_>, drafts: Vec<Draft>, injection: Injection) -> Fault {
    let fault = pair.proxy.inject(injection.direction, injection.after, Action::Stall);
    let pause = Duration::from_micros(pair.writer.random.random_range(0..3_000));
    let proceed = async {
        fault.triggered().await;
        sleep(pause).await;
        match injection.variant % 3 {
            0 => fault.release(),
            variant => fault.cut(ending(variant)),
        }
    };
    run_alongside(pair.append(drafts), proceed).await;
    fault.release();
    fault
}

/// Holds back bytes. Those for the server arrive in any case, sooner or later.
async fn stall(
    pair: &mut WriterPair<'_>,
    drafts: Vec<Draft>,
    injection: Injection,
    retries: bool,
) -> Result<Fault, Failure> {
    let fault = pair.proxy.inject(injection.direction, injection.after, Action::Stall);
    let known = pair.proxy.accepted();
    match injection.variant % 4 {
        // They arrive long after the caller was answered.
        0 => {
            let proceed = async {
                fault.triggered().await;
                fault.disconnect_client(Ending::Reset);
            };
            run_alongside(pair.append(drafts), proceed).await;
        }
        // They arrive while the store finds out the outcome of the append.
        1 => {
            let further = pair.writer.random.random_range(0..2_000);
            let proceed = async {
                fault.triggered().await;
                let so_far = pair.proxy.passed(Direction::ToServer);
                fault.disconnect_client(Ending::Close);
                while pair.proxy.accepted() == known
                    || pair.proxy.passed(Direction::ToServer) < so_far + further
                {
                    sleep(Duration::from_micros(200)).await;
                }
                fault.release();
            };
            run_alongside(pair.append(drafts), proceed).await;
        }
        // They arrive after the caller abandoned the append and made another one.
        2 => {
            tokio::select! {
                _ = pair.append(drafts) => {}
                () = fault.triggered() => {}
            }
            fault.disconnect_client(Ending::Reset);
            pair.writer.append_one(injection.kind, None).await?;
        }
        // They arrive while the caller is still waiting, or after its deadline.
        _ => {
            let delay = match retries && injection.variant % 16 == 3 {
                true => DEADLINE,
                false => Duration::from_millis(10),
            };
            let proceed = async {
                fault.triggered().await;
                sleep(delay).await;
                fault.release();
            };
            run_alongside(pair.append(drafts), proceed).await;
        }
    }
    fault.release();
    Ok(fault)
}
