//! The expressions of the dashboards' panels, evaluated without Prometheus.

use std::collections::BTreeMap;

use crate::scrape::{Labels, Scrape};

/// An expression of one of the forms that panels have.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A sum, of rates or of values, for each combination of some labels.
    Sum(Sum),
    /// The ratio of two sums. If `is_of_total`, all series are divided by the only one of the other.
    Ratio {
        /// The dividend.
        part: Sum,
        /// The divisor.
        whole: Sum,
        /// Whether the divisor has no labels.
        is_of_total: bool,
    },
    /// A quantile of a histogram.
    Quantile {
        /// The quantile, from 0 to 1.
        quantile: f64,
        /// The sums of the buckets.
        buckets: Sum,
    },
}

/// A sum of series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    by: Vec<String>,
    name: String,
    matchers: Vec<Matcher>,
    /// Whether it is a sum of rates.
    pub is_rate: bool,
    is_highest: bool,
}

/// A condition on a label.
#[derive(Clone, Debug, PartialEq)]
struct Matcher {
    label: String,
    operator: String,
    value: String,
}

/// The values of an expression, by the labels of its series.
pub type Values = BTreeMap<Labels, Value>;

/// A value, or the bucket that contains it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number, which may be no number.
    Exact(f64),
    /// A number between the boundaries of a bucket.
    Between(f64, f64),
}

impl Expression {
    /// Parses an expression. Returns `None` if it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("histogram_quantile(") {
            let (quantile, rest) = rest.split_once(", ")?;
            let buckets = Sum::parse(rest.strip_suffix(')')?)?;
            return Some(Self::Quantile { quantile: quantile.parse().ok()?, buckets });
        }
        let Some((part, whole)) = text.split_once(" / ") else {
            return Sum::parse(text).map(Self::Sum);
        };
        let of_total = whole.strip_prefix("on() group_left() ");
        Some(Self::Ratio {
            part: Sum::parse(part)?,
            whole: Sum::parse(of_total.unwrap_or(whole))?,
            is_of_total: of_total.is_some(),
        })
    }

    /// Returns the sums that it consists of.
    pub fn sums(&self) -> Vec<&Sum> {
        match self {
            Self::Sum(sum) => vec![sum],
            Self::Ratio { part, whole, .. } => vec![part, whole],
            Self::Quantile { buckets, .. } => vec![buckets],
        }
    }

    /// Evaluates it over the growth of all series in so many seconds.
    pub fn evaluate(&self, growth: &Scrape, seconds: f64) -> Values {
        match self {
            Self::Sum(sum) => {
                let sums = sum.evaluate(growth, seconds).into_iter();
                sums.map(|(labels, value)| (labels, Value::Exact(value))).collect()
            }
            Self::Ratio { part, whole, is_of_total } => {
                let wholes = whole.evaluate(growth, seconds);
                let parts = part.evaluate(growth, seconds).into_iter();
                let ratio = |(labels, part): (Labels, f64)| {
                    let key = if *is_of_total { &Labels::new() } else { &labels };
                    let whole = *wholes.get(key)?;
                    Some((labels, Value::Exact(part / whole)))
                };
                parts.filter_map(ratio).collect()
            }
            Self::Quantile { quantile, buckets } => {
                buckets_of(*quantile, &buckets.evaluate(growth, seconds))
            }
        }
    }
}

impl Sum {
    fn parse(text: &str) -> Option<Self> {
        let is_highest = text.starts_with("max");
        let text = text.strip_prefix("sum").or_else(|| text.strip_prefix("max"))?;
        let (by, inner) = match text.strip_prefix(" by (") {
            Some(rest) => rest.split_once(") (")?,
            None => ("", text.strip_prefix('(')?),
        };
        let inner = inner.strip_suffix(')')?;
        let rated = inner.strip_prefix("rate(").and_then(|rest| rest.rsplit_once('['));
        let selector = rated.map_or(inner, |(selector, _range)| selector);
        let (name, matchers) = selector.split_once('{')?;
        let matchers = matchers.strip_suffix('}')?;
        Some(Self {
            by: by.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect(),
            name: name.to_owned(),
            matchers: matchers.split(", ").map(Matcher::parse).collect::<Option<_>>()?,
            is_rate: rated.is_some(),
            is_highest,
        })
    }

    /// Returns the values by the labels of `by`.
    fn evaluate(&self, growth: &Scrape, seconds: f64) -> BTreeMap<Labels, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in growth.of(&self.name) {
            if !self.selects(labels) {
                continue;
            }
            let kept = labels.iter().filter(|(name, _)| self.by.contains(name));
            let key = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            let value = if self.is_rate { value / seconds } else { value };
            let sum = sums.entry(key).or_insert(0.0);
            *sum = if self.is_highest { value.max(*sum) } else { *sum + value };
        }
        sums
    }

    /// Returns whether all series that it selects existed in another scrape.
    pub fn existed_in(&self, earlier: &Scrape, now: &Scrape) -> bool {
        let mut selected = now.of(&self.name).filter(|(labels, _)| self.selects(labels));
        selected.all(|(labels, _)| earlier.value(&self.name, labels).is_some())
    }

    fn selects(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }
}

impl Matcher {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['=', '!'])?;
        let (label, rest) = text.split_at(at);
        let (operator, value) = rest.split_once('"')?;
        let value = value.strip_suffix('"')?;
        Some(Self { label: label.into(), operator: operator.into(), value: value.into() })
    }

    /// The alternatives of a regular expression are compared as a whole: panels use nothing else.
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label).map_or("", String::as_str);
        let is_any = self.value == ".*";
        match self.operator.as_str() {
            "=" => value == self.value,
            "!=" => value != self.value,
            "=~" => is_any || self.value.split('|').any(|one| one == value),
            _ => false,
        }
    }
}

/// Finds the bucket of a quantile, for each combination of labels besides `le`.
fn buckets_of(quantile: f64, sums: &BTreeMap<Labels, f64>) -> Values {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for (labels, count) in sums {
        let mut labels = labels.clone();
        let upper = labels.remove("le").unwrap_or_default().replace("+Inf", "inf");
        let upper = upper.parse().unwrap_or(f64::NAN);
        histograms.entry(labels).or_default().push((upper, *count));
    }
    let bucket = |mut buckets: Vec<(f64, f64)>| {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let all = buckets.last().map_or(0.0, |(_, count)| *count);
        if all == 0.0 {
            return Value::Exact(f64::NAN);
        }
        let index = buckets.iter().position(|(_, count)| *count >= all * quantile);
        let index = index.unwrap_or(buckets.len() - 1);
        let lower = index.checked_sub(1).map_or(0.0, |below| buckets[below].0);
        // Prometheus returns the highest boundary for what is above it.
        let upper = if buckets[index].0.is_infinite() { lower } else { buckets[index].0 };
        Value::Between(lower, upper)
    };
    histograms.into_iter().map(|(labels, buckets)| (labels, bucket(buckets))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a_total{o=\"x\",s=\"1\"} 6\na_total{o=\"x\",s=\"2\"} 2\na_total{o=\"y\",s=\"1\"} 4\n\
        h_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 9\nh_bucket{le=\"+Inf\"} 10\n";

    fn evaluated(expression: &str) -> Vec<(String, Value)> {
        let expression = Expression::parse(expression).unwrap();
        let values = expression.evaluate(&Scrape::parse(TEXT).unwrap(), 2.0);
        let text = |labels: &Labels| labels.values().cloned().collect::<Vec<_>>().join(" ");
        values.into_iter().map(|(labels, value)| (text(&labels), value)).collect()
    }

    #[test]
    fn each_form_of_a_panel_is_evaluated() {
        let exact = |name: &str, value| (name.to_owned(), Value::Exact(value));

        assert_eq!(
            evaluated("sum by (o) (rate(a_total{s=~\".*\"}[1m]))"),
            [exact("x", 4.0), exact("y", 2.0)]
        );
        assert_eq!(evaluated("max(a_total{o=\"x\"})"), [exact("", 6.0)]);
        assert_eq!(
            evaluated(
                "sum by (o) (rate(a_total{s=\"1\"}[1m])) / sum by (o) (rate(a_total{o!=\"z\"}[1m]))"
            ),
            [exact("x", 0.75), exact("y", 1.0)]
        );
        assert_eq!(
            evaluated(
                "sum by (s) (rate(a_total{o=~\"x|y\"}[1m])) / on() group_left() sum(rate(a_total{s=~\".*\"}[1m]))"
            ),
            [exact("1", 10.0 / 12.0), exact("2", 2.0 / 12.0)]
        );
        for (quantile, bucket) in [("0.5", (0.0, 1.0)), ("0.9", (1.0, 2.0)), ("0.99", (2.0, 2.0))] {
            assert_eq!(
                evaluated(&format!(
                    "histogram_quantile({quantile}, sum by (le) (rate(h_bucket{{x=\"\"}}[1m])))"
                )),
                [(String::new(), Value::Between(bucket.0, bucket.1))]
            );
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["up", "avg(a_total{o=\"x\"})", "sum(a_total)", "sum(rate(a_total{o}[1m]))"] {
            assert_eq!(Expression::parse(text), None, "{text}");
        }
    }
}
