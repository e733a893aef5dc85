//! The layouts of requests for appends. Each has different bytes to inject faults at.
//!
//! The layout depends on what a store has seen of the log. So each pair of writers has a log of its
//! own, to which both of them append.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eddyline::{AppendCondition, Filter};
use fault_proxy::Proxy;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::exchange::{EVENTS, Exchange, ONE_CONNECTION};
use crate::draft::{ConditionKind, Draft};
use crate::testbed::{Setting, Testbed};
use crate::writer::{PAUSE_AFTER_FAILURE, Writer};
use crate::{Campaign, Failure};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// One append that the store has validated.
    Single,
    /// One append whose condition the server compares with every newer event.
    ServerChecked,
    /// Several appends that the store has validated, in one request.
    Batch,
    /// Several appends in one request. The server compares the condition of one of them with every
    /// newer event.
    Mixed,
    /// Several appends in one request, after appends of another store, so that the server validates
    /// all of them.
    Contended,
}

impl Layout {
    pub const ALL: [Self; 5] =
        [Self::Single, Self::ServerChecked, Self::Batch, Self::Mixed, Self::Contended];

    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "one append, validated by the store",
            Self::ServerChecked => "one append, validated by the server",
            Self::Batch => "a batch, validated by the store",
            Self::Mixed => "a batch, one append of which the server validates",
            Self::Contended => "a batch beside another store, validated by the server",
        }
    }

    fn appends(self) -> usize {
        match self {
            Self::Single | Self::ServerChecked => 1,
            Self::Batch | Self::Mixed | Self::Contended => 3,
        }
    }
}

/// A writer whose connection is subject to faults, and a competing writer whose connection is not.
pub struct WriterPair<'a> {
    pub writer: Writer,
    pub proxy: Arc<Proxy>,
    testbed: &'a Testbed,
    competitor: Writer,
    setting: Setting,
}

impl<'a> WriterPair<'a> {
    pub async fn connect(
        testbed: &'a Testbed,
        campaign: Campaign,
        number: usize,
    ) -> Result<Self, Failure> {
        // With this linger time, concurrent appends share a transaction.
        let setting = Setting { log: 1 + number, linger: LINGER, ..ONE_CONNECTION };
        let (proxy, clean_proxy) = (testbed.proxy(campaign).await?, testbed.proxy(campaign).await?);
        let connect = async |proxy, number| {
            let store = testbed.store(proxy, setting).await?;
            Ok(Writer::new(testbed, campaign, number, store))
        };
        let mut competitor = connect(&clean_proxy, 2 * number + 1).await?;
        // From here on no store has seen the log from its beginning.
        competitor.append_one(ConditionKind::Own, Some(EVENTS)).await?;
        let writer = connect(&proxy, 2 * number).await?;
        Ok(Self { writer, proxy, testbed, competitor, setting })
    }

    /// Replaces the writer's store by a new one, which has seen nothing of the log.
    pub async fn reconnect(&mut self) -> Result<(), Failure> {
        self.writer.store = self.testbed.store(&self.proxy, self.setting).await?;
        Ok(())
    }

    /// Prepares appends, and the state of the store that makes it send them in the given layout.
    pub async fn prepare(
        &mut self,
        layout: Layout,
        kind: ConditionKind,
    ) -> Result<Vec<Draft>, Failure> {
        // After the first appends the store knows the log; at the second ones it notices other
        // writers.
        for _ in 0..2 {
            let drafts = self.draft(layout, kind).await?;
            if self.append(drafts).await.iter().any(Result::is_err) {
                sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
        self.draft(layout, kind).await
    }

    async fn draft(&mut self, layout: Layout, kind: ConditionKind) -> Result<Vec<Draft>, Failure> {
        let mut drafts = Vec::new();
        for number in 0..layout.appends() {
            self.writer.begin_book();
            let kind =
                if number == 0 && layout == Layout::Single { kind } else { ConditionKind::Own };
            let mut draft = self.writer.prepare(kind, Some(EVENTS)).await?;
            if number == 0 && matches!(layout, Layout::ServerChecked | Layout::Mixed) {
                // This condition is equivalent for a new book, but appends with a nested filter are
                // not validated by the store.
                let loan = [("Loan", BTreeMap::from([("BookID", &draft.book)]))];
                let nested = Filter::any_of(loan).build();
                let nested = nested.map_err(Failure::store("make a filter"))?;
                draft.condition = AppendCondition::no_match(nested);
            }
            drafts.push(draft);
        }
        if layout == Layout::Contended {
            self.competitor.append_one(ConditionKind::Own, Some(EVENTS)).await?;
        }
        Ok(drafts)
    }

    /// Makes appends concurrently. Their outcomes are recorded.
    pub async fn append(&self, drafts: Vec<Draft>) -> Vec<Result<(), eddyline::Error>> {
        join_all(drafts.into_iter().map(|draft| self.writer.append(draft))).await
    }

    /// Measures the exchange of a layout's appends. On a busy machine it may take several tries
    /// until they share one transaction.
    pub async fn measure(&mut self, layout: Layout) -> Result<Exchange, Failure> {
        for _ in 0..MEASUREMENTS {
            if let Some(exchange) = self.measure_once(layout).await? {
                return Ok(exchange);
            }
        }
        Err(Failure::SeveralTransactions)
    }

    /// Returns `None` if the appends did not share one transaction.
    async fn measure_once(&mut self, layout: Layout) -> Result<Option<Exchange>, Failure> {
        self.reconnect().await?;
        let drafts = self.prepare(layout, ConditionKind::Own).await?;
        let ids: Vec<_> = drafts.iter().flat_map(|one| one.events.iter()).collect();
        let ids: Vec<_> = ids.into_iter().map(eddyline::Event::id).collect();
        let (exchange, answers) = Exchange::of(&self.proxy, self.append(drafts)).await;
        for answer in answers {
            answer.map_err(Failure::store("measure an append"))?;
        }
        let transactions = self.testbed.transactions_of(self.setting.log, &ids).await?;
        Ok((transactions == 1).then_some(exchange))
    }
}

const LINGER: Duration = Duration::from_millis(2);
const MEASUREMENTS: usize = 50;
