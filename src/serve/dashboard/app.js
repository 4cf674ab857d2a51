// SPDX-License-Identifier: Apache-2.0
// Asks /status every second and shows it.

import { BatchChart, LineChart } from "./charts.js";
import { KeyedTable, byId, bytes, duration, make, number, percent, setClass, setText } from "./dom.js";
import { Samples, quantile, versionKey } from "./samples.js";
import { TryForm } from "./try.js";

const KEY = "phalanx-key";
const PERIOD_MS = 1000, PATIENCE_MS = 5000;
const RATES_S = 5, TABLE_S = 30, BATCHES_S = 60; // spans that numbers are of

const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  let body = null;
  try {
    body = await response.json();
  } catch {
    // Whatever it was, the status says enough.
  }
  return { ok: response.ok, status: response.status, body };
}

const TILES = [
  ["requests", "Requests/s"], ["rows", "Rows/s"], ["p50", "Latency p50"], ["p90", "Latency p90"], ["p99", "Latency p99"],
  ["waiting", "Waiting rows"], ["batch", "Rows per batch"], ["failed", "Failed/s"],
];

const STATES = {
  READY: ["Ready", "good"], LOADING: ["Loading", "wait"], UNLOADING: ["Unloading", "wait"], UNAVAILABLE: ["Unavailable", "bad"],
};

class Page {
  constructor() {
    this.samples = new Samples();
    this.models = new KeyedTable(byId("models"));
    this.ranks = new KeyedTable(byId("ranks"));
    this.tryForm = new TryForm((path, body, type) =>
      request(path, { method: "POST", body, headers: { "Content-Type": type } }));
    this.tiles = new Map(TILES.map(([name, label]) => {
      const value = make("dd", { id: `tile-${name}` }, "–");
      byId("tiles").append(make("div", { class: "card tile" }, make("dt", {}, label), value));
      return [name, value];
    }));
    const charts = byId("charts");
    const share = { format: percent, top: () => 1 };
    this.charts = [
      new LineChart(charts, { title: "Throughput per second",
        series: [{ name: "requests", label: "Requests" }, { name: "rows", label: "Rows" }] }),
      new LineChart(charts, { title: "Latency", format: duration,
        series: [{ name: "p50", label: "p50" }, { name: "p90", label: "p90" }, { name: "p99", label: "p99" }] }),
      new LineChart(charts, { title: "Queue in rows",
        series: [{ name: "waiting", label: "Waiting" }, { name: "running", label: "Running" }] }),
      new LineChart(charts, { title: "Load of the ranks", ...share,
        series: [{ name: "busy", label: "Mean" }, { name: "busiest", label: "Busiest" }] }),
    ];
    this.batches = new BatchChart(charts);
    byId("scope").addEventListener("change", () => {
      this.samples.show(byId("scope").value);
      this.showTraffic();
    });
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      key.set(byId("key").value.trim());
      byId("key").value = "";
      this.poll();
    });
    byId("forget-key").addEventListener("click", () => {
      key.forget();
      this.poll();
    });
  }

  /** Once now, and then each second. */
  async poll() {
    clearTimeout(this.timer);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const { ok, status, body } = await request("/status", { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (turn !== this.turn) return;
      if (ok) this.show(body);
      else if (status === 401 || status === 403) return this.askForKey();
      else this.say(`Status ${status}`, "bad");
    } catch {
      if (turn !== this.turn) return;
      this.say("Unreachable", "bad");
    }
    this.timer = setTimeout(() => this.poll(), PERIOD_MS);
  }

  say(text, kind) {
    setText(byId("state"), text);
    setClass(byId("state"), `pill ${kind}`);
  }

  /** Until there is one, nobody asks: servers count attempts. */
  askForKey() {
    document.body.classList.add("locked");
    this.say("Key needed", "wait");
    byId("forget-key").hidden = !key.get();
    setText(byId("key-error"), key.get() ? "The server does not take this key." : "");
    if (!byId("key-panel").hidden) return;
    byId("key-panel").hidden = false;
    byId("key").focus();
  }

  show(status) {
    document.body.classList.remove("locked");
    byId("key-panel").hidden = true;
    byId("forget-key").hidden = !key.get();
    byId("links").hidden = Boolean(key.get()); // a link carries no key
    const now = performance.now();
    // A page in the background is asked to wait; over such a gap curves would lie.
    if (this.samples.newest && now - this.samples.newest.at > 30000) this.samples.clear();
    this.samples.add(status, now);
    this.status = status;
    if (status.draining) this.say("Draining", "wait");
    else if (status.ready) this.say("Ready", "good");
    else this.say(status.ranks.up ? "Loading" : "Ranks are starting", "wait");
    const about = [location.host, `version ${status.version}`, `up ${duration(status.uptime_s)}`];
    // Keys that may only ask models are not told of the server itself.
    if (status.http) about.push(`${number(status.http.connections)} connections`);
    if (status.memory)
      about.push(`${bytes(status.memory.requests_used_bytes)} of ${bytes(status.memory.requests_bytes)} for requests in use`);
    setText(byId("about"), about.join(" · "));
    this.offerScopes();
    this.showTraffic();
    this.showModels();
    this.showRanks();
    this.tryForm.offer(status.models);
  }

  offerScopes() {
    const names = [];
    for (const model of this.status.models) {
      names.push([model.name, model.name]);
      if (model.versions.length > 1)
        for (const v of model.versions) names.push([versionKey(model.name, v.version), `${model.name}, version ${v.version}`]);
    }
    const text = names.join("\n");
    if (text === this.scopes) return;
    this.scopes = text;
    const chosen = byId("scope").value;
    byId("scope").replaceChildren(make("option", { value: "" }, "All models"),
      ...names.map(([value, label]) => make("option", { value }, label)));
    byId("scope").value = names.some(([value]) => value === chosen) ? chosen : "";
    if (byId("scope").value !== this.samples.scope) this.samples.show(byId("scope").value);
  }

  showTraffic() {
    const recent = this.samples.recent(this.samples.scope, RATES_S);
    if (!recent) return;
    const bounds = this.samples.newest.bounds;
    const latency = this.samples.recent(this.samples.scope, 10).latency;
    const values = {
      requests: number(recent.requests / recent.seconds),
      rows: number(recent.rows / recent.seconds),
      p50: duration(quantile(latency, bounds, 0.5)),
      p90: duration(quantile(latency, bounds, 0.9)),
      p99: duration(quantile(latency, bounds, 0.99)),
      waiting: number(recent.waiting),
      batch: recent.batches ? number(meanRows(recent)) : "–",
      failed: number(recent.failed / recent.seconds),
    };
    for (const [name, value] of Object.entries(values)) setText(this.tiles.get(name), value);
    setClass(this.tiles.get("failed"), recent.failed > 0 ? "bad" : "");
    for (const chart of this.charts) chart.show(this.samples.points, this.samples.newest.at);
    this.batches.show(this.samples.recent(this.samples.scope, BATCHES_S).batchRows);
  }

  showModels() {
    const rows = this.status.models.flatMap((model) => model.versions.map((version) => ({ model, version })));
    byId("no-models").hidden = rows.length > 0;
    this.models.show(rows, ({ model, version }) => versionKey(model.name, version.version), ({ model, version: v }) => {
      const recent = this.samples.recent(versionKey(model.name, v.version), TABLE_S);
      const latency = recent?.latency ?? [0];
      const [label, kind] = STATES[v.state] ?? [v.state, "wait"];
      return [
        { text: model.name, note: v.task },
        v.version,
        { text: label, className: `pill ${kind}`, note: v.reason ?? "" },
        traffic(model, v),
        recent ? number(recent.requests / recent.seconds) : "–",
        duration(quantile(latency, this.samples.newest.bounds, 0.5)),
        duration(quantile(latency, this.samples.newest.bounds, 0.99)),
        recent?.batches ? number(meanRows(recent)) : "–",
        number(v.waiting_rows),
        { text: number(v.failed), className: v.failed > 0 ? "bad" : "" },
        v.memory_bytes === undefined ? "–" : bytes(v.memory_bytes),
        v.load_s === undefined ? "–" : duration(v.load_s),
      ];
    });
  }

  showRanks() {
    const { restarts, up, list } = this.status.ranks;
    byId("ranks").hidden = !list;
    if (!list) return setText(byId("restarts"), up ? "All ranks are there" : "Ranks are missing");
    const times = `${restarts} time${restarts === 1 ? "" : "s"}`;
    setText(byId("restarts"), `${up ? "All ranks are there" : "Ranks are missing"} · started again ${times}`);
    this.ranks.show(this.samples.ranks(RATES_S), (rank) => String(rank.rank), (rank) => [
      String(rank.rank),
      rank.host,
      rank.device,
      { text: rank.up ? "Up" : "Down", className: `pill ${rank.up ? "good" : "bad"}` },
      { text: percent(rank.busy), share: rank.busy },
      number(rank.batchRate),
      number(rank.rowRate),
      number(rank.outstanding),
    ]);
  }
}

function meanRows(recent) {
  let rows = 0, batches = 0;
  for (const [size, count] of recent.batchRows) {
    rows += size * count;
    batches += count;
  }
  return batches ? rows / batches : NaN;
}

/** What reaches a version: shares of aliases, shadow copies. */
function traffic(model, version) {
  const parts = model.aliases.filter((alias) => alias.version === version.version)
    .map((alias) => `${alias.name}${alias.percent ? ` ${alias.percent} %` : ""}`);
  if (model.shadow_version === version.version) parts.push("shadow");
  const has_split = model.aliases.some((alias) => alias.percent > 0);
  const ready = model.versions.filter((v) => v.state === "READY");
  if (!has_split && ready[ready.length - 1] === version) parts.push("default");
  const disagreed = percent(version.shadow_disagreed / version.shadowed);
  const note = version.shadowed ? `shadow disagreed in ${disagreed} of ${number(version.shadowed)}` : "";
  return { text: parts.join(", ") || "by version only", note };
}

new Page().poll();
