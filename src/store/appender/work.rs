use std::sync::Arc;
use std::time::Duration;

use super::Appender;
use super::batch::{Batch, Earlier, Front};
use super::flight::{Failure, Flight};
use super::judge::{Judge, Judged};
use super::queue::Member;
use super::seat::{FOREIGN, Seat};
use super::send::{self, Asked, Requests};
use crate::Error;
use crate::pool::sent;
use crate::sql::{self, Staleness, Stored, Verdict, Waits};
use crate::store::limit::{Limit, timed_out};
use crate::store::log::{Log, time_to_arrive};
use crate::store::transact::{check_open, finds_ids_taken, name_holder, outcome_unknown};

impl Seat {
    /// Carries out what goes together, and answers it, or sends it and returns what is to be
    /// [landed](Self::land). What is to be carried out once more, or apart from each other, is left,
    /// the last of it first.
    pub(super) async fn carry_out(
        &mut self,
        appender: &Arc<Appender>,
        members: Vec<Member>,
        left: &mut Vec<Vec<Member>>,
    ) -> Option<Flight> {
        let limit = Limit::join(members.iter().map(|member| member.limit))?;
        // A process that nobody is connected to any more may hold the lock for ever: one that waits
        // for the rest of a request, half of which it has, keeps no time.
        let _late = limit.hold(self.lease.end_abandoned()).await;
        if self.is_shared() {
            // The next transaction may go to another server.
            self.recent.forget();
            self.foreign = 0;
        }
        let waits = members.iter().filter_map(|one| one.limit.lock_timeout(appender.lock_timeout));
        let for_lock = waits.min();
        let mut work = Work { seat: self, appender, log: &appender.log, limit, left };
        match <[Member; 1]>::try_from(members) {
            Ok([member]) => work.one(member, for_lock).await,
            Err(members) => work.several(members, for_lock).await,
        }
    }

    /// Sends what goes together before it is known what becomes of what is in front of it. Puts back
    /// what cannot be judged yet, or would have to wait for it no longer than it may.
    pub(super) async fn go_ahead(
        &mut self,
        appender: &Arc<Appender>,
        members: Vec<Member>,
        left: &mut Vec<Vec<Member>>,
        front: &mut Flight,
    ) -> Option<Flight> {
        let limit = Limit::join(members.iter().map(|member| member.limit))?;
        let is_patient = |one: &Member| one.limit.lock_timeout(appender.lock_timeout).is_none();
        let (members, hasty): (Vec<_>, Vec<_>) = members.into_iter().partition(is_patient);
        let judge = Judge::Process(&self.recent);
        // That the log ends with what this connection stored last says that nothing else came, if
        // what it stored last would not be there otherwise.
        let front = Front { is_tied: front.is_tied(), earlier: front.earlier() };
        let Batch { judged, asked: _, mut later, earlier } =
            Batch::sort_ahead(members, judge, &front);
        later.extend(hasty);
        appender.put_back(later);
        if judged.is_empty() {
            return None;
        }
        let judged = Judged::ahead(judged);
        let mut work = Work { seat: self, appender, log: &appender.log, limit, left };
        work.launch(judged, Some(earlier)).await
    }

    /// Answers what was sent, when it is answered.
    pub(super) async fn land(
        &mut self,
        appender: &Arc<Appender>,
        flight: Flight,
        left: &mut Vec<Vec<Member>>,
        is_last: bool,
    ) {
        let limit = flight.limit();
        let (judged, answer) = flight.land(&mut self.lease, is_last).await;
        let mut work = Work { seat: self, appender, log: &appender.log, limit, left };
        work.landed(judged, answer).await;
    }
}

/// Attempts under way on a connection.
pub(super) struct Work<'a> {
    pub(super) seat: &'a mut Seat,
    pub(super) appender: &'a Arc<Appender>,
    pub(super) log: &'a Log,
    pub(super) limit: Limit,
    pub(super) left: &'a mut Vec<Vec<Member>>,
}

impl Work<'_> {
    async fn one(&mut self, member: Member, for_lock: Option<Duration>) -> Option<Flight> {
        let judge = self.seat.judge(self.log, std::slice::from_ref(&member));
        let is_alone = for_lock.is_none() && !self.seat.is_shared();
        // A statement of its own is exact where the function may be in doubt, and nearly as fast.
        let is_known = matches!(judge, Judge::Process(_));
        if is_alone && is_known && judge.takes(&member) {
            let judged = Judged::by(judge, vec![member]);
            return self.launch(judged, None).await;
        }
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
        None
    }

    async fn several(
        &mut self,
        members: Vec<Member>,
        for_lock: Option<Duration>,
    ) -> Option<Flight> {
        let judge = self.seat.judge(self.log, &members);
        let Batch { judged, asked, later, earlier } = Batch::sort(members, judge);
        let judged = Judged::by(judge, judged);
        self.appender.put_back(later);
        if asked.is_empty() && for_lock.is_none() && !self.seat.is_shared() {
            return self.launch(judged, Some(earlier)).await;
        }
        self.transact(judged, asked, for_lock).await;
        None
    }

    /// Sends what was judged, in one request that is a transaction of its own.
    async fn launch(&mut self, judged: Judged, earlier: Option<Earlier>) -> Option<Flight> {
        let log = &self.appender.log;
        match Flight::send(&mut self.seat.lease, log, judged, earlier, self.limit).await {
            Ok(flight) => Some(flight),
            Err((judged, error)) => {
                self.fail(judged.members, error, None);
                None
            }
        }
    }

    /// Answers what was judged and sent; leaves what was not stored.
    async fn landed(&mut self, judged: Judged, answer: Result<Stored, Failure>) {
        let error = match answer {
            Ok(stored) => {
                let refused = self.answer_judged(judged, &stored);
                return self.leave(refused);
            }
            Err(Failure::Said(error))
                if judged.members.len() == 1 && finds_ids_taken(&self.log.name, &error) =>
            {
                for member in judged.members {
                    member.answer(Ok(Verdict::Taken));
                }
                return;
            }
            Err(Failure::Told(error)) => error,
            Err(Failure::Said(error)) => self.explain(error).await,
        };
        self.fail(judged.members, error, None);
    }

    /// Answers what was stored; returns the rest.
    fn answer_judged(&mut self, judged: Judged, stored: &Stored) -> Vec<Member> {
        // What is left is judged by index where its condition turns out to be stale.
        self.log.note_newest(stored.head);
        if stored.numbers.is_some() {
            self.seat.is_numbered = true;
            self.seat.see_end(stored.head);
        } else {
            self.seat.foreign = FOREIGN;
            if self.seat.recent.end() > Some(stored.head) {
                // Its owner removed the last events.
                self.seat.recent.forget();
            }
        }
        let by_function = judged.is_by_function();
        let mut numbers = stored.numbers.iter().flatten().copied();
        let mut left = Vec::new();
        for (place, mut member) in judged.members.into_iter().enumerate() {
            if !stored.holds(place) {
                member.is_doubtful = by_function;
                left.push(member);
                continue;
            }
            let places: Vec<_> = numbers.by_ref().take(member.request.events.len()).collect();
            let verdict = match (places.first(), places.last()) {
                (Some(&first), Some(&last)) => Verdict::Accepted { first, last, head: None },
                _ => Verdict::Unlocked,
            };
            self.seat.see(&member, places);
            member.answer(Ok(verdict));
        }
        left
    }

    /// Says what a refusal means, and who has the log's lock where it is for that.
    async fn explain(&mut self, error: tokio_postgres::Error) -> Error {
        let error = self.seat.lease.failed_append(error);
        name_holder(&self.log.name, &mut self.seat.lease, error, self.limit).await
    }

    /// Stores what was judged and asks the server to judge the rest, in one transaction.
    async fn transact(&mut self, judged: Judged, asked: Vec<Member>, for_lock: Option<Duration>) {
        let answers = self.send(&judged, &asked, for_lock).await;
        let (mut answers, order) = match answers {
            Ok(answers) => answers,
            Err(error) => return self.fail(judged.with(asked), error, None),
        };
        let committed = answers.pop();
        let rest = answers.split_off(2);
        for answer in answers {
            if let Err(error) = answer {
                let error = self.explain(error).await;
                return self.fail(judged.with(asked), error, for_lock);
            }
        }

        let mut rows = Vec::new();
        for (answer, place) in rest.into_iter().zip([None].into_iter().chain(order.clone())) {
            match answer {
                Ok(row) => rows.push(row),
                Err(error) => {
                    let error = self.seat.lease.failed_append(error);
                    return self.part(judged.members, asked, place, error);
                }
            }
        }
        if let Some(Err(error)) = committed {
            let error = self.seat.lease.failed_append(error);
            return self.fail(judged.with(asked), error, None);
        }
        self.answer_all(judged, asked, rows, order);
    }

    /// Sends all requests of a transaction; returns their answers, and whose they are after the
    /// first one's, which is that of all that was judged.
    async fn send(
        &mut self,
        judged: &Judged,
        asked: &[Member],
        for_lock: Option<Duration>,
    ) -> Result<(Vec<send::Answer>, Vec<Option<usize>>), Error> {
        let events =
            judged.members.iter().chain(asked).flat_map(|member| member.request.events.iter());
        let waits = Waits { for_lock, for_client: time_to_arrive(events) };
        let lock = sql::lock(&self.log.name, Staleness::Fresh, waits);
        let unmet = judged.unmet();
        let store = judged.statement(self.log, &unmet);
        let lease = &mut self.seat.lease;
        let server = lease.server().clone();
        let prepared = self.limit.of(&server, async {
            let forms = (lease.prepare(&lock.text).await?, lease.prepare(&store.text).await?);
            Ok((forms, Asked::prepare(lease, self.log, asked).await?))
        });
        let ((lock_form, store_form), asked) = prepared.await?;
        check_open(lease)?;

        lease.hold();
        lease.begin();
        let client = lease.client();
        let mut requests = Requests::default();
        requests.command(client, lease.begin_text());
        requests.add(sent(client, &lock_form, &lock));
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
        judged: Judged,
        asked: Vec<Member>,
        rows: Vec<Option<tokio_postgres::Row>>,
        order: Vec<Option<usize>>,
    ) {
        let mut rows = rows.into_iter();
        let server = self.seat.lease.server().clone();
        let stored = rows.next().flatten().map(|row| Stored::decode(&row));
        let Some(Ok(stored)) = stored else {
            let error = outcome_unknown(&server, &[], "the append was answered without a row");
            return self.fail(judged.with(asked), error, None);
        };
        let is_known = judged.members.is_empty() || stored.numbers.is_some();
        match judged.members.is_empty() {
            true => self.seat.see_end(stored.head),
            false => {
                let refused = self.answer_judged(judged, &stored);
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
