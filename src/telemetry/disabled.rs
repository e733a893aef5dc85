use std::marker::PhantomData;
use std::time::Duration;

use super::OperationName;
use crate::server::Server;
use crate::{Class, Error};

/// The metrics and traces of stores. Without the feature `telemetry` there are none.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Telemetry {}

impl Telemetry {
    pub(crate) fn announce(&self, _: &Server) {}

    pub(crate) fn announce_replica(&self, _: &Server) {}

    pub(crate) fn announce_fallbacks(&self) {}

    pub(crate) fn replica_fault(&self, _: &Server, _: &'static str) {}

    pub(crate) fn operation(&self, _: OperationName, _: &Server) -> Operation {
        Operation {}
    }

    pub(crate) fn retry(&self, _: &'static str) -> RetryCall<'_> {
        RetryCall { telemetry: PhantomData }
    }
}

/// An operation that is not recorded.
pub(crate) struct Operation {}

impl Operation {
    pub(crate) fn served_by(&mut self, _: &Server) {}

    pub(crate) fn waited(&self, _: &'static str) {}

    pub(crate) fn fell_back(&self, _: &'static str) {}

    pub(crate) fn count_read(&mut self, _: u64) {}

    pub(crate) fn count_appended(&mut self, _: u64) {}

    pub(crate) fn succeed(self) {}

    pub(crate) fn fail(self, _: &Error) {}

    pub(crate) fn finish<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        result
    }
}

/// A call with retries that is not recorded.
pub(crate) struct RetryCall<'a> {
    telemetry: PhantomData<&'a Telemetry>,
}

impl RetryCall<'_> {
    pub(crate) fn begin(&mut self) {}

    pub(crate) fn retry(&mut self, _: u32, _: Class, _: Duration) {}

    pub(crate) fn paused(&mut self) {}

    pub(crate) fn end(&mut self, _: &'static str) {}
}
