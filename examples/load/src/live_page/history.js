"use strict";

// The last minutes of a load, as the page has got them: the seconds of the tally, and the metrics at
// the end of each.

// The seconds that are kept and shown.
const SPAN = 300;

class LoadHistory {
  seconds = new Map();
  samples = new Map();

  /** Adds the news of a document. */
  add({ seconds, samples }) {
    seconds.forEach((second) => this.seconds.set(second.at, second));
    samples.forEach(({ at, series }) => this.samples.set(at, indexed(series)));
    for (const kept of [this.seconds, this.samples]) {
      const newest = Math.max(...kept.keys());
      [...kept.keys()].filter((at) => at < newest - SPAN).forEach((at) => kept.delete(at));
    }
  }

  /** Returns the second after which the page needs news, or null if it needs all. */
  get last() {
    const last = (kept) => (kept.size > 0 ? Math.max(...kept.keys()) : Infinity);
    // The metrics of a second come a moment after its counts.
    const at = Math.min(last(this.seconds), last(this.samples));
    return at >= 0 && at < Infinity ? at : null;
  }

  /** Returns the times at which the seconds end. */
  get times() {
    return this.ordered.map(({ at }) => at + 1);
  }

  get ordered() {
    return [...this.seconds.values()].sort((one, other) => one.at - other.at);
  }

  /** Returns a figure of each second. */
  values(figure) {
    return this.ordered.map((second) => figure(second) ?? null);
  }

  /** Returns the increase of a counter per second, in each second. */
  increases(name, labels = {}) {
    const sampled = [...this.samples.keys()].sort((one, other) => one - other);
    return this.ordered.map(({ at }) => {
      // A busy process takes no sample in some seconds. Then it is the mean of several seconds.
      const from = sampled.findLast((time) => time < at);
      const until = sampled.find((time) => time >= at);
      if (from === undefined || until === undefined) {
        return null;
      }
      const [before, after] = [from, until].map((time) => this.sum(time, name, labels) ?? 0);
      return (after - before) / (until - from);
    });
  }

  /** Returns the value of a metric at the end of each second. It is null if there is none. */
  levels(name, labels) {
    return this.ordered.map(({ at }) => this.sum(at, name, labels));
  }

  /** Returns the sum of the series with these labels at a time, or null if there is none. */
  sum(time, name, labels) {
    const series = this.samples.get(time)?.get(name) ?? [];
    const wanted = Object.entries(labels);
    const fitting = series.filter((one) =>
      wanted.every(([label, value]) => one.labels[label] === value),
    );
    return fitting.length > 0 ? fitting.reduce((sum, { value }) => sum + value, 0) : null;
  }

  /** Returns the different combinations of labels that a metric has had. */
  labelsOf(name) {
    const found = new Map();
    for (const sample of this.samples.values()) {
      for (const { labels } of sample.get(name) ?? []) {
        found.set(JSON.stringify(labels), labels);
      }
    }
    return [...found.keys()].sort().map((key) => found.get(key));
  }
}

/** Returns the series of each metric. */
function indexed(series) {
  const byName = new Map();
  for (const one of series) {
    byName.set(one.name, [...(byName.get(one.name) ?? []), one]);
  }
  return byName;
}
