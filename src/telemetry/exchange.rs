use std::sync::Arc;
use std::time::{Instant, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::global::BoxedSpan;
use opentelemetry::trace::{Link, Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};

use super::error_type::error_type;
use super::operation::OperationHandle;
use super::request::Request;
use super::series::{Attributes, ValueSeries};
use super::store::StoreSeries;
use crate::Error;
use crate::server::Server;

/// The series of one host, by request.
pub(super) struct EndpointSeries {
    host: Arc<str>,
    port: u16,
    requests: [RequestSeries; Request::ALL.len()],
}

/// The series of a request.
struct RequestSeries {
    attributes: Attributes,
    /// The durations of those that succeed.
    succeeded: ValueSeries,
    /// The attributes of spans: those of the durations, and the procedure that is called.
    of_span: Attributes,
}

impl StoreSeries {
    /// Returns the series of the host of a server.
    pub(super) fn endpoint(&self, server: &Server) -> Arc<EndpointSeries> {
        self.endpoints.find_or_add(
            |series| series.port == server.port && *series.host == *server.host,
            || EndpointSeries::new(self, server),
        )
    }
}

impl EndpointSeries {
    fn new(store: &StoreSeries, server: &Server) -> Self {
        let requests = Request::ALL.map(|request| {
            let attributes = [
                store.attribute(),
                KeyValue::new("db.system.name", "postgresql"),
                KeyValue::new("db.namespace", server.namespace.clone()),
                KeyValue::new("db.collection.name", server.collection.clone()),
                KeyValue::new("db.operation.name", request.as_str()),
                KeyValue::new("server.address", server.host.clone()),
                KeyValue::new("server.port", i64::from(server.port)),
            ];
            let mut of_span = attributes.to_vec();
            if request.calls_procedure() {
                let procedure = server.log().append_procedure();
                of_span
                    .push(KeyValue::new("db.stored_procedure.name", Arc::<str>::from(procedure)));
            }
            RequestSeries {
                succeeded: ValueSeries::new(
                    &store.instruments.exchange_duration,
                    attributes.clone(),
                ),
                attributes: Attributes::from(attributes),
                of_span: of_span.into(),
            }
        });
        Self { host: server.host.clone(), port: server.port, requests }
    }
}

/// A request to a server and its answer. Its duration is recorded once, as a metric and as that of
/// a span; if it is dropped before it ends, it was canceled.
pub(crate) struct Exchange {
    store: Arc<StoreSeries>,
    endpoint: Arc<EndpointSeries>,
    request: Request,
    /// None if the operation has none.
    span: Option<BoxedSpan>,
    started: Instant,
    /// The time of the span.
    started_at: SystemTime,
    has_ended: bool,
}

impl OperationHandle {
    /// Begins an exchange for the operation.
    pub(crate) fn exchange(&self, request: Request, server: &Server) -> Exchange {
        Exchange::start(self, request, server, Vec::new())
    }

    /// Begins the exchange of a batch of appends. Its span is below that of the first append that
    /// is sampled, and has links to those of all.
    pub(crate) fn batch_exchange<'a>(
        batch: impl Iterator<Item = &'a Self> + Clone,
        server: &Server,
    ) -> Option<Exchange> {
        let (first, size) = (batch.clone().next()?, batch.clone().count());
        if let Some(series) = &first.store().batch {
            series.record(size as f64);
        }
        if size == 1 {
            return Some(first.exchange(Request::Append, server));
        }
        let parent = batch.clone().find(|one| one.is_sampled()).unwrap_or(first);
        let sampled = batch.filter(|one| one.is_sampled());
        let mut links = Vec::with_capacity(if parent.is_sampled() { size } else { 0 });
        links.extend(
            sampled.map(|one| Link::with_context(one.context().span().span_context().clone())),
        );
        let mut exchange = Exchange::start(parent, Request::BatchAppend, server, links);
        if let Some(span) = &mut exchange.span {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            span.set_attribute(KeyValue::new("db.operation.batch.size", size));
        }
        Some(exchange)
    }

    fn is_sampled(&self) -> bool {
        self.context().span().span_context().is_sampled()
    }
}

impl Exchange {
    fn start(
        operation: &OperationHandle,
        request: Request,
        server: &Server,
        links: Vec<Link>,
    ) -> Self {
        let (started, store) = (Instant::now(), operation.store());
        let endpoint = store.endpoint(server);
        let started_at = operation.time_at(started);
        let span = operation.is_traced().then(|| {
            let tracer = &store.instruments.tracer;
            let known = &endpoint.requests[request as usize].of_span;
            let mut attributes = Vec::with_capacity(known.len() + FURTHER_ATTRIBUTES);
            attributes.extend_from_slice(known);
            tracer
                .span_builder(request.as_str())
                .with_kind(SpanKind::Client)
                .with_start_time(started_at)
                .with_attributes(attributes)
                .with_links(links)
                .start_with_context(tracer, operation.context())
        });
        let store = store.clone();
        Self { store, endpoint, request, span, started, started_at, has_ended: false }
    }

    /// Ends the exchange with the answer.
    pub(crate) fn answered(mut self) {
        self.end(None);
    }

    /// Ends the exchange with an error.
    pub(crate) fn failed(mut self, error: &Error) {
        let code = error.sqlstate().map(|code| code.as_str().to_owned());
        self.end(Some((error_type(error), code)));
    }

    /// Ends the exchange with a code of the server that is not an error for the caller.
    pub(crate) fn refused(mut self, code: &'static str) {
        self.end(Some((code, Some(code.to_owned()))));
    }

    /// Ends the exchange with a result.
    pub(crate) fn finish<T>(self, result: &Result<T, Error>) {
        match result {
            Ok(_) => self.answered(),
            Err(error) => self.failed(error),
        }
    }

    fn end(&mut self, failure: Option<(&'static str, Option<String>)>) {
        self.has_ended = true;
        let duration = self.started.elapsed();
        let RequestSeries { attributes, succeeded, .. } =
            &self.endpoint.requests[self.request as usize];
        let failed = failure.map(|(kind, code)| (kind, failure_attributes(kind, code)));
        match &failed {
            None => succeeded.record(duration.as_secs_f64()),
            Some((_, failed)) => {
                let attributes = [attributes, &failed[..]].concat();
                self.store
                    .instruments
                    .exchange_duration
                    .record(duration.as_secs_f64(), &attributes);
            }
        }
        if let Some(span) = &mut self.span {
            if let Some((kind, attributes)) = failed {
                span.set_attributes(attributes);
                span.set_status(Status::error(kind));
            }
            span.end_with_timestamp(self.started_at + duration);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(Some(("canceled", None)));
        }
    }
}

/// Returns the attributes of a failed exchange: the SQLSTATE, or else the name of the error.
fn failure_attributes(kind: &'static str, code: Option<String>) -> Vec<KeyValue> {
    match code {
        Some(code) => vec![
            KeyValue::new("error.type", code.clone()),
            KeyValue::new("db.response.status_code", code),
        ],
        None => vec![KeyValue::new("error.type", kind)],
    }
}

/// The attributes that a span gets after its start: the size of a batch, or those of a failure.
const FURTHER_ATTRIBUTES: usize = 2;
