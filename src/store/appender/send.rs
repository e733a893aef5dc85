use std::pin::Pin;
use std::task::Poll;

use futures_util::future::{MaybeDone, maybe_done};
use tokio_postgres::{Client, Row};

use super::queue::Member;
use crate::Error;
use crate::pool::{Form, Lease, sent};
use crate::sql::{self, Staleness, Statement};
use crate::store::log::Log;

/// What a request was answered.
pub(super) type Answer = Result<Option<Row>, tokio_postgres::Error>;

type Request<'a> = Pin<Box<MaybeDone<Pin<Box<dyn Future<Output = Answer> + Send + 'a>>>>>;

/// Requests to be written one after the other, before any of them is answered.
#[derive(Default)]
pub(super) struct Requests<'a>(Vec<Request<'a>>);

impl<'a> Requests<'a> {
    pub(super) fn add(&mut self, request: impl Future<Output = Answer> + Send + 'a) {
        let request: Pin<Box<dyn Future<Output = Answer> + Send + 'a>> = Box::pin(request);
        self.0.push(Box::pin(maybe_done(request)));
    }

    pub(super) fn command(&mut self, client: &'a Client, text: &'a str) {
        self.add(async move { client.batch_execute(text).await.map(|()| None) });
    }

    /// Writes all of them at the first poll, in their order, and waits for their answers.
    pub(super) async fn send(mut self) -> Vec<Answer> {
        std::future::poll_fn(|cx| {
            let mut is_done = true;
            for request in &mut self.0 {
                is_done &= request.as_mut().poll(cx).is_ready();
            }
            if is_done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let answers = self.0.iter_mut().map(|request| request.as_mut().take_output());
        answers.map(|answer| answer.expect("all were answered")).collect()
    }
}

/// The statements by which the server judges the rest of a batch, first those that are not stale.
pub(super) struct Asked<'a> {
    /// With the number of each among those asked.
    pub(super) fresh: Vec<(usize, Form, Statement<'a>)>,
    pub(super) stale: Vec<(usize, Form, Statement<'a>)>,
}

impl<'a> Asked<'a> {
    pub(super) async fn prepare(
        lease: &mut Lease,
        log: &'a Log,
        members: &'a [Member],
    ) -> Result<Self, Error> {
        let mut asked = Self { fresh: Vec::new(), stale: Vec::new() };
        for (number, member) in members.iter().enumerate() {
            let request = &member.request;
            let statement = log.append(&request.events, &request.condition, request.occasion);
            let form = lease.prepare(&statement.text).await?;
            match log.staleness(&request.condition) {
                Staleness::Fresh => asked.fresh.push((number, form, statement)),
                Staleness::Stale => asked.stale.push((number, form, statement)),
            }
        }
        Ok(asked)
    }

    pub(super) fn add_to<'r>(&'r self, requests: &mut Requests<'r>, client: &'r Client) {
        for (_, form, statement) in &self.fresh {
            requests.add(sent(client, form, statement));
        }
        if !self.stale.is_empty() {
            requests.command(client, sql::plan_by_value());
        }
        for (_, form, statement) in &self.stale {
            requests.add(sent(client, form, statement));
        }
    }

    /// Returns the numbers of those asked, in the order of their answers; `None` stands for what
    /// lies between fresh and stale ones.
    pub(super) fn order(&self) -> impl Iterator<Item = Option<usize>> {
        let between = (!self.stale.is_empty()).then_some(None);
        let fresh = self.fresh.iter().map(|(number, ..)| Some(*number));
        fresh.chain(between).chain(self.stale.iter().map(|(number, ..)| Some(*number)))
    }
}
