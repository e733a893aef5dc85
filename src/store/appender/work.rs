use std::sync::Arc;
use std::time::Duration;

use super::Appender;
use super::batch::{Batch, holds, may_be_judged};
use super::queue::Member;
use super::seat::{FOREIGN, Seat};
use super::send::{self, Asked, Failure, Requests};
use crate::pool::sent;
use crate::sql::{self, Staleness, Stored, Verdict, Waits};
use crate::store::limit::{Limit, timed_out};
use crate::store::log::{Log, time_to_arrive};
use crate::store::transact::{check_open, finds_ids_taken, name_holder, outcome_unknown};
use crate::{Error, SequenceNumber};

impl Seat {
    /// Carries out what goes together, and answers it. What is to be carried out once more, or
    /// apart from each other, is left, the last of it first.
    pub(super) async fn carry_out(
        &mut self,
        appender: &Arc<Appender>,
        members: Vec<Member>,
        left: &mut Vec<Vec<Member>>,
    ) {
        let Some(limit) = Limit::join(members.iter().map(|member| member.limit)) else { return };
        // A process that nobody is connected to any more may hold the lock for ever: one that waits
        // for the rest of a request, half of which it has, keeps no time.
        let _late = limit.hold(self.lease.end_abandoned()).await;
        let is_shared = self.lease.backend().is_none();
        if is_shared {
            // The next transaction may go to another server.
            self.recent.forget();
            self.foreign = 0;
        }
        let waits = members.iter().filter_map(|one| one.limit.lock_timeout(appender.lock_timeout));
        let mut work = Work { seat: self, appender, log: &appender.log, limit, is_shared, left };
        let for_lock = waits.min();
        match <[Member; 1]>::try_from(members) {
            Ok([member]) => work.one(member, for_lock).await,
            Err(members) => work.several(members, for_lock).await,
        }
    }
}

/// Attempts under way on a connection.
pub(super) struct Work<'a> {
    pub(super) seat: &'a mut Seat,
    pub(super) appender: &'a Arc<Appender>,
    pub(super) log: &'a Log,
    pub(super) limit: Limit,
    /// Whether settings are those of a transaction only, so that it has to be begun with them.
    pub(super) is_shared: bool,
    pub(super) left: &'a mut Vec<Vec<Member>>,
}

impl Work<'_> {
    async fn one(&mut self, member: Member, for_lock: Option<Duration>) {
        let expects_others = self.seat.foreign > 0 && member.request.condition.guard().is_some();
        let is_judged = may_be_judged(&member) && holds(&member, &self.seat.recent);
        let is_alone = !expects_others && for_lock.is_none() && !self.is_shared;
        let member = match is_judged && is_alone {
            true => match self.store(vec![member]).await.pop() {
                Some(member) => member,
                None => return,
            },
            false => member,
        };
        self.seat.foreign = self.seat.foreign.saturating_sub(1);
        let request = &member.request;
        let transaction = self.log.transaction(
            &request.events,
            &request.condition,
            request.occasion,
            member.limit.lock_timeout(self.appender.lock_timeout),
        );
        let verdict = transaction.run(&mut self.seat.lease, member.limit).await;
        match &verdict {
            Ok(Verdict::Accepted { first, last, head }) => {
                match head {
                    Some(head) => {
                        self.seat.see_end(*head);
                        self.seat.see_accepted(&member, *first, *last);
                    }
                    // Others may have appended before it.
                    None => self.seat.recent.restart(*last),
                }
            }
            Ok(_) => {}
            Err(error) if error.is_outcome_unknown() => self.seat.recent.forget(),
            Err(_) => {}
        }
        member.answer(verdict);
    }

    async fn several(&mut self, members: Vec<Member>, for_lock: Option<Duration>) {
        let is_guarded = members.iter().any(|one| one.request.condition.guard().is_some());
        let holds_lock = self.seat.foreign > 0 && is_guarded;
        if holds_lock && let Err(error) = self.lock_and_learn(for_lock).await {
            return self.fail(members, error, for_lock);
        }
        let Batch { judged, asked, later } = Batch::sort(members, &self.seat.recent);
        self.appender.put_back(later);
        if asked.is_empty() && for_lock.is_none() && !holds_lock && !self.is_shared {
            let refused = self.store(judged).await;
            return self.leave(refused);
        }
        self.transact(judged, asked, holds_lock, for_lock).await;
    }

    /// Stores what was judged, in one request that is a transaction of its own; returns it where
    /// the log has grown beyond what was known.
    async fn store(&mut self, judged: Vec<Member>) -> Vec<Member> {
        let statement = send::judged(self.log, &judged, self.end_for(&judged));
        let answer = send::alone(&mut self.seat.lease, &statement, self.limit).await;
        drop(statement);
        match answer {
            Ok(stored) => return self.answer_judged(judged, stored),
            Err(Failure::Said(error))
                if judged.len() == 1 && finds_ids_taken(&self.log.name, &error) =>
            {
                for member in judged {
                    member.answer(Ok(Verdict::Taken));
                }
            }
            Err(Failure::Said(error)) => {
                let error = self.seat.lease.failed_append(error);
                let error = name_holder(&self.log.name, &mut self.seat.lease, error, self.limit);
                let error = error.await;
                self.fail(judged, error, None);
            }
            Err(Failure::Told(error)) => self.fail(judged, error, None),
        }
        Vec::new()
    }

    /// Returns where the log must end still, if that matters.
    fn end_for(&self, judged: &[Member]) -> Option<SequenceNumber> {
        let is_guarded = judged.iter().any(|one| one.request.condition.guard().is_some());
        if is_guarded { self.seat.recent.end() } else { None }
    }

    fn answer_judged(&mut self, judged: Vec<Member>, stored: Stored) -> Vec<Member> {
        let Some(numbers) = stored.numbers else {
            self.seat.foreign = FOREIGN;
            if self.seat.recent.end() > Some(stored.head) {
                // Its owner removed the last events, so that no news will ever come after them.
                self.seat.recent.forget();
            }
            return judged;
        };
        self.seat.see_end(stored.head);
        let mut numbers = numbers.into_iter();
        for member in judged {
            let places: Vec<_> = numbers.by_ref().take(member.request.events.len()).collect();
            let verdict = match (places.first(), places.last()) {
                (Some(&first), Some(&last)) => Verdict::Accepted { first, last, head: None },
                _ => Verdict::Unlocked,
            };
            self.seat.see(&member, places);
            member.answer(Ok(verdict));
        }
        Vec::new()
    }

    /// Stores what was judged and asks the server to judge the rest, in one transaction, which was
    /// begun already where the log's lock is held.
    async fn transact(
        &mut self,
        judged: Vec<Member>,
        asked: Vec<Member>,
        holds_lock: bool,
        for_lock: Option<Duration>,
    ) {
        let answers = self.send(&judged, &asked, holds_lock, for_lock).await;
        let (mut answers, order) = match answers {
            Ok(answers) => answers,
            Err(error) => {
                let members = judged.into_iter().chain(asked).collect();
                return self.fail(members, error, None);
            }
        };
        let committed = answers.pop();
        let rest = answers.split_off(if holds_lock { 1 } else { 2 });
        for answer in answers {
            if let Err(error) = answer {
                let error = self.seat.lease.failed_append(error);
                let error = name_holder(&self.log.name, &mut self.seat.lease, error, self.limit);
                let error = error.await;
                let members = judged.into_iter().chain(asked).collect();
                return self.fail(members, error, for_lock);
            }
        }

        let mut rows = Vec::new();
        for (answer, place) in rest.into_iter().zip([None].into_iter().chain(order.clone())) {
            match answer {
                Ok(row) => rows.push(row),
                Err(error) => {
                    let error = self.seat.lease.failed_append(error);
                    return self.part(judged, asked, place, error);
                }
            }
        }
        if let Some(Err(error)) = committed {
            let error = self.seat.lease.failed_append(error);
            let members = judged.into_iter().chain(asked).collect();
            return self.fail(members, error, None);
        }
        self.answer_all(judged, asked, rows, order);
    }

    /// Sends all requests of a transaction; returns their answers, and whose they are after the
    /// first one's, which is that of all that was judged.
    async fn send(
        &mut self,
        judged: &[Member],
        asked: &[Member],
        holds_lock: bool,
        for_lock: Option<Duration>,
    ) -> Result<(Vec<send::Answer>, Vec<Option<usize>>), Error> {
        let events = judged.iter().chain(asked).flat_map(|member| member.request.events.iter());
        let waits = Waits { for_lock, for_client: time_to_arrive(events) };
        let lock = sql::lock(&self.log.name, Staleness::Fresh, waits);
        let store = send::judged(self.log, judged, self.end_for(judged));
        let lease = &mut self.seat.lease;
        let server = lease.server().clone();
        let prepared = self.limit.of(&server, async {
            let forms = (lease.prepare(&lock.text).await?, lease.prepare(&store.text).await?);
            Ok((forms, Asked::prepare(lease, self.log, asked).await?))
        });
        let ((lock_form, store_form), asked) = prepared.await?;
        check_open(lease)?;

        // It has arrived, and counts, when what is large begins to.
        let allowed = waits.for_client.map(sql::wait_for_client).unwrap_or_default();
        lease.hold();
        lease.begin();
        let client = lease.client();
        let mut requests = Requests::default();
        match holds_lock {
            true => requests.command(client, &allowed),
            false => {
                requests.command(client, lease.begin_text());
                requests.add(sent(client, &lock_form, &lock));
            }
        }
        requests.add(sent(client, &store_form, &store));
        asked.add_to(&mut requests, client);
        requests.command(client, "COMMIT");
        let answers = self.limit.hold(requests.send()).await;
        let order = asked.order().collect();
        match answers {
            Ok(answers) => {
                lease.release();
                Ok((answers, order))
            }
            Err(waited) => {
                lease.give_up();
                Err(outcome_unknown(&server, &[], timed_out(&server, waited)))
            }
        }
    }

    fn answer_all(
        &mut self,
        judged: Vec<Member>,
        asked: Vec<Member>,
        rows: Vec<Option<tokio_postgres::Row>>,
        order: Vec<Option<usize>>,
    ) {
        let mut rows = rows.into_iter();
        let server = self.seat.lease.server().clone();
        let stored = rows.next().flatten().map(|row| Stored::decode(&row));
        let Some(Ok(stored)) = stored else {
            let error = outcome_unknown(&server, &[], "the append was answered without a row");
            return self.fail(judged.into_iter().chain(asked).collect(), error, None);
        };
        let is_known = judged.is_empty() || stored.numbers.is_some();
        match judged.is_empty() {
            true => self.seat.see_end(stored.head),
            false => {
                let refused = self.answer_judged(judged, stored);
                self.leave(refused);
            }
        }
        let mut asked: Vec<_> = asked.into_iter().map(Some).collect();
        for (row, place) in rows.zip(order) {
            let Some(member) = place.and_then(|place| asked[place].take()) else { continue };
            let events = &member.request.events;
            let verdict = row.ok_or_else(|| "the append was answered without a row".into());
            let verdict = verdict
                .and_then(|row| Verdict::decode(&row, events.len()).map_err(Into::into))
                .map_err(|source: crate::error::BoxError| outcome_unknown(&server, events, source));
            if is_known && let Ok(Verdict::Accepted { first, last, .. }) = verdict {
                self.seat.see_accepted(&member, first, last);
            }
            member.answer(verdict);
        }
    }
}
