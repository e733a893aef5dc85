//! The ways in which appends go to the server; each has bytes of its own to strike.
//!
//! Which way a store goes depends on what it has seen of the log, so each lane has a log of its own,
//! with a rival on it who appends as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eddyline::{AppendCondition, Filter};
use fault_proxy::Proxy;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::exchange::{EVENTS, Exchange, ONE_CONNECTION};
use crate::draft::{Draft, Form};
use crate::site::{Setting, Site};
use crate::writer::{PAUSE_AFTER_FAILURE, Writer};
use crate::{Campaign, Failure};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// One append that the store has validated.
    Alone,
    /// One append whose condition the server compares with every newer event.
    Asked,
    /// Several that the store has validated: one request.
    Batch,
    /// Several, of one of which the server compares the condition with every newer event: one request.
    Mixed,
    /// Several beside those of another store, so that the server validates all of them: one request.
    Beside,
}

impl Layout {
    pub const ALL: [Self; 5] = [Self::Alone, Self::Asked, Self::Batch, Self::Mixed, Self::Beside];

    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "an append that goes alone",
            Self::Asked => "an append that the server validates",
            Self::Batch => "appends that go together",
            Self::Mixed => "appends of which the server validates one",
            Self::Beside => "appends beside those of others",
        }
    }

    fn appends(self) -> usize {
        match self {
            Self::Alone | Self::Asked => 1,
            Self::Batch | Self::Mixed | Self::Beside => 3,
        }
    }
}

/// A writer, and a rival whom nothing strikes.
pub struct Lane<'a> {
    pub writer: Writer,
    pub proxy: Arc<Proxy>,
    site: &'a Site,
    rival: Writer,
    setting: Setting,
}

impl<'a> Lane<'a> {
    pub async fn enter(site: &'a Site, campaign: Campaign, number: usize) -> Result<Self, Failure> {
        // So that appends which are made at once are found waiting together.
        let setting = Setting { log: 1 + number, linger: LINGER, ..ONE_CONNECTION };
        let (proxy, unharmed) = (site.proxy(campaign).await?, site.proxy(campaign).await?);
        let enter = async |proxy, number| {
            let store = site.store(proxy, setting).await?;
            Ok(Writer::new(site, campaign, number, store))
        };
        let mut rival = enter(&unharmed, 2 * number + 1).await?;
        // From here on nobody knows the log from its beginning.
        rival.append_one(Form::Own, Some(EVENTS)).await?;
        let writer = enter(&proxy, 2 * number).await?;
        Ok(Self { writer, proxy, site, rival, setting })
    }

    /// Connects anew, by a store that has seen nothing yet.
    pub async fn begin(&mut self) -> Result<(), Failure> {
        self.writer.store = self.site.store(&self.proxy, self.setting).await?;
        Ok(())
    }

    /// Brings it about that the next appends go in the layout; they are returned.
    pub async fn prepare(&mut self, layout: Layout, form: Form) -> Result<Vec<Draft>, Failure> {
        // The first time nothing is known of the log yet; the second time others are noticed.
        for _ in 0..2 {
            let drafts = self.draft(layout, form).await?;
            if self.append(drafts).await.iter().any(Result::is_err) {
                sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
        self.draft(layout, form).await
    }

    async fn draft(&mut self, layout: Layout, form: Form) -> Result<Vec<Draft>, Failure> {
        let mut drafts = Vec::new();
        for number in 0..layout.appends() {
            self.writer.begin_book();
            let form = if number == 0 && layout == Layout::Alone { form } else { Form::Own };
            let mut draft = self.writer.prepare(form, Some(EVENTS)).await?;
            if number == 0 && matches!(layout, Layout::Asked | Layout::Mixed) {
                // As good for a new book, and of a kind that is judged with no other.
                let loan = [("Loan", BTreeMap::from([("BookID", &draft.book)]))];
                let nested = Filter::any_of(loan).build();
                let nested = nested.map_err(Failure::store("make a filter"))?;
                draft.condition = AppendCondition::no_match(nested);
            }
            drafts.push(draft);
        }
        if layout == Layout::Beside {
            self.rival.append_one(Form::Own, Some(EVENTS)).await?;
        }
        Ok(drafts)
    }

    /// Makes appends at once. What each was told is in the notes.
    pub async fn append(&self, drafts: Vec<Draft>) -> Vec<Result<(), eddyline::Error>> {
        join_all(drafts.into_iter().map(|draft| self.writer.append(draft))).await
    }

    /// Measures the exchange of a layout's appends, which on a busy machine may take several tries to go
    /// into one transaction.
    pub async fn measure(&mut self, layout: Layout) -> Result<Exchange, Failure> {
        for _ in 0..MEASUREMENTS {
            if let Some(exchange) = self.measure_once(layout).await? {
                return Ok(exchange);
            }
        }
        Err(Failure::Apart)
    }

    /// Returns `None` if the appends did not go into one transaction.
    async fn measure_once(&mut self, layout: Layout) -> Result<Option<Exchange>, Failure> {
        self.begin().await?;
        let drafts = self.prepare(layout, Form::Own).await?;
        let ids: Vec<_> = drafts.iter().flat_map(|one| one.events.iter()).collect();
        let ids: Vec<_> = ids.into_iter().map(eddyline::Event::id).collect();
        let (exchange, answers) = Exchange::of(&self.proxy, self.append(drafts)).await;
        for answer in answers {
            answer.map_err(Failure::store("measure an append"))?;
        }
        let transactions = self.site.transactions_of(self.setting.log, &ids).await?;
        Ok((transactions == 1).then_some(exchange))
    }
}

const LINGER: Duration = Duration::from_millis(2);
const MEASUREMENTS: usize = 50;
