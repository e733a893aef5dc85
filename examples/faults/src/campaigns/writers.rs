//! Writers that share a store, and append until the campaign ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eddyline::{ReadWrite, Store};
use fault_proxy::Proxy;
use futures_util::future::try_join_all;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, timeout};

use crate::draft::ConditionKind;
use crate::testbed::{Setting, Testbed};
use crate::writer::{PAUSE_AFTER_FAILURE, Writer};
use crate::{Campaign, Failure};

/// The writers of a campaign.
pub struct Writers<'a> {
    pub proxy: Arc<Proxy>,
    testbed: &'a Testbed,
    campaign: Campaign,
    writers: Vec<Writer>,
    /// The percentage of appends that their callers abandon.
    pub abandoned_percent: u32,
}

/// The view of the writers for the code that injects faults.
pub struct Injector<'a> {
    pub testbed: &'a Testbed,
    pub random: SmallRng,
    campaign: Campaign,
}

impl<'a> Writers<'a> {
    /// Connects a store for each setting, all through one proxy. The writers are distributed over
    /// the stores.
    pub async fn connect(
        testbed: &'a Testbed,
        campaign: Campaign,
        settings: &[Setting],
    ) -> Result<Self, Failure> {
        let proxy = testbed.proxy(campaign).await?;
        let stores = settings.iter().map(|&setting| testbed.store(&proxy, setting));
        let stores = try_join_all(stores).await?;
        Ok(Self::share(testbed, campaign, proxy, &stores))
    }

    /// Lets all writers share a store that does not use the proxy.
    pub async fn of(
        testbed: &'a Testbed,
        campaign: Campaign,
        store: Store<ReadWrite>,
    ) -> Result<Self, Failure> {
        let proxy = testbed.proxy(campaign).await?;
        Ok(Self::share(testbed, campaign, proxy, &[store]))
    }

    fn share(
        testbed: &'a Testbed,
        campaign: Campaign,
        proxy: Arc<Proxy>,
        stores: &[Store<ReadWrite>],
    ) -> Self {
        let stores = stores.iter().cycle().take(testbed.plan.writers.max(stores.len()));
        let writers = stores.enumerate();
        let writers =
            writers.map(|(number, store)| Writer::new(testbed, campaign, number, store.clone()));
        Self { proxy, testbed, campaign, writers: writers.collect(), abandoned_percent: 0 }
    }

    /// Lets the writers append while `inject` runs, and then until the campaign has its share of
    /// appends.
    pub async fn run_with(
        self,
        inject: impl AsyncFnOnce(&mut Injector<'a>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { testbed, campaign, writers, abandoned_percent, .. } = self;
        let stop = AtomicBool::new(false);
        let random = SmallRng::seed_from_u64(testbed.plan.seed ^ campaign as u64);
        let mut injector = Injector { testbed, random, campaign };
        let directed = async {
            inject(&mut injector).await?;
            let share = testbed.plan.share(campaign);
            while testbed.recorder.tally(campaign).appends < share && !testbed.plan.stop.is_set() {
                sleep(PAUSE).await;
            }
            stop.store(true, Ordering::Relaxed);
            Ok(())
        };
        let writing = writers.into_iter().map(|writer| write(writer, &stop, abandoned_percent));
        tokio::try_join!(directed, try_join_all(writing)).map(drop)
    }
}

impl<'a> Injector<'a> {
    /// Waits until a random number of further appends have begun, or a timeout expires.
    pub async fn wait_for_appends(&mut self, appends: u64) {
        let goal = self.begun() + self.random.random_range(1..=appends);
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.begun() < goal && Instant::now() < deadline {
            sleep(PAUSE).await;
        }
        // The fault then hits the appends at a random moment.
        sleep(Duration::from_micros(self.random.random_range(0..3_000))).await;
    }

    /// Records that faults took effect.
    pub fn add_faults(&self, faults: u64) {
        self.testbed.recorder.add_faults(self.campaign, faults);
    }

    /// Returns the number of appends in flight.
    pub fn in_flight(&self) -> u64 {
        self.testbed.recorder.tally(self.campaign).in_flight
    }

    /// Returns an item for each fault to inject: one for the given number of the campaign's
    /// appends, until a stop is requested.
    pub fn one_in(&self, appends: u64) -> impl Iterator<Item = u64> + use<'a> {
        let (count, testbed) =
            ((self.testbed.plan.share(self.campaign) / appends).max(2), self.testbed);
        (0..count).take_while(|_| !testbed.plan.stop.is_set())
    }

    fn begun(&self) -> u64 {
        self.testbed.recorder.tally(self.campaign).appends
    }
}

async fn write(
    mut writer: Writer,
    stop: &AtomicBool,
    abandoned_percent: u32,
) -> Result<(), Failure> {
    while !stop.load(Ordering::Relaxed) {
        let limit = match writer.random.random_ratio(abandoned_percent, 100) {
            true => Duration::from_micros(writer.random.random_range(0..4_000)),
            false => Duration::MAX,
        };
        let answer = if writer.random.random_ratio(1, ONE_DECISION_IN) {
            timeout(limit, writer.decide(ConditionKind::Shared, None, || ())).await
        } else {
            let draft = writer.prepare(writer.next_kind(), None).await?;
            timeout(limit, writer.append(draft)).await
        };
        // The error itself is recorded.
        if let Ok(Err(_)) = answer {
            sleep(PAUSE_AFTER_FAILURE).await;
        }
    }
    Ok(())
}

/// One append in this many uses the store's `decide`.
const ONE_DECISION_IN: u32 = 4;

const PAUSE: Duration = Duration::from_millis(1);
