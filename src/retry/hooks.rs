use std::time::Duration;

use super::{AttemptError, Backoff};
use crate::{Class, Classify};

/// The hooks of a [`Retry`](super::Retry): the source of its pauses, the class of its errors, which
/// errors to retry, what to call before a pause, and what may change a pause.
///
/// The defaults take no space and no time.
#[derive(Clone, Debug)]
pub struct Hooks<B = Backoff, C = ByClassify, W = ByClass, N = Silent, A = AsPlanned> {
    pub(super) backoff: B,
    pub(super) classes: C,
    pub(super) when: W,
    pub(super) notify: N,
    pub(super) adjust: A,
}

/// The default source of classes: [`Classify`].
#[derive(Clone, Copy, Debug)]
pub struct ByClassify;

/// The default choice of errors to retry: those whose class [is retryable](Class::is_retryable).
#[derive(Clone, Copy, Debug)]
pub struct ByClass;

/// The default notification: none.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

/// The default adjustment of pauses: none.
#[derive(Clone, Copy, Debug)]
pub struct AsPlanned;

/// A retry that is about to be made, as hooks see it.
#[derive(Debug)]
pub struct Retrying<'a, E> {
    pub(super) attempt: u32,
    pub(super) pause: Duration,
    pub(super) error: &'a AttemptError<E>,
    pub(super) class: Class,
}

impl<E> Retrying<'_, E> {
    /// Returns the number of the next attempt, at least 2.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the pause before it.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Returns the error of the previous attempt.
    pub fn error(&self) -> &AttemptError<E> {
        self.error
    }

    /// Returns the class of that error.
    pub fn class(&self) -> Class {
        self.class
    }
}

/// The hooks as a [`Retry`](super::Retry) calls them.
pub trait RetryHooks<E> {
    fn class(&mut self, error: &E) -> Class;
    fn is_retryable(&mut self, error: &E, class: Class) -> bool;
    fn pause(&mut self) -> Option<Duration>;
    fn adjust(&mut self, error: &E, pause: Option<Duration>) -> Option<Duration>;
    fn notify(&mut self, retrying: &Retrying<'_, E>);
}

impl<E, B, C, W, N, A> RetryHooks<E> for Hooks<B, C, W, N, A>
where
    B: Iterator<Item = Duration>,
    C: Classes<E>,
    W: When<E>,
    N: Notify<E>,
    A: Adjust<E>,
{
    fn class(&mut self, error: &E) -> Class {
        self.classes.class(error)
    }

    fn is_retryable(&mut self, error: &E, class: Class) -> bool {
        self.when.is_retryable(error, class)
    }

    fn pause(&mut self) -> Option<Duration> {
        self.backoff.next()
    }

    fn adjust(&mut self, error: &E, pause: Option<Duration>) -> Option<Duration> {
        self.adjust.adjust(error, pause)
    }

    fn notify(&mut self, retrying: &Retrying<'_, E>) {
        self.notify.notify(retrying);
    }
}

pub trait Classes<E> {
    fn class(&mut self, error: &E) -> Class;
}

impl<E: Classify> Classes<E> for ByClassify {
    fn class(&mut self, error: &E) -> Class {
        error.class()
    }
}

impl<E, F: FnMut(&E) -> Class> Classes<E> for F {
    fn class(&mut self, error: &E) -> Class {
        self(error)
    }
}

pub trait When<E> {
    fn is_retryable(&mut self, error: &E, class: Class) -> bool;
}

impl<E> When<E> for ByClass {
    fn is_retryable(&mut self, _: &E, class: Class) -> bool {
        class.is_retryable()
    }
}

impl<E, F: FnMut(&E) -> bool> When<E> for F {
    fn is_retryable(&mut self, error: &E, _: Class) -> bool {
        self(error)
    }
}

pub trait Notify<E> {
    fn notify(&mut self, retrying: &Retrying<'_, E>);
}

impl<E> Notify<E> for Silent {
    fn notify(&mut self, _: &Retrying<'_, E>) {}
}

impl<E, F: FnMut(&Retrying<'_, E>)> Notify<E> for F {
    fn notify(&mut self, retrying: &Retrying<'_, E>) {
        self(retrying);
    }
}

pub trait Adjust<E> {
    fn adjust(&mut self, error: &E, pause: Option<Duration>) -> Option<Duration>;
}

impl<E> Adjust<E> for AsPlanned {
    fn adjust(&mut self, _: &E, pause: Option<Duration>) -> Option<Duration> {
        pause
    }
}

impl<E, F: FnMut(&E, Option<Duration>) -> Option<Duration>> Adjust<E> for F {
    fn adjust(&mut self, error: &E, pause: Option<Duration>) -> Option<Duration> {
        self(error, pause)
    }
}
