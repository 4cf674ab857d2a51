# SPDX-License-Identifier: Apache-2.0
"""What operators see of a server: metrics, the status, the page in a browser."""

import http.client
import http.server
import json
import os
import re
import socket
import threading
import time

from browser import ELEMENT, ENTER, TAB, Browser
from prometheus import Metrics
from serve_test import samples, trained
from serving import Server, publish
from support import SOURCE, png, run_tests, wait_until


def metrics(server):
    status, text, headers = server.get("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"), (status, headers)
    return Metrics(text.decode())


def status_of(server):
    status, answer, _ = server.get("/status")
    assert status == 200, answer
    return answer


def version_of(status, model="model", version="1"):
    models = {m["name"]: m for m in status["models"]}
    return next(v for v in models[model]["versions"] if v["version"] == version)


def line_picture(label, side=8):
    """As the images that tests train on: a bright line tells the class."""
    return png(side, side, bytes(255 if i // side == label else 60 for i in range(side * side)))


class Asking:
    """Requests, one after the other, until the end of the context."""

    def __init__(self, server, path, body):
        self.server, self.path, self.body = server, path, body
        self.count, self.ends = 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.ends:
            status, answer, _ = self.server.post(self.path, self.body)
            assert status == 200, answer
            self.count += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.ends = True
        self.thread.join(20)


# --- metrics


def test_metrics_add_up_with_the_requests_that_were_sent(t):
    checkpoint, data = trained(t)
    publish(t, checkpoint)
    with Server(t, ranks=2) as server:
        rows = samples(data)
        before = metrics(server)
        assert before.get("phalanx_model_state", model="model", version="1", state="READY") == 1
        assert before.get("phalanx_model_state", model="model") == 1
        for k in range(7):
            assert server.post("/predict/model", {"input": rows[k]})[0] == 200
        assert server.post("/predict/model", {"input": rows[:5]})[0] == 200
        assert server.post("/predict/model", {"input": "nothing"})[0] == 400
        assert server.post("/predict/other", {"input": rows[0]})[0] == 404
        assert server.get("/predict/model")[0] == 405
        m = metrics(server)
        of = {"model": "model", "version": "1"}
        assert m.get("phalanx_requests_total", status="200", **of) == 8
        assert m.get("phalanx_requests_total") == 8
        assert m.get("phalanx_rows_total", **of) == 12
        assert m.get("phalanx_request_latency_seconds_count", **of) == 8
        assert 0 < m.get("phalanx_request_latency_seconds_sum", **of) < 20
        assert m.get("phalanx_batch_rows_sum", **of) == 12
        assert m.get("phalanx_batch_rows_bucket", le="1", **of) == 7
        assert m.get("phalanx_batch_rows_bucket", le="4", **of) == 7
        assert m.get("phalanx_batch_rows_bucket", le="8", **of) == 8
        assert m.get("phalanx_rank_batches_total") == 8 and m.get("phalanx_rank_rows_total") == 12
        assert m.get("phalanx_rank_up", rank="0") == 1 and m.get("phalanx_rank_up", rank="1") == 1
        assert abs(m.get("phalanx_rank_busy_seconds_total") - m.get("phalanx_batch_seconds_total")) < 1e-6
        stages = [m.get(f"phalanx_{stage}_seconds_total", **of) for stage in ("queue", "input", "infer", "output")]
        assert 0 < sum(stages) <= m.get("phalanx_request_latency_seconds_sum", **of), stages
        assert m.get("phalanx_waiting_rows", **of) == 0 and m.get("phalanx_running_rows", **of) == 0
        assert m.get("phalanx_request_memory_used_bytes") == 0
        assert m.get("phalanx_model_memory_bytes", **of) > 0 and m.get("phalanx_model_load_seconds", **of) > 0
        assert m.get("phalanx_http_requests_total", route="/predict/{model}", status="200") == 8
        assert m.get("phalanx_http_requests_total", route="/predict/{model}", status="400") == 1
        assert m.get("phalanx_http_requests_total", route="/predict/{model}", status="404") == 1
        assert m.get("phalanx_http_requests_total", route="none", status="405") == 1
        assert m.get("phalanx_connections") >= 1 and m.get("phalanx_http_requests_in_progress") == 1
        assert m.get("phalanx_http_request_seconds_count") == m.get("phalanx_http_requests_total")
        assert m.get("phalanx_process_resident_bytes") > 1 << 20
        assert before.get("phalanx_process_cpu_seconds_total") <= m.get("phalanx_process_cpu_seconds_total") < 100
        assert abs(m.get("phalanx_start_time_seconds") - time.time()) < 100
        assert m.get("phalanx_build_info") == 1 and m.get("phalanx_ready") == 1
        assert not any(name.startswith("nv_") for name in m.types), m.types


def test_metrics_with_the_names_of_triton_are_behind_a_switch(t):
    checkpoint, data = trained(t)
    publish(t, checkpoint)
    with Server(t, "--triton-metrics") as server:
        for row in samples(data)[:3]:
            assert server.post("/predict/model", {"input": row})[0] == 200
        m = metrics(server)
        of = {"model": "model", "version": "1"}
        assert m.get("nv_inference_request_success", **of) == 3
        assert m.get("nv_inference_count", **of) == 3 and m.get("nv_inference_exec_count", **of) == 3
        assert m.get("nv_inference_request_failure", reason="REJECTED", **of) == 0
        parts = [m.get(f"nv_inference_{part}_duration_us", **of)
                 for part in ("queue", "compute_input", "compute_infer", "compute_output")]
        assert 0 < sum(parts) <= m.get("nv_inference_request_duration_us", **of) < 2e7, parts
        assert m.get("nv_inference_pending_request_count", **of) == 0


def test_no_label_comes_from_a_request(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    with Server(t) as server:
        names = len(metrics(server).values)
        for k in range(50):
            server.post(f"/predict/no_such_model_{k}", {"input": [1]})
            server.post(f"/predict/model/{k + 2}", {"input": [1]})
            server.get(f"/no/such/path/{k}")
            server.request(f"METHOD{k}", "/metrics")
        m = metrics(server)
        assert not any("such" in label or "METHOD" in label for label in m.labels()), m.labels()
        # Each pair of route and status that is new.
        assert len(m.values) <= names + 10, (names, len(m.values))


def test_restarts_and_lost_ranks_are_counted(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    with Server(t, ranks=2) as server:
        os.kill(server.rank_pids()[0], 9)
        wait_until(lambda: not server.is_ready(), 5, "the server says that it is not ready")
        server.wait_ready()
        assert metrics(server).get("phalanx_rank_restarts_total") == 1
        assert status_of(server)["ranks"]["restarts"] == 1


# --- status


def test_the_status_counts_what_was_asked(t):
    checkpoint, data = trained(t)
    publish(t, checkpoint)
    publish(t, checkpoint)
    t.write("models/model/config.json", json.dumps({
        "version_policy": "all", "shadow_version": 2,
        "aliases": {"stable": {"version": 1, "percent": 100}, "next": {"version": 2, "percent": 0}}}))
    with Server(t, ranks=2) as server:
        before = status_of(server)
        assert before["ready"] and not before["draining"]
        for row in samples(data)[:6]:
            assert server.post("/predict/model", {"input": row})[0] == 200
        wait_until(lambda: version_of(status_of(server))["shadowed"] == 6, 5, "the shadow has answered as well")
        after = status_of(server)
        one, two = version_of(after), version_of(after, version="2")
        assert (one["requests"], one["rows"], one["failed"]) == (6, 6, 0), one
        assert one["shadow_disagreed"] == 0 and two["requests"] == 6, two
        assert sum(one["latency"]["counts"]) == 6
        assert len(one["latency"]["counts"]) == len(after["latency_bounds_s"]) + 1
        assert one["input"] == [1, 8, 8] and one["is_image"] and one["outputs"] == 4
        model = after["models"][0]
        assert model["shadow_version"] == "2", model
        assert {"name": "stable", "version": "1", "percent": 100} in model["aliases"], model
        assert sum(r["rows"] for r in after["ranks"]["list"]) == 12 and after["ranks"]["up"]
        assert after["http"]["requests"] > before["http"]["requests"] and after["uptime_s"] > before["uptime_s"]


def test_a_version_that_cannot_be_loaded_says_why_without_paths_of_the_server(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    publish(t, checkpoint)
    t.write("models/model/config.json", '{"version_policy": "all"}')
    with open(t.path("models/model/2/model.h5"), "r+b") as file:
        file.seek(3000)
        file.write(b"damaged")
    with Server(t) as server:
        broken = version_of(status_of(server), version="2")
        assert broken["state"] == "UNAVAILABLE" and broken["reason"].startswith("model/2/model.h5: "), broken
        assert t.folder not in json.dumps(status_of(server))
        m = metrics(server)
        assert m.get("phalanx_model_state", version="2", state="UNAVAILABLE") == 1
        assert m.get("phalanx_model_state", version="1", state="READY") == 1


# --- the page


def test_the_page_comes_with_a_strict_policy_and_is_sent_once(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    kinds = {"": "text/html; charset=utf-8", "dashboard/style.css": "text/css; charset=utf-8",
             "dashboard/app.js": "text/javascript; charset=utf-8", "dashboard/icon.svg": "image/svg+xml"}
    with Server(t) as server:
        for name, kind in kinds.items():
            status, text, headers = server.get(f"/{name}")
            assert status == 200 and headers["Content-Type"] == kind, (name, status, headers)
            path = os.path.join(SOURCE, "src/serve/dashboard", os.path.basename(name) or "index.html")
            with open(path, "rb") as file:
                assert text == file.read(), name
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy, policy
            assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-cache"
            connection = server.connect()
            tag = {"If-None-Match": headers["ETag"]}
            status, text, headers = server.request("GET", f"/{name}", headers=tag, connection=connection)
            assert status == 304 and text == b"" and "Content-Length" not in headers, (status, headers)
            # The connection is as it should be behind an answer without a body.
            status, text, _ = server.request("GET", f"/{name}", headers={"If-None-Match": '"other"'}, connection=connection)
            assert status == 200 and text, status


def test_the_page_shows_numbers_that_change_under_load(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    with Server(t, ranks=2) as server, Browser() as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait("return document.querySelector('#state').textContent == 'Ready'", 10, "the page is ready")
        browser.wait("return document.querySelector('#tile-requests').textContent == '0'", 10, "the page shows no traffic")
        with Asking(server, "/predict/model", line_picture(1)):
            browser.wait("return Number(document.querySelector('#tile-requests').textContent.replace(',', '')) > 1", 15,
                         "the page shows requests per second")
            browser.wait("return /(µs|ms)$/.test(document.querySelector('#tile-p99').textContent)", 10, "it shows a latency")
            first = browser.text("#tile-requests"), browser.text("#tile-p50"), browser.text("#tile-p99")
            browser.wait("return document.querySelector('path.trace').getAttribute('d').split('L').length > 3", 10,
                         "the chart has a curve")
            browser.wait(f"return [...document.querySelectorAll('#tile-requests, #tile-p50, #tile-p99')]"
                         f".map((e) => e.innerText).join() != {json.dumps(','.join(first))}", 10, "the numbers change")
            row = browser.text("#models tbody tr")
            assert "model" in row and "Ready" in row and "default" in row, row
            assert len(browser.elements("#ranks tbody tr")) == 2 and "Up" in browser.text("#ranks")
            label = browser.run("return document.querySelector('svg[role=img]').getAttribute('aria-label')")
            assert re.search(r"Throughput.* Now: Requests [1-9]", label), label
        assert not browser.errors(), browser.errors()


# Statuses of a server that was asked 30 times a second, 3 rows each, and whose counters began again once.
FIVE_MINUTES = """
const { Samples, quantile } = await import('/dashboard/samples.js');
const samples = new Samples();
const status = (n) => ({
  http: { failed: 0 }, latency_bounds_s: [0.001, 0.002, 0.005],
  ranks: { list: [{ rank: 0, busy_s: n * 0.25, batches: n, rows: n * 3 }] },
  models: [{ name: 'm', versions: [{ version: '1', requests: n * 30, failed: n, rows: n * 90, batches: n, waiting_rows: 2,
             running_rows: 1, latency: { counts: [n * 10, n * 20, 0, 0] }, batch_rows: { 90: n } }] }],
});
for (let i = 0; i < 400; ++i) samples.add(status(i < 200 ? i : i - 199), i * 1000);
const recent = samples.recent('m/1', 5), all = samples.recent('', 5), other = samples.recent('x', 5);
return {
  kept: [samples.list.length, samples.points.length],
  rate: recent.requests / recent.seconds, rows: recent.rows / recent.seconds,
  same: JSON.stringify(recent) == JSON.stringify(all), other: other.requests, batches: [...recent.batchRows],
  busy: samples.ranks(5)[0].busy, p50: quantile(recent.latency, [0.001, 0.002, 0.005], 0.5),
  none: Number.isNaN(quantile([0, 0, 0, 0], [0.001, 0.002, 0.005], 0.5)), last: quantile([0, 0, 0, 9], [1, 2, 5], 0.5),
  rates: [Math.min(...samples.points.map(p => p.requests)), Math.max(...samples.points.map(p => p.requests))],
};
"""


def test_rates_and_quantiles_of_five_minutes_are_right(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    with Server(t) as server, Browser() as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        found = browser.run(f"return (async () => {{ {FIVE_MINUTES} }})()")
        assert found["kept"] == [301, 300], found
        assert abs(found["rate"] - 30) < 1e-9 and abs(found["rows"] - 90) < 1e-9, found
        assert found["same"] and found["other"] == 0 and found["batches"] == [[90, 5]], found
        assert abs(found["busy"] - 0.25) < 1e-9, found
        # A third lies below 1 ms: a quarter of the others is left up to the half.
        assert abs(found["p50"] - 1.25e-3) < 1e-9 and found["none"] and found["last"] == 5, found
        assert found["rates"] == [30, 30], f"a counter that began again makes no spike: {found}"


def test_the_page_says_that_the_server_is_gone(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    with Browser() as browser:
        with Server(t) as server:
            browser.open(f"http://127.0.0.1:{server.port}/")
            browser.wait("return document.querySelector('#state').textContent == 'Ready'", 10, "the page is ready")
        browser.wait("return document.querySelector('#state').textContent == 'Unreachable'", 15, "the page says so")


def test_the_page_asks_a_model(t):
    checkpoint, data = trained(t)
    table, rows = trained(t, "classification", output="table")
    publish(t, checkpoint, "lines")
    publish(t, table, "table")
    with Server(t) as server, Browser() as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait("return document.querySelectorAll('#try-model option').length >= 4", 10, "models are offered")
        expected = server.post("/predict/lines", line_picture(2))[1]
        assert expected["class"] == "2", expected
        browser.type("#try-file", t.write("line.png", line_picture(2)))
        browser.click("#try-form button")
        browser.wait("return document.querySelector('#class')", 10, "the class is shown")
        assert browser.text("#class") == "2", browser.text("#answer")
        assert len(browser.elements("#answer .bars li")) == 4 and "%" in browser.text("#answer .bars")
        # Another one, dropped.
        dropped = list(line_picture(3))
        browser.run("const files = new DataTransfer();"
                    "files.items.add(new File([new Uint8Array(arguments[0])], 'a.png', {type: 'image/png'}));"
                    "document.querySelector('#drop').dispatchEvent(new DragEvent('drop', {dataTransfer: files, bubbles: true,"
                    "cancelable: true}))", dropped)
        browser.wait("return document.querySelector('#preview').naturalWidth == 8", 10, "the image is shown")
        browser.click("#try-form button")
        browser.wait("return document.querySelector('#class').textContent == '3'", 10, "its class is shown")
        # Numbers, by keyboard alone.
        browser.run("const s = document.querySelector('#try-model');"
                    "s.value = [...s.options].findIndex(o => o.text == 'table');"
                    "s.dispatchEvent(new Event('change'))")
        assert "7 numbers" in browser.text("#try-hint"), browser.text("#try-hint")
        sample = samples(rows)[0]
        browser.type("#try-text", ", ".join(map(str, sample)) + TAB)
        browser.press(ENTER)
        wanted = server.post("/predict/table", {"input": sample})[1]["class"]
        browser.wait("return document.querySelector('#answer').innerText.includes('table, version 1')", 10, "it has answered")
        assert browser.text("#class") == wanted, browser.text("#answer")
        # What is wrong is said, with the server's text.
        browser.run("document.querySelector('#try-text').value = ''")
        browser.type("#try-text", "1 2 3")
        browser.click("#try-form button")
        browser.wait("return document.querySelector('#answer .error')", 10, "an error is shown")
        assert "expected [7]" in browser.text("#answer"), browser.text("#answer")
        browser.run("document.querySelector('#try-text').value = ''")
        browser.type("#try-text", "{broken")
        browser.click("#try-form button")
        browser.wait("return document.querySelector('#answer').innerText.includes('no JSON')", 10, "broken JSON is named")
        assert [e for e in browser.errors() if "400" not in e] == []


def test_every_control_is_reached_by_tab_and_has_a_name(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    with Server(t) as server, Browser() as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait("return document.querySelectorAll('#try-model option').length", 10, "the page is ready")
        kinds = "a[href], button, input, select, textarea, [tabindex='0']"
        visible = f"[...document.querySelectorAll(\"{kinds}\")].filter(e => e.checkVisibility())"
        browser.run(f"{visible}.forEach((e, i) => e.dataset.order = i); document.body.focus()")
        count = browser.run(f"return {visible}.length")
        reached = []
        for _ in range(count):
            browser.press(TAB)
            order, outline = browser.run("const e = document.activeElement; return [e.dataset.order ?? null,"
                                         "getComputedStyle(e).outlineStyle]")
            assert outline != "none", f"the focus on element {order} cannot be seen"
            reached.append(order)
        assert reached == [str(i) for i in range(count)], reached
        for element in browser.elements("a[href], button, input, select, textarea, svg[role=img], table, section, figure img"):
            name = browser.accessible_name(element)
            html, is_seen = browser.run("return [arguments[0].outerHTML.slice(0, 120), arguments[0].checkVisibility()]",
                                        {ELEMENT: element})
            assert name or not is_seen, f"no accessible name: {html}"
        assert browser.run("return [...document.querySelectorAll('h1, h2, h3')].map(e => e.tagName).join()").startswith("H1,H2")
        assert browser.run("return document.querySelectorAll('header, main, footer').length") == 3
        assert browser.run("return document.querySelector('#state').getAttribute('role')") == "status"
        assert browser.run("return [...document.querySelectorAll('thead th')].every(e => e.scope == 'col')")


# Of every text: its contrast to what is behind it, by WCAG 2.
CONTRASTS = """
const light = (c) => { const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                       return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest('script, noscript, option, .skip')) continue;
  let behind = e, back = [];
  for (; behind; behind = behind.parentElement) {
    back = parse(getComputedStyle(behind).backgroundColor);
    if (back.length == 3 || back[3] > 0) break;
  }
  const a = light(parse(getComputedStyle(e).color).slice(0, 3)), b = light(back.slice(0, 3));
  found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), walker.currentNode.data.trim()]);
}
return found.sort((x, y) => x[0] - y[0]);
"""


def test_the_page_can_be_read_on_a_phone_and_in_the_dark(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    with Server(t, ranks=2) as server, Browser() as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait("return document.querySelectorAll('#models tbody tr').length", 10, "the page is ready")
        browser.type("#try-file", t.write("line.png", line_picture(2)))
        browser.click("#try-form button")
        browser.wait("return document.querySelector('#class')", 10, "the class is shown")
        for width in 360, 768, 900, 1000, 1280:
            browser.resize(width, 800)
            wide = browser.run("return document.documentElement.scrollWidth")
            assert wide <= width, f"the page is {wide} px wide where there are {width}"
        for scheme in "light", "dark":
            browser.emulate(prefers_color_scheme=scheme)
            contrasts = browser.run(CONTRASTS)
            assert len(contrasts) > 60 and contrasts[0][0] >= 4.5, (scheme, contrasts[:3])
        browser.emulate(prefers_reduced_motion="reduce")
        moving = browser.run("return [...document.querySelectorAll('*')].filter(e =>"
                             "!/^(none|all 0s)/.test(getComputedStyle(e).transition) &&"
                             "parseFloat(getComputedStyle(e).transitionDuration) > 0).length")
        assert moving == 0, moving


def test_a_key_for_one_model_shows_no_other(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint, "lines")
    publish(t, checkpoint, "secret")
    keys = t.path("keys.json")
    key = re.search(r"phx_\w+", t.run("key", "create", "--keys", keys, "--name", "shop", "--models", "lines").text).group()
    with Server(t, "--keys", keys) as server:
        for path in "/metrics", "/status", "/openapi.json":
            assert server.get(path)[0] == 401, path
        assert server.get("/")[0] == 200
        bearer = {"Authorization": f"Bearer {key}"}
        for path in "/metrics", "/status":
            code, answer, _ = server.get(path, headers=bearer)
            text = answer.decode() if isinstance(answer, bytes) else json.dumps(answer)
            assert code == 200 and "lines" in text and "secret" not in text, (path, text)
        with Browser() as browser:
            browser.open(f"http://127.0.0.1:{server.port}/")
            browser.wait("return document.querySelector('#key-panel').checkVisibility()", 10, "the page asks for a key")
            browser.type("#key", key + ENTER)
            browser.wait("return document.querySelectorAll('#try-model option').length", 10, "models are offered")
            assert "secret" not in browser.text("body") and "lines" in browser.text("#models")
            browser.wait("return document.querySelector('#tile-requests').textContent == '0'", 10, "numbers are shown")
            assert browser.text("#restarts") == "All ranks are there" and socket.gethostname() not in browser.text("body")
            assert not browser.run("return document.querySelector('#ranks').checkVisibility()")
            browser.type("#try-file", t.write("line.png", line_picture(2)))
            browser.click("#try-form button")
            browser.wait("return document.querySelector('#class')?.textContent == '2'", 10, "the class is shown")


class KeyedProxy(http.server.ThreadingHTTPServer):
    """The server as one that wants a key for all but its page."""

    def __init__(self, port, key):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                is_page = self.path == "/" or self.path.startswith("/dashboard/")
                given = self.headers.get("Authorization")
                outer.seen.append((self.path, given))
                if not is_page and given != f"Bearer {key}":
                    return self.answer(401, "application/json", b'{"error":"a key is needed"}', {})
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", self.path)
                response = connection.getresponse()
                policy = {n: v for n, v in response.getheaders() if n == "Content-Security-Policy"}
                self.answer(response.status, response.getheader("Content-Type"), response.read(), policy)
                connection.close()

            def answer(self, status, kind, body, headers):
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        outer, self.seen = self, []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def test_the_page_asks_for_a_key_and_keeps_it_in_its_tab_only(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint)
    with Server(t) as server, Browser() as browser, KeyedProxy(server.port, "s3cret") as proxy:
        address = f"http://127.0.0.1:{proxy.server_address[1]}/"
        browser.open(address)
        browser.wait("return document.querySelector('#key-panel').checkVisibility()", 10, "the page asks for a key")
        assert browser.text("#state") == "Key needed"
        assert not browser.run("return document.querySelector('#models').checkVisibility()")
        asked = len(proxy.seen)
        time.sleep(2.5)
        assert len(proxy.seen) == asked, "without a key the page goes on asking"
        browser.type("#key", "wrong" + ENTER)
        browser.wait("return document.querySelector('#key-error').textContent", 10, "the page says that the key is wrong")
        browser.type("#key", "s3cret" + ENTER)
        browser.wait("return document.querySelector('#state').textContent == 'Ready'", 10, "the page is ready")
        assert not browser.run("return document.querySelector('#key-panel').checkVisibility()")
        kept = browser.run("return [Object.values(sessionStorage).join(), Object.values(localStorage).join(), document.cookie]")
        assert kept == ["s3cret", "", ""], kept
        browser.click("#forget-key")
        browser.wait("return document.querySelector('#key-panel').checkVisibility()", 10, "the page asks again")
        assert browser.run("return sessionStorage.length") == 0
        assert all("s3cret" not in path for path, _ in proxy.seen)
        proxy.shutdown()


if __name__ == "__main__":
    run_tests(globals())
