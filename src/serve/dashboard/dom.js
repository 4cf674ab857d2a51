// SPDX-License-Identifier: Apache-2.0
// Making and changing elements, and numbers as people read them. Texts of the server only ever become text nodes.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Leaves what is the same alone, so that screen readers and selections are not disturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

/** Three significant digits. */
export function number(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  if (Math.abs(value) >= 1e6) return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1e-3) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${number(seconds * 1e3)} ms`;
  if (seconds < 60) return `${number(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; count >= 1024 && i < units.length - 1; ++i) count /= 1024;
  return `${number(count)} ${units[i]}`;
}

export const percent = (share) => (Number.isFinite(share) ? `${Math.round(share * 100)} %` : "–");

/** A table whose rows are kept by key, and whose cells are changed in place. */
export class KeyedTable {
  constructor(table) {
    this.body = table.querySelector("tbody");
    this.columns = [...table.querySelectorAll("thead th")];
    this.rows = new Map();
  }

  /** cells(item): a text for each column, or {text, className, note, share}. */
  show(items, key, cells) {
    const wanted = new Set(items.map(key));
    for (const [name, row] of this.rows) {
      if (wanted.has(name)) continue;
      row.remove();
      this.rows.delete(name);
    }
    items.forEach((item, index) => {
      let row = this.rows.get(key(item));
      if (!row) {
        row = make("tr", { role: "row" }, ...this.columns.map((column, i) => this.cell(column, i)));
        this.rows.set(key(item), row);
      }
      if (this.body.children[index] !== row) this.body.insertBefore(row, this.body.children[index] ?? null);
      cells(item).forEach((value, i) => KeyedTable.change(row.children[i], value));
    });
  }

  cell(column, index) {
    const attributes = { "data-label": column.textContent, class: column.className };
    return index === 0
      ? make("th", { ...attributes, role: "rowheader", scope: "row" })
      : make("td", { ...attributes, role: "cell" });
  }

  static change(cell, value) {
    const { text, className = "", note = "", share } = typeof value === "string" ? { text: value } : value;
    if (!cell.firstChild) {
      if (share !== undefined) cell.append(make("span", { class: "gauge", "aria-hidden": "true" }, make("span")));
      cell.append(make("span"), make("small"));
    }
    const [main, small] = [...cell.children].slice(-2);
    setText(main, text);
    setClass(main, className);
    setText(small, note);
    if (share !== undefined) cell.querySelector(".gauge > span").style.width = `${Math.min(1, Math.max(0, share || 0)) * 100}%`;
  }
}
