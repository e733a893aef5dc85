//! Writers that share a store, and append until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eddyline::{ReadWrite, Store};
use fault_proxy::Proxy;
use futures_util::future::try_join_all;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, timeout};

use crate::draft::Form;
use crate::site::{Setting, Site};
use crate::writer::{PAUSE_AFTER_FAILURE, Writer};
use crate::{Campaign, Failure};

/// The writers of a campaign.
pub struct Writers<'a> {
    pub proxy: Arc<Proxy>,
    site: &'a Site,
    campaign: Campaign,
    writers: Vec<Writer>,
    /// How many of a hundred appends their callers do not wait for.
    pub impatience: u32,
}

/// What who directs the campaigns sees of the writers.
pub struct Director<'a> {
    pub site: &'a Site,
    pub random: SmallRng,
    campaign: Campaign,
}

impl<'a> Writers<'a> {
    /// Connects a store of each setting, through one proxy; the writers share them out.
    pub async fn connect(
        site: &'a Site,
        campaign: Campaign,
        settings: &[Setting],
    ) -> Result<Self, Failure> {
        let proxy = site.proxy(campaign).await?;
        let stores = settings.iter().map(|&setting| site.store(&proxy, setting));
        let stores = try_join_all(stores).await?;
        Ok(Self::share(site, campaign, proxy, &stores))
    }

    /// Lets all writers share a store, which does not go through the proxy.
    pub async fn of(
        site: &'a Site,
        campaign: Campaign,
        store: Store<ReadWrite>,
    ) -> Result<Self, Failure> {
        let proxy = site.proxy(campaign).await?;
        Ok(Self::share(site, campaign, proxy, &[store]))
    }

    fn share(
        site: &'a Site,
        campaign: Campaign,
        proxy: Arc<Proxy>,
        stores: &[Store<ReadWrite>],
    ) -> Self {
        let stores = stores.iter().cycle().take(site.plan.writers.max(stores.len()));
        let writers = stores.enumerate();
        let writers =
            writers.map(|(number, store)| Writer::new(site, campaign, number, store.clone()));
        Self { proxy, site, campaign, writers: writers.collect(), impatience: 0 }
    }

    /// Lets the writers append while the campaigns lasts, and on until the campaign has had its share.
    pub async fn hold_out(
        self,
        campaigns: impl AsyncFnOnce(&mut Director<'a>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { site, campaign, writers, impatience, .. } = self;
        let stop = AtomicBool::new(false);
        let random = SmallRng::seed_from_u64(site.plan.seed ^ campaign as u64);
        let mut director = Director { site, random, campaign };
        let directed = async {
            campaigns(&mut director).await?;
            let share = site.plan.share(campaign);
            while site.notes.tally(campaign).appends < share && !site.plan.stop.is_set() {
                sleep(PAUSE).await;
            }
            stop.store(true, Ordering::Relaxed);
            Ok(())
        };
        let writing = writers.into_iter().map(|writer| write(writer, &stop, impatience));
        tokio::try_join!(directed, try_join_all(writing)).map(drop)
    }
}

impl<'a> Director<'a> {
    /// Waits until a few more appends have begun, or cannot.
    pub async fn pace(&mut self, appends: u64) {
        let goal = self.begun() + self.random.random_range(1..=appends);
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.begun() < goal && Instant::now() < deadline {
            sleep(PAUSE).await;
        }
        // Anywhere in the middle of what they do.
        sleep(Duration::from_micros(self.random.random_range(0..3_000))).await;
    }

    /// Takes down that faults hit something.
    pub fn struck(&self, faults: u64) {
        self.site.notes.struck(self.campaign, faults);
    }

    /// Returns how many appends are under way.
    pub fn in_flight(&self) -> u64 {
        self.site.notes.tally(self.campaign).in_flight
    }

    /// Returns a turn for each fault, one for so many of the campaign's appends, until a stop is asked
    /// for.
    pub fn one_in(&self, appends: u64) -> impl Iterator<Item = u64> + use<'a> {
        let (count, site) = ((self.site.plan.share(self.campaign) / appends).max(2), self.site);
        (0..count).take_while(|_| !site.plan.stop.is_set())
    }

    fn begun(&self) -> u64 {
        self.site.notes.tally(self.campaign).appends
    }
}

async fn write(mut writer: Writer, stop: &AtomicBool, impatience: u32) -> Result<(), Failure> {
    while !stop.load(Ordering::Relaxed) {
        let patience = match writer.random.random_ratio(impatience, 100) {
            true => Duration::from_micros(writer.random.random_range(0..4_000)),
            false => Duration::MAX,
        };
        let answer = if writer.random.random_ratio(1, ONE_DECISION_IN) {
            timeout(patience, writer.decide(Form::Shared, None, || ())).await
        } else {
            let draft = writer.prepare(writer.next_form(), None).await?;
            timeout(patience, writer.append(draft)).await
        };
        // What it was is in the notes.
        if let Ok(Err(_)) = answer {
            sleep(PAUSE_AFTER_FAILURE).await;
        }
    }
    Ok(())
}

/// Of how many appends one is left to the store to decide.
const ONE_DECISION_IN: u32 = 4;

const PAUSE: Duration = Duration::from_millis(1);
