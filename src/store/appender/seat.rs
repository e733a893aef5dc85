use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join3;

use super::batch::{Batch, holds, may_be_judged};
use super::queue::Member;
use super::recent::{MAX_PAYLOAD_BYTES, Recent};
use super::send::{self, Asked, Failure, Requests};
use super::{Appender, Seen};
use crate::pool::{Lease, send, sent};
use crate::sql::{self, Staleness, Stored, Verdict, Waits};
use crate::store::limit::{Limit, timed_out};
use crate::store::log::{Log, time_to_arrive};
use crate::store::transact::{finds_ids_taken, name_holder, outcome_unknown, release};
use crate::{Class, Error, Event, SequenceNumber};

/// A connection that appends, with what it has seen of the log.
pub(super) struct Seat {
    lease: Lease,
    recent: Recent,
    /// For how many batches to expect that others append as well.
    foreign: u32,
}

impl Seat {
    /// Takes a connection, and what was seen before if it was by way of the same one.
    pub(super) fn new(lease: Lease, seen: Option<Seen>) -> Self {
        match seen.filter(|seen| seen.by == lease.backend()) {
            Some(Seen { by: _, recent, foreign }) => Self { lease, recent, foreign },
            None => Self { lease, recent: Recent::default(), foreign: 0 },
        }
    }

    /// Gives the connection back; returns what was seen.
    pub(super) fn leave(self) -> Seen {
        Seen { by: self.lease.backend(), recent: self.recent, foreign: self.foreign }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.lease.is_spent()
    }

    /// Carries out what goes together, and answers it. What is to be carried out once more, or
    /// apart from each other, is left, the last of it first.
    pub(super) async fn carry_out(
        &mut self,
        appender: &Appender,
        members: Vec<Member>,
        left: &mut Vec<Vec<Member>>,
    ) {
        let Some(limit) = Limit::join(members.iter().map(|member| member.limit)) else { return };
        let waits = members.iter().filter_map(|one| one.limit.lock_timeout(appender.lock_timeout));
        let mut work = Work { seat: self, appender, log: &appender.log, limit, left };
        let for_lock = waits.min();
        match <[Member; 1]>::try_from(members) {
            Ok([member]) => work.one(member, for_lock).await,
            Err(members) => work.several(members, for_lock).await,
        }
    }

    /// Notes where the log ended, under its lock.
    fn see_end(&mut self, end: SequenceNumber) {
        match self.recent.end() {
            Some(known) if known == end => {}
            known => {
                if known.is_some() {
                    self.foreign = FOREIGN;
                }
                self.recent.restart(end);
            }
        }
    }

    /// Notes an attempt that was stored next, at these places.
    fn see(&mut self, member: &Member, numbers: impl IntoIterator<Item = SequenceNumber>) {
        for (index, number) in numbers.into_iter().enumerate() {
            self.recent.add(number, &member.request.events, index);
        }
    }

    /// Notes what the server judged and stored next.
    fn see_accepted(&mut self, member: &Member, first: SequenceNumber, last: SequenceNumber) {
        let events = member.request.events.len() as u64;
        match last.value() - first.value() + 1 == events && !member.request.is_large() {
            true => self.see(member, (first.value()..=last.value()).map(SequenceNumber::new)),
            false => self.recent.restart(last),
        }
    }
}

/// Attempts under way on a connection.
struct Work<'a> {
    seat: &'a mut Seat,
    appender: &'a Appender,
    log: &'a Log,
    limit: Limit,
    left: &'a mut Vec<Vec<Member>>,
}

impl Work<'_> {
    async fn one(&mut self, member: Member, for_lock: Option<Duration>) {
        let expects_others = self.seat.foreign > 0 && member.request.condition.guard().is_some();
        let is_judged = may_be_judged(&member) && holds(&member, &self.seat.recent);
        let member = match is_judged && !expects_others && for_lock.is_none() {
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
                    // Others may have stored something before it.
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
        self.appender.queue().put_back(later);
        if asked.is_empty() && for_lock.is_none() && !holds_lock {
            let refused = self.store(judged).await;
            if !refused.is_empty() {
                self.left.push(refused);
            }
            return;
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
        let rest = answers.split_off(if holds_lock { 0 } else { 2 });
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
        if lease.client().is_closed() {
            return Err(server.lost("it was closed before the append was sent"));
        }

        lease.hold();
        lease.begin();
        let client = lease.client();
        let mut requests = Requests::default();
        if !holds_lock {
            requests.command(client, "BEGIN ISOLATION LEVEL READ COMMITTED");
            requests.add(sent(client, &lock_form, &lock));
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
        if is_known {
            self.seat.see_end(stored.head);
        }
        if !judged.is_empty() {
            let refused = self.answer_judged(judged, stored);
            if !refused.is_empty() {
                self.left.push(refused);
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

    /// Begins a transaction under the log's lock and learns what came since, so that what it holds
    /// then can be judged. The server ends it if this process does not go on at once.
    async fn lock_and_learn(&mut self, for_lock: Option<Duration>) -> Result<(), Error> {
        let limit = self.limit;
        let lease = &mut self.seat.lease;
        let server = lease.server().clone();
        let lock =
            sql::lock(&self.log.name, Staleness::Fresh, Waits { for_lock, for_client: None });
        let known = self.seat.recent.end();
        let after = known.unwrap_or_default();
        let news = sql::news(&self.log.name, after, MAX_NEWS, MAX_PAYLOAD_BYTES);
        let forms = limit.of(&server, async {
            Ok((lease.prepare(&lock.text).await?, lease.prepare(&news.text).await?))
        });
        let (lock_form, news_form) = forms.await?;
        lease.hold();
        lease.begin();
        let client = lease.client();
        let answers = limit.hold(join3(
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
            sent(client, &lock_form, &lock),
            async { send(client, &news_form, &news).await?.try_collect::<Vec<_>>().await },
        ));
        let (begun, locked, news) = match answers.await {
            Ok(answers) => answers,
            Err(waited) => {
                lease.give_up();
                return Err(timed_out(&server, waited));
            }
        };
        if let Err(error) = begun.and(locked) {
            let error = lease.failed(error);
            release(lease, limit).await;
            return Err(name_holder(&self.log.name, lease, error, limit).await);
        }
        let news: Result<Vec<_>, _> =
            news.and_then(|rows| rows.iter().map(sql::decode_news).collect());
        match news {
            Ok(news) => {
                self.seat.learn(known, news);
                Ok(())
            }
            Err(error) => {
                let error = lease.failed(error);
                release(lease, limit).await;
                Err(error)
            }
        }
    }

    /// Takes apart what failed together, so that only the one fails whose fault it is: the one that
    /// was asked at this place, or one of those that were judged.
    fn part(
        &mut self,
        judged: Vec<Member>,
        mut asked: Vec<Member>,
        place: Option<usize>,
        error: Error,
    ) {
        if judged.len() + asked.len() == 1 || !is_of_one(&error) {
            return self.fail(judged.into_iter().chain(asked).collect(), error, None);
        }
        let (innocent, suspects) = match place {
            Some(place) => {
                let suspect = asked.remove(place);
                (judged.into_iter().chain(asked).collect(), vec![suspect])
            }
            None => (asked, judged),
        };
        self.leave(innocent);
        self.leave_in_halves(suspects);
    }

    /// Answers those whose failure it is, and leaves the others to be tried apart.
    fn fail(&mut self, members: Vec<Member>, error: Error, for_lock: Option<Duration>) {
        if error.is_outcome_unknown() {
            self.seat.recent.forget();
        }
        let found_locked = error.sqlstate().is_some_and(|code| code.as_str() == "55P03");
        if found_locked && for_lock.is_some() {
            // Others of them may wait for longer than the one who may least.
            let (spent, patient): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| {
                member.limit.lock_timeout(self.appender.lock_timeout).is_some()
            });
            self.leave(patient);
            return tell(&self.seat.lease, spent, &error);
        }
        if members.len() > 1 && !found_locked && is_of_one(&error) {
            return self.leave_in_halves(members);
        }
        tell(&self.seat.lease, members, &error);
    }

    fn leave(&mut self, members: Vec<Member>) {
        if !members.is_empty() {
            self.left.push(members);
        }
    }

    fn leave_in_halves(&mut self, mut members: Vec<Member>) {
        let second = members.split_off(members.len().div_ceil(2));
        self.leave(second);
        self.leave(members);
    }
}

impl Seat {
    /// Takes note of what came after the end that was known, the newest first.
    fn learn(
        &mut self,
        known: Option<SequenceNumber>,
        mut news: Vec<(SequenceNumber, Option<Event>)>,
    ) {
        self.foreign = if news.is_empty() { self.foreign.saturating_sub(1) } else { FOREIGN };
        news.reverse();
        let is_whole = news.len() < MAX_NEWS;
        match (known, news.first()) {
            (None, _) if is_whole => self.recent.restart(SequenceNumber::ZERO),
            (_, Some((first, _))) if !is_whole => self.recent.restart(*first),
            _ => {}
        }
        for (number, event) in news {
            match event {
                Some(event) => self.recent.add(number, &[event].into(), 0),
                None => self.recent.restart(number),
            }
        }
    }
}

/// Returns whether a failure may be that of one attempt only, and not of all that went with it.
fn is_of_one(error: &Error) -> bool {
    match error {
        Error::Database { class, sqlstate, .. } => {
            *class != Class::Canceled && !sqlstate.as_str().starts_with("53")
        }
        _ => false,
    }
}

/// Tells attempts how they failed; an unknown outcome is that of each one's own events.
fn tell(lease: &Lease, members: Vec<Member>, error: &Error) {
    for member in members {
        let error = match error {
            Error::OutcomeUnknown { source, .. } => {
                outcome_unknown(lease.server(), &member.request.events, source.clone())
            }
            error => error.clone(),
        };
        member.answer(Err(error));
    }
}

/// For how many batches others are expected to append as well, after they did.
const FOREIGN: u32 = 16;
/// How many events of others are looked at; what comes before them is as if it were not known.
const MAX_NEWS: usize = 512;
