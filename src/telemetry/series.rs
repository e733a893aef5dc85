use opentelemetry::KeyValue;
#[cfg(feature = "bound-instruments")]
use opentelemetry::metrics::{BoundCounter, BoundHistogram};
use opentelemetry::metrics::{Counter, Histogram};

/// The attributes of a series.
pub(super) type Attributes = Box<[KeyValue]>;

/// A counter with attributes. It is visible with 0 from the beginning: a counter that first appears
/// with a value above zero has no rate.
pub(super) struct CountSeries {
    #[cfg(feature = "bound-instruments")]
    bound: BoundCounter<u64>,
    #[cfg(not(feature = "bound-instruments"))]
    counter: Counter<u64>,
    #[cfg(not(feature = "bound-instruments"))]
    attributes: Attributes,
}

impl CountSeries {
    pub(super) fn new(counter: &Counter<u64>, attributes: impl Into<Attributes>) -> Self {
        let attributes = attributes.into();
        counter.add(0, &attributes);
        Self {
            #[cfg(feature = "bound-instruments")]
            bound: counter.bind(&attributes),
            #[cfg(not(feature = "bound-instruments"))]
            counter: counter.clone(),
            #[cfg(not(feature = "bound-instruments"))]
            attributes,
        }
    }

    pub(super) fn add(&self, count: u64) {
        #[cfg(feature = "bound-instruments")]
        self.bound.add(count);
        #[cfg(not(feature = "bound-instruments"))]
        self.counter.add(count, &self.attributes);
    }
}

/// A histogram with attributes. Bound to them, it is visible with a count of 0 from the beginning.
pub(super) struct ValueSeries {
    #[cfg(feature = "bound-instruments")]
    bound: BoundHistogram<f64>,
    #[cfg(not(feature = "bound-instruments"))]
    histogram: Histogram<f64>,
    #[cfg(not(feature = "bound-instruments"))]
    attributes: Attributes,
}

impl ValueSeries {
    pub(super) fn new(histogram: &Histogram<f64>, attributes: impl Into<Attributes>) -> Self {
        let attributes = attributes.into();
        Self {
            #[cfg(feature = "bound-instruments")]
            bound: histogram.bind(&attributes),
            #[cfg(not(feature = "bound-instruments"))]
            histogram: histogram.clone(),
            #[cfg(not(feature = "bound-instruments"))]
            attributes,
        }
    }

    pub(super) fn record(&self, value: f64) {
        #[cfg(feature = "bound-instruments")]
        self.bound.record(value);
        #[cfg(not(feature = "bound-instruments"))]
        self.histogram.record(value, &self.attributes);
    }
}
