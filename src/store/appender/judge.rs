use super::queue::Member;
use super::recent::Recent;
use crate::SequenceNumber;
use crate::filter::Demand;
use crate::sql::{self, Occasion, Proviso, Staleness, Statement, Unmet};
use crate::store::log::Log;

/// How conditions are judged that need no statement of their own.
#[derive(Clone, Copy)]
pub(super) enum Judge<'a> {
    /// By this process, from what it knows of the log, up to its end.
    Process(&'a Recent),
    /// By the function that stores the events: it tells whether an event that came has what one must
    /// have that they are about. What is known to be broken already is not asked that way.
    Function(&'a Recent, &'a Log),
}

impl Judge<'_> {
    /// Returns whether an attempt can be judged so. One that may have been stored is looked for
    /// first, which takes a statement; and so does one that is known to be refused, since the
    /// server has to say why: its own events may have broken its condition, stored before.
    pub(super) fn takes(self, member: &Member) -> bool {
        let request = &member.request;
        if request.occasion != Occasion::First || request.is_large() || member.is_doubtful {
            return false;
        }
        let Some((guard, lookup)) = request.guard() else { return true };
        let (Self::Process(recent) | Self::Function(recent, _)) = self;
        let is_covered = recent.covers(guard.after);
        if is_covered && recent.has_match(&guard.filter, lookup, guard.after) {
            return false;
        }
        match self {
            Self::Process(_) => is_covered,
            Self::Function(_, log) => {
                // A position that nobody has seen here would have all the others refused as well.
                guard.after <= log.newest()
                    && log.staleness(&request.condition) == Staleness::Fresh
                    && guard.filter.demands().is_some_and(|demands| {
                        // The function looks for whole values, and not for elements of arrays.
                        let is_element = |one: &Demand<'_>| matches!(one, Demand::Element(..));
                        !demands.is_empty() && !demands.iter().any(is_element)
                    })
            }
        }
    }
}

/// Attempts that were judged together, to be stored together.
pub(super) struct Judged {
    pub(super) members: Vec<Member>,
    by: By,
}

#[derive(Clone, Copy)]
enum By {
    /// Up to this end of the log.
    Process(Option<SequenceNumber>),
    /// Up to the last of the events that are being stored over the same connection.
    Ahead,
    Function,
}

impl Judged {
    /// Takes attempts that the judge takes.
    pub(super) fn by(judge: Judge<'_>, members: Vec<Member>) -> Self {
        let by = match judge {
            Judge::Process(recent) => By::Process(recent.end()),
            Judge::Function(..) => By::Function,
        };
        Self { members, by }
    }

    /// Takes attempts that this process has judged as if what is in flight were stored.
    pub(super) fn ahead(members: Vec<Member>) -> Self {
        Self { members, by: By::Ahead }
    }

    /// Returns them, and those that go with them.
    pub(super) fn with(self, asked: Vec<Member>) -> Vec<Member> {
        let mut members = self.members;
        members.extend(asked);
        members
    }

    /// Returns whether what is left out is so because of what the function found.
    pub(super) fn is_by_function(&self) -> bool {
        matches!(self.by, By::Function)
    }

    /// Lists what no event may have that came since, where that is for the function to tell.
    pub(super) fn unmet(&self) -> Unmet<'_> {
        let mut unmet = Unmet::default();
        if self.is_by_function() {
            for Member { request, .. } in &self.members {
                let guard = request.condition.guard();
                let demands = guard.and_then(|guard| guard.filter.demands()).unwrap_or_default();
                let after = guard.map(|guard| guard.after).unwrap_or_default();
                unmet.add(request.events.len(), demands, after);
            }
        }
        unmet
    }

    fn is_guarded(&self) -> bool {
        self.members.iter().any(|one| one.request.condition.guard().is_some())
    }

    /// Returns whether they are stored only if the log ends where this process believes.
    pub(super) fn is_tied(&self) -> bool {
        self.is_guarded() && matches!(self.by, By::Process(Some(_)) | By::Ahead)
    }

    /// Returns the text of [`statement`](Self::statement).
    pub(super) fn text<'a>(&self, log: &'a Log) -> &'a str {
        log.store_texts.of(self.is_by_function() && self.is_guarded())
    }

    /// Renders the call of the function that stores them.
    pub(super) fn statement<'a>(&'a self, log: &Log, unmet: &'a Unmet<'a>) -> Statement<'a> {
        let is_guarded = self.is_guarded();
        let proviso = match self.by {
            By::Process(Some(end)) if is_guarded => Proviso::Ends(end),
            By::Ahead if is_guarded => Proviso::EndsWithOwn,
            By::Function if is_guarded => Proviso::Unmet(unmet),
            By::Process(_) | By::Ahead | By::Function => Proviso::Nothing,
        };
        let events = self.members.iter().flat_map(|member| member.request.events.iter());
        sql::store(&log.store_texts, &proviso, events)
    }
}
