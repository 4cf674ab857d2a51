// SPDX-License-Identifier: Apache-2.0
// Charts of the last minutes, five at most, and of batch sizes. Each is a figure whose picture has its content as a label.

import { make, makeSvg, number, setText } from "./dom.js";

const WIDTH = 300, HEIGHT = 100;
const SPANS = [60, 120, 300]; // seconds: a page that was opened just now shows less

/** The least of 1, 2, 5 times a power of ten that holds the value. */
function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((top) => top >= value * 0.999);
}

export class LineChart {
  /** series: [{name: property of the points, label}], drawn as lines of different colour and dash. */
  constructor(parent, { title, series, format = number, top = niceTop }) {
    Object.assign(this, { title, series, format, top });
    this.paths = series.map((_, i) => makeSvg("path", { class: `trace trace-${i}` }));
    const grid = [0, 0.5, 1].map((y) =>
      makeSvg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y * HEIGHT, y2: y * HEIGHT }));
    this.svg = makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
      "aria-label": `${title}: nothing is known yet.` },
      ...grid, ...this.paths);
    this.values = series.map(() => make("b"));
    const legend = series.map((one, i) =>
      make("span", { class: `key key-${i}` }, make("i", { "aria-hidden": "true" }), `${one.label} `, this.values[i]));
    this.begin = make("span");
    this.ticks = [1, 0.5, 0].map((share) => make("span", { class: `tick tick-${share * 2}` }));
    parent.append(make("figure", { class: "card chart" },
      make("figcaption", {}, make("h3", {}, title), make("p", { class: "legend" }, ...legend)),
      make("div", { class: "plot" }, this.svg, make("div", { class: "ticks", "aria-hidden": "true" }, ...this.ticks)),
      make("p", { class: "axis muted", "aria-hidden": "true" }, this.begin, make("span", {}, "now"))));
  }

  show(points, now) {
    const seconds = points.length ? (now - points[0].at) / 1000 : 0;
    const span = SPANS.find((one) => one >= seconds) ?? SPANS[SPANS.length - 1];
    setText(this.begin, `${span / 60} min ago`);
    let most = 0;
    for (const point of points) for (const { name } of this.series) if (point[name] > most) most = point[name];
    const top = this.top(most);
    this.series.forEach(({ name }, i) => {
      let path = "", gap = true;
      for (const point of points) {
        if (!Number.isFinite(point[name])) {
          gap = true;
          continue;
        }
        const x = WIDTH * (1 - (now - point.at) / 1000 / span);
        path += `${gap ? "M" : "L"}${x.toFixed(1)} ${(HEIGHT * (1 - point[name] / top)).toFixed(1)}`;
        gap = false;
      }
      this.paths[i].setAttribute("d", path);
    });
    this.ticks.forEach((tick, i) => setText(tick, this.format(top * (1 - i / 2))));
    const last = points[points.length - 1] ?? {};
    this.series.forEach(({ name }, i) => setText(this.values[i], this.format(last[name] ?? NaN)));
    const newest = this.series.map(({ name, label }) => `${label} ${this.format(last[name] ?? NaN)}`).join(", ");
    this.svg.setAttribute("aria-label",
      `${this.title} of the last ${span / 60} minutes. Now: ${newest}. Highest: ${this.format(most)}.`);
  }
}

/** How many batches had how many rows, in ranges that double. */
export class BatchChart {
  constructor(parent) {
    this.bars = make("ol", { class: "columns" });
    parent.append(make("figure", { class: "card chart" },
      make("figcaption", {}, make("h3", {}, "Batch sizes"),
        make("p", { class: "legend" }, "Share of the last minute's batches, by rows")),
      this.bars));
  }

  show(batchRows) {
    const counts = [];
    for (const [rows, count] of batchRows) {
      const range = Math.ceil(Math.log2(rows));
      counts[range] = (counts[range] ?? 0) + count;
    }
    const all = counts.reduce((sum, count) => sum + (count ?? 0), 0);
    const ranges = Math.max(counts.length, 7);
    while (this.bars.children.length > ranges) this.bars.lastChild.remove();
    while (this.bars.children.length < ranges)
      this.bars.append(make("li", {}, make("span", { class: "share" }),
        make("span", { class: "column", "aria-hidden": "true" }), make("span", { class: "range" })));
    for (let i = 0; i < ranges; ++i) {
      const [share, column, range] = this.bars.children[i].children;
      const part = all > 0 ? (counts[i] ?? 0) / all : 0;
      setText(share, part > 0 && part < 0.005 ? "<1 %" : `${Math.round(part * 100)} %`);
      column.style.height = `${part * 100}%`;
      setText(range, i < 2 ? String(2 ** i) : `${2 ** (i - 1) + 1}–${2 ** i}`);
    }
  }
}
