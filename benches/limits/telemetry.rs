//! The cost of metrics and traces: an append and a query with and without them, on a short log, on
//! which they are cheapest.

use std::sync::Arc;
use std::time::Duration;

use eddyline::{AppendCondition, Event, Filter, Query, ReadWrite, Store, Telemetry};
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter};
use serde_json::json;

use crate::Bench;
use crate::clients::LENT;
use crate::rounds::Workload;
use crate::seed::{LENDING, Seed};

pub async fn run(bench: &mut Bench) {
    if !bench.starts_part(&["telemetry/"], "telemetry: what metrics and traces cost") {
        return;
    }
    Seed::SMALL.prepare(&bench.url).await;
    let stores = Stores::open(bench).await;
    for clients in [1, 64] {
        compare(bench, &stores, "append", clients, append).await;
        compare(bench, &stores, "query", clients, query).await;
    }
    for (name, store) in [("metrics", &stores.metrics), ("traces", &stores.traces)] {
        let (bare, recorded) = (allocations(&stores.bare).await, allocations(store).await);
        let more = recorded.saturating_sub(bare);
        bench.table.report(&format!("telemetry/{name}/allocations"), more as f64);
    }
}

/// Stores on the same log: without metrics and traces, with metrics, and with both.
struct Stores {
    bare: Store<ReadWrite>,
    /// The same as `bare`: what it differs by is noise.
    twin: Store<ReadWrite>,
    metrics: Store<ReadWrite>,
    traces: Store<ReadWrite>,
    _meters: SdkMeterProvider,
    _tracers: SdkTracerProvider,
}

impl Stores {
    async fn open(bench: &Bench) -> Self {
        // As often as a fast scrape.
        let exporter = InMemoryMetricExporter::default();
        let reader =
            PeriodicReader::builder(exporter).with_interval(Duration::from_secs(1)).build();
        let meters = SdkMeterProvider::builder().with_reader(reader).build();
        let processor = BatchSpanProcessor::builder(Discard).build();
        let tracers = SdkTracerProvider::builder().with_span_processor(processor).build();
        let connect = async |telemetry: Telemetry| {
            let config = Seed::SMALL.config(&bench.url).telemetry(telemetry);
            Store::<ReadWrite>::connect(config).await.expect("a store")
        };
        let meter = meters.meter("eddyline");
        let tracer = BoxedTracer::new(Box::new(tracers.tracer("eddyline")));
        Self {
            bare: connect(Telemetry::default()).await,
            twin: connect(Telemetry::default()).await,
            metrics: connect(Telemetry::new(&meter, global::tracer("eddyline"))).await,
            traces: connect(Telemetry::new(&meter, tracer)).await,
            _meters: meters,
            _tracers: tracers,
        }
    }
}

/// An exporter that drops the spans: how fast a collector takes them is not measured.
#[derive(Debug)]
struct Discard;

impl SpanExporter for Discard {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

async fn compare<F>(
    bench: &mut Bench,
    stores: &Stores,
    operation: &str,
    clients: usize,
    call: impl Fn(Store<ReadWrite>, u64) -> F + Copy + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let workload = |name: &str, store: &Store<ReadWrite>| {
        let store = store.clone();
        Workload::new(format!("{operation} {name}"), clients, move |_, count| {
            call(store.clone(), count)
        })
    };
    let workloads = [
        workload("bare", &stores.bare),
        workload("with metrics", &stores.metrics),
        workload("with traces", &stores.traces),
        workload("bare again", &stores.twin),
    ];

    let results = bench.rounds.run(&workloads).await;

    let named = [("metrics", &results[1]), ("traces", &results[2]), ("noise", &results[3])];
    for (name, result) in named {
        let ratio = match clients {
            1 => result.median_to(&results[0]),
            _ => results[0].rate_to(result),
        };
        bench.table.report(&format!("telemetry/{name}/{clients}/{operation}"), ratio);
    }
}

async fn append(store: Store<ReadWrite>, count: u64) {
    let payload = json!({ "BookID": format!("b-{count}"), "ReaderID": "r-1" });
    let event = Event::new(LENT, &payload).expect("an event");
    store.append([event], AppendCondition::none()).await.expect("an append");
}

async fn query(store: Store<ReadWrite>, count: u64) {
    let (book, reader) = Seed::SMALL.draw(count);
    let filter = Filter::types(LENDING).any_of([("BookID", book), ("ReaderID", reader)]);
    store.query(Query::from(filter.build().expect("a filter"))).await.expect("a query");
}

/// Returns the allocations of an append and a query, the fewest of several.
async fn allocations(store: &Store<ReadWrite>) -> u64 {
    let runtime = tokio::runtime::Handle::current();
    let store = Arc::new(store.clone());
    let measure = move || {
        let calls = |count| {
            let store = store.clone();
            let run = || {
                runtime.block_on(async move {
                    append((*store).clone(), count).await;
                    query((*store).clone(), 1).await;
                })
            };
            allocation_counter::measure(run).count_total
        };
        (0..50).map(calls).min().unwrap_or_default()
    };
    tokio::task::spawn_blocking(measure).await.expect("the calls")
}
