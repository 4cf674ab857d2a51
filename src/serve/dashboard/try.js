// SPDX-License-Identifier: Apache-2.0
// The form that asks a model: an image, numbers or JSON; the answer as bars.

import { byId, duration, make, number, percent, setText } from "./dom.js";

const MOST_BARS = 10, MOST_SAMPLES = 8;

/** Throws an Error whose text is for people. */
function bodyOf(text) {
  const trimmed = text.trim();
  if (!trimmed) throw new Error("Choose an image, or enter numbers.");
  if (trimmed.startsWith("{")) {
    JSON.parse(trimmed);
    return trimmed;
  }
  if (trimmed.startsWith("[")) return JSON.stringify({ input: JSON.parse(trimmed) });
  const values = trimmed.split(/[\s,;]+/).filter((word) => word).map(Number);
  if (values.some((value) => !Number.isFinite(value))) throw new Error("Expected numbers with commas or spaces between them.");
  return JSON.stringify({ input: values });
}

function bars(entries) {
  return make("ol", { class: "bars" }, ...entries.map(([label, share, text]) => {
    const bar = make("span", { class: "bar-fill" });
    bar.style.width = `${Math.min(1, Math.max(0, share)) * 100}%`;
    return make("li", {}, make("span", { class: "bar-label" }, label),
      make("span", { class: "bar-track", "aria-hidden": "true" }, bar), make("span", { class: "bar-value" }, text));
  }));
}

/** One sample's answer, of any task. */
function sample(prediction) {
  if (prediction.probabilities) {
    // In order here: names that are numbers lose the server's in an object.
    const sorted = Object.entries(prediction.probabilities).sort((a, b) => b[1] - a[1]);
    const left = sorted.length - MOST_BARS;
    return [
      make("p", { class: "class" }, "Class ", make("strong", { id: "class" }, prediction.class)),
      bars(sorted.slice(0, MOST_BARS).map(([label, p]) => [label, p, percentOf(p)])),
      ...(left > 0 ? [make("p", { class: "muted" }, `and ${left} more`)] : []),
    ];
  }
  if (prediction.answer) {
    return [bars(prediction.output.map((p, i) => [`Output ${i}: ${prediction.answer[i] ? "yes" : "no"}`, p, percentOf(p)]))];
  }
  if (prediction.output.length === 1)
    return [make("p", { class: "class" }, "Value ", make("strong", {}, number(prediction.output[0])))];
  const most = Math.max(...prediction.output.map(Math.abs), 1e-30);
  return [bars(prediction.output.slice(0, MOST_BARS).map((v, i) => [`Output ${i}`, Math.abs(v) / most, number(v)]))];
}

const percentOf = (p) => (p > 0 && p < 0.01 ? "<1 %" : percent(p));

export class TryForm {
  /** ask(path, body, type): the server's answer as {ok, status, body}. */
  constructor(ask) {
    this.ask = ask;
    this.models = [];
    this.select = byId("try-model");
    this.file = byId("try-file");
    this.text = byId("try-text");
    this.answer = byId("answer");
    this.image = null;
    this.select.addEventListener("change", () => this.hint());
    this.file.addEventListener("change", () => this.take(this.file.files[0]));
    const drop = byId("drop");
    for (const name of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) this.take(event.dataTransfer.files[0]);
      });
    }
    this.text.addEventListener("input", () => this.text.value && this.clearImage());
    byId("try-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  /** What can be asked: models, their versions and aliases. */
  offer(models) {
    const options = [];
    for (const model of models) {
      const ready = model.versions.filter((v) => v.state === "READY");
      if (!ready.length) continue;
      const about = ready[ready.length - 1];
      const add = (path, label, version) => options.push({ path, label, about: version });
      add([model.name], model.name, about);
      for (const alias of model.aliases) {
        const of = ready.find((v) => v.version === alias.version);
        if (of) add([model.name, alias.name], `${model.name}, ${alias.name} (version ${alias.version})`, of);
      }
      for (const v of ready) add([model.name, v.version], `${model.name}, version ${v.version}`, v);
    }
    const labels = options.map((option) => option.label).join("\n");
    this.options = options;
    if (labels === this.labels) return;
    this.labels = labels;
    const chosen = this.select.selectedOptions[0]?.textContent;
    this.select.replaceChildren(...options.map((option, i) => make("option", { value: i }, option.label)));
    const again = options.findIndex((option) => option.label === chosen);
    if (again >= 0) this.select.value = again;
    this.hint();
  }

  get chosen() {
    return this.options?.[Number(this.select.value)];
  }

  hint() {
    const about = this.chosen?.about;
    if (!about) return setText(byId("try-hint"), "No model is ready.");
    const count = about.input.reduce((product, size) => product * size, 1);
    const numbers = `${count} number${count === 1 ? "" : "s"}`;
    const shape = about.input.length > 1 ? ` (${about.input.join(" × ")})` : "";
    setText(byId("try-hint"), about.is_image
      ? `Takes a JPEG or PNG file of any size, which becomes ${about.input.join(" × ")}, or ${numbers}.`
      : `Takes ${numbers} per sample${shape}.`);
    byId("drop").hidden = !about.is_image;
    if (!about.is_image) this.clearImage();
    setText(byId("try-text-label"), about.is_image ? "Or numbers, or JSON" : "Numbers, or JSON");
  }

  async take(file) {
    if (!file) return this.clearImage();
    if (!/^image\/(png|jpeg)$/.test(file.type)) {
      this.text.value = await file.text();
      return this.clearImage();
    }
    this.clearImage(false);
    this.image = file;
    this.text.value = "";
    this.url = URL.createObjectURL(file);
    byId("preview").src = this.url;
    byId("preview").hidden = false;
  }

  clearImage(forgetChoice = true) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = this.image = null;
    byId("preview").hidden = true;
    if (forgetChoice) this.file.value = "";
  }

  async submit() {
    if (!this.chosen) return this.say("No model is ready.");
    let body = this.image;
    try {
      body ??= bodyOf(this.text.value);
    } catch (error) {
      return this.say(error instanceof SyntaxError ? `This is no JSON: ${error.message}` : error.message);
    }
    const path = `/predict/${this.chosen.path.map(encodeURIComponent).join("/")}`;
    const begin = performance.now();
    try {
      const { ok, status, body: answer } = await this.ask(path, body, this.image ? this.image.type : "application/json");
      const took = (performance.now() - begin) / 1000;
      if (!ok) return this.say(answer?.error ?? `The server answered with status ${status}.`);
      this.show(answer, took);
    } catch {
      this.say("The server cannot be reached.");
    }
  }

  say(text) {
    this.answer.replaceChildren(make("p", { class: "error" }, text));
  }

  show(answer, took) {
    const list = answer.predictions ?? [answer];
    const parts = list.slice(0, MOST_SAMPLES).flatMap((one, i) =>
      list.length > 1 ? [make("h3", {}, `Sample ${i + 1}`), ...sample(one)] : sample(one));
    if (list.length > MOST_SAMPLES) parts.push(make("p", { class: "muted" }, `and ${list.length - MOST_SAMPLES} more samples`));
    const from = `${answer.model}, version ${answer.version}`;
    parts.push(make("p", { class: "muted" }, `${from}; ${duration(took)} until the answer was here`));
    this.answer.replaceChildren(...parts);
  }
}
