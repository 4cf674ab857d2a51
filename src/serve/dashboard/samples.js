// SPDX-License-Identifier: Apache-2.0
// What /status said in the last five minutes, and rates from the differences of its counters.

const KEPT = 301; // seconds of five minutes, and both ends
const LATENCY_WINDOW = 10; // seconds that a point of the latency chart covers

/** Counters begin again when a version is loaded again or ranks are started again. */
export const difference = (now, before) => (before === undefined || now < before ? now : now - before);

const addUp = (lists, length) => {
  const sum = new Array(length).fill(0);
  for (const list of lists) list.forEach((value, i) => (sum[i] += value));
  return sum;
};

/** The latency below which a share of all lies, interpolated within its bucket; NaN if there is none. */
export function quantile(counts, bounds, share) {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return NaN;
  let below = 0;
  for (let i = 0; i < bounds.length; ++i) {
    if (counts[i] > 0 && below + counts[i] >= share * all) {
      const low = i === 0 ? 0 : bounds[i - 1];
      return low + ((bounds[i] - low) * (share * all - below)) / counts[i];
    }
    below += counts[i];
  }
  return bounds[bounds.length - 1];
}

export const versionKey = (model, version) => `${model}/${version}`;

/** What is kept of one answer. */
function reduced(status, at) {
  const versions = new Map();
  for (const model of status.models) {
    for (const v of model.versions) {
      versions.set(versionKey(model.name, v.version), {
        model: model.name, requests: v.requests, failed: v.failed, rows: v.rows, batches: v.batches,
        waiting: v.waiting_rows, running: v.running_rows, latency: v.latency.counts, batchRows: v.batch_rows,
      });
    }
  }
  return { at, versions, ranks: status.ranks.list ?? [], bounds: status.latency_bounds_s };
}

export class Samples {
  constructor() {
    this.list = [];
    this.points = []; // of the charts, one for every sample but the first
    this.scope = "";
  }

  add(status, at) {
    this.list.push(reduced(status, at));
    if (this.list.length > 1) this.points.push(this.point(this.list.length - 1));
    if (this.list.length <= KEPT) return;
    this.list.shift();
    this.points.shift();
  }

  /** Begins again, after a break: a rate over it would say nothing. */
  clear() {
    this.list = [];
    this.points = [];
  }

  get newest() {
    return this.list[this.list.length - 1];
  }

  /** Sample of about so many seconds before sample i; the oldest if there is none. */
  before(i, seconds) {
    const at = this.list[i].at - seconds * 1000 - 200;
    let k = i;
    while (k > 0 && this.list[k - 1].at >= at) --k;
    return this.list[k === i && i > 0 ? i - 1 : k];
  }

  /** Sums over the versions of a scope between two samples: "" all, "model", or "model/version". */
  between(from, to, scope) {
    const sum = { requests: 0, failed: 0, rows: 0, batches: 0, waiting: 0, running: 0, batchRows: new Map() };
    const latencies = [];
    for (const [key, now] of to.versions) {
      if (scope && key !== scope && now.model !== scope) continue;
      const was = from.versions.get(key);
      for (const name of ["requests", "failed", "rows", "batches"]) sum[name] += difference(now[name], was?.[name]);
      sum.waiting += now.waiting;
      sum.running += now.running;
      latencies.push(now.latency.map((count, i) => difference(count, was?.latency[i])));
      for (const [rows, count] of Object.entries(now.batchRows)) {
        const more = difference(count, was?.batchRows[rows]);
        sum.batchRows.set(Number(rows), (sum.batchRows.get(Number(rows)) ?? 0) + more);
      }
    }
    sum.latency = addUp(latencies, to.bounds.length + 1);
    sum.seconds = Math.max((to.at - from.at) / 1000, 1e-3);
    return sum;
  }

  /** Of the newest, over the last seconds; undefined before there are two samples. */
  recent(scope, seconds) {
    const last = this.list.length - 1;
    return last < 1 ? undefined : this.between(this.before(last, seconds), this.list[last], scope);
  }

  /** Busy share, batches and rows per second of every rank. */
  ranks(seconds) {
    const last = this.list.length - 1;
    if (last < 0) return [];
    const from = this.before(last, seconds), to = this.list[last];
    const took = Math.max((to.at - from.at) / 1000, 1e-3);
    return to.ranks.map((rank, i) => {
      const was = last < 1 ? rank : from.ranks[i];
      return {
        ...rank,
        busy: Math.min(1, difference(rank.busy_s, was?.busy_s) / took),
        batchRate: difference(rank.batches, was?.batches) / took,
        rowRate: difference(rank.rows, was?.rows) / took,
      };
    });
  }

  /** What charts show of sample i. */
  point(i) {
    const second = this.between(this.list[i - 1], this.list[i], this.scope);
    const window = this.between(this.before(i, LATENCY_WINDOW), this.list[i], this.scope);
    const [p50, p90, p99] = [0.5, 0.9, 0.99].map((share) => quantile(window.latency, this.list[i].bounds, share));
    const busy = this.list[i].ranks.map((rank, k) =>
      Math.min(1, difference(rank.busy_s, this.list[i - 1].ranks[k]?.busy_s) / second.seconds));
    return {
      at: this.list[i].at,
      requests: second.requests / second.seconds,
      rows: second.rows / second.seconds,
      p50, p90, p99,
      waiting: second.waiting,
      running: second.running,
      busy: busy.length ? busy.reduce((a, b) => a + b, 0) / busy.length : NaN,
      busiest: busy.length ? Math.max(...busy) : NaN,
    };
  }

  /** Which models the points are of. */
  show(scope) {
    this.scope = scope;
    this.points = [];
    for (let i = 1; i < this.list.length; ++i) this.points.push(this.point(i));
  }
}
