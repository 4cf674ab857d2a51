# SPDX-License-Identifier: Apache-2.0
"""What stands between a server and the world: keys, limits, browsers, TLS."""

import json
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

from attacking import MIB, Raw, ask, attacked, head, table_server
from serve_test import samples, trained
from serving import Server, publish
from support import run_tests, wait_until


# --- keys, limits, browsers


def make_key(t, name, *flags, file="keys.json"):
    command = [t.binary, "key", "create", "--keys", t.path(file), "--name", name, *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_no_route_but_health_answers_without_a_valid_key(t):
    key = make_key(t, "someone")
    admin = make_key(t, "operator", "--access", "admin")
    assert os.stat(t.path("keys.json")).st_mode & 0o777 == 0o600
    with open(t.path("keys.json"), encoding="utf-8") as file:
        assert key not in file.read()
    t.run("key", "create", "--keys", t.path("keys.json"), "--name", "someone", code=3).says("has a key 'someone' already")
    t.run("key", "list", "--keys", t.path("keys.json")).says("someone +infer, all models", "operator +admin")
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    sample = samples(data)[0]
    body = json.dumps({"input": sample})
    with Server(t, "--keys", t.path("keys.json")) as server, attacked(server, sample, headers=bearer(key)):
        assert server.get("/healthz")[0] == 200
        for method, path in (("POST", "/predict/model"), ("POST", "/predict/model/1"), ("GET", "/predict/model"),
                             ("GET", "/v2"), ("GET", "/v2/models/model"), ("GET", "/v2/models/model/config"),
                             ("GET", "/v2/models/stats"),
                             ("POST", "/v2/models/model/infer"), ("POST", "/v2/models/model/versions/1/infer"),
                             ("POST", "/v2/repository/index"), ("POST", "/v2/repository/models/model/load"),
                             ("POST", "/v2/repository/models/model/unload"), ("GET", "/v2/logging"), ("POST", "/v2/logging"),
                             ("GET", "/metrics"), ("GET", "/v1/models"), ("GET", "/nothing"), ("DELETE", "/predict/model"),
                             ("OPTIONS", "/predict/model"), ("HEAD", "/predict/model"), ("TRACE", "/predict/model"),
                             ("POST", "//predict/model"), ("POST", "/predict//model"), ("POST", "/predict/model/"),
                             ("POST", "/PREDICT/model"), ("POST", "/%70redict/model"), ("POST", "/predict/model?key=" + key),
                             ("POST", "/healthz/../predict/model"), ("POST", "/healthz%2f..%2fpredict/model"),
                             ("POST", "/healthz"), ("GET", "/healthz/x"), ("GET", "/HEALTHZ")):
            for lines in [], ["Authorization: Bearer " + "phx_" + "0" * 64], ["Authorization: Bearer"], \
                    ["Authorization: Bearer " + key.upper()], [f"Authorization: Bearer {key}x"], \
                    ["Authorization: Bearer " + key[:-1]], ["Authorization: Basic " + key], ["Authorization: " + key], \
                    ["X-API-Key: " + key[:-1]], ["X-API-Key:"], [f"Authorization: Bearer {key} {key}"], \
                    [f"Authorization: Bearer {key}", f"X-API-Key: {key}x"], [f"X-API-Key: {key}x", f"X-API-Key: {key}"]:
                status, headers, _ = ask(server, head("Connection: close", f"Content-Length: {len(body)}", *lines,
                                                      request=f"{method} {path} HTTP/1.1"), body)
                assert status == 401 and headers["www-authenticate"] == "Bearer", (method, path, lines, status)
        for headers in bearer(key), {"authorization": f"bearer   {key}  "}, {"X-API-Key": key}, bearer(admin):
            assert server.post("/predict/model", body, headers=headers)[0] == 200, headers
        assert server.post("/v2/repository/models/model/load", {}, headers=bearer(key))[0] in (403, 404)
        assert server.get("/nothing", headers=bearer(key))[0] == 404
        assert server.get("/predict/model", headers=bearer(key))[0] == 405
        # Named in the access log, never written.
        wait_until(lambda: '"key":"operator"' in server.text(), 5, "the log names the key")
        assert key not in server.text() and admin not in server.text()


def test_keys_see_their_models_only_and_changes_of_the_file_count(t):
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    publish(t, checkpoint, "secret")
    keys = t.path("keys.json")
    key = make_key(t, "someone", "--models", "model")
    other = make_key(t, "other", "--models", "secret", "--access", "admin")
    sample = {"input": samples(data)[0]}
    with Server(t, "--keys", keys) as server, attacked(server, sample["input"], headers=bearer(key)):
        hidden = server.post("/predict/secret", sample, headers=bearer(key))
        nothing = server.post("/predict/nosuch", sample, headers=bearer(key))
        assert hidden[0] == nothing[0] == 404
        assert hidden[1]["error"] == nothing[1]["error"].replace("nosuch", "secret"), (hidden, nothing)
        assert server.post("/predict/secret/1", sample, headers=bearer(key))[0] == 404
        assert server.post("/predict/model", sample, headers=bearer(other))[0] == 404
        assert server.post("/predict/secret", sample, headers=bearer(other))[0] == 200
        for path in "/status", "/metrics", "/v2/models/stats":
            for mine, user in (b"model", key), (b"secret", other):
                connection = server.connect()
                connection.request("GET", path, headers=bearer(user))
                listed = connection.getresponse().read().replace(b"model_", b"").replace(b"models", b"")
                assert (b'"model"' in listed, b'"secret"' in listed) == (mine == b"model", mine == b"secret"), (path, listed)
        late = make_key(t, "late")
        wait_until(lambda: server.post("/predict/model", sample, headers=bearer(late))[0] == 200, 5, "a new key is taken")
        t.run("key", "revoke", "--keys", keys, "--name", "late")
        wait_until(lambda: server.post("/predict/model", sample, headers=bearer(late))[0] == 401, 5, "a revoked key is refused")
        with open(keys, encoding="utf-8") as file:
            good = file.read()
        for bad in "{", '{"keys": [{"name": "x"}]}', good.replace('"infer"', '"root"'), good.replace('"sha256"', '"sha"'):
            before = server.text().count("the keys stay as they were")
            t.write("keys.json", bad)
            wait_until(lambda: server.text().count("the keys stay as they were") > before, 5, "the file is refused")
            assert server.post("/predict/model", sample, headers=bearer(key))[0] == 200
        t.write("keys.json", good.replace('"name": "other",', '"name": "other", "expires": "2020-01-01T00:00:00Z",'))
        wait_until(lambda: server.post("/predict/secret", sample, headers=bearer(other))[0] == 401, 5, "an old key is refused")
    t.run("serve", "--repository", t.path("models"), "--keys", t.write("none.json", "{}"), code=3).says("/keys is missing")
    t.run("serve", "--check", "--port", 0, "--repository", t.path("models"), "--keys", t.path("none.json"),
          code=3).says("/keys is missing")


def test_keys_that_may_only_ask_are_not_told_of_the_servers_inside(t):
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    publish(t, checkpoint)
    t.write("models/model/config.json", '{"version_policy": "all"}')
    with open(t.path("models/model/2/model.h5"), "r+b") as file:
        file.write(b"damaged")
    shop, operator = make_key(t, "shop"), make_key(t, "operator", "--access", "admin")
    sample = {"input": samples(data)[0]}
    with Server(t, "--keys", t.path("keys.json"), "--triton-metrics") as server:
        host = socket.gethostname()
        inside = [host, t.folder, "model.h5", *map(str, server.rank_pids())]
        assert server.post("/predict/model", sample, headers=bearer(shop))[0] == 200

        def text(path, key, method="GET"):
            connection = server.connect()
            connection.request(method, path, headers=bearer(key))
            response = connection.getresponse()
            answer = response.read().decode()
            connection.close()
            return response.status, answer

        status = json.loads(text("/status", shop)[1])
        assert status["ready"] and status["ranks"] == {"up": True}, status
        assert not {"http", "memory", "cpu_s"} & set(status), status
        one, two = status["models"][0]["versions"]
        assert (one["version"], one["state"], one["requests"], sum(one["latency"]["counts"])) == ("1", "READY", 1, 1), one
        assert two["state"] == "UNAVAILABLE" and not {"reason", "memory_bytes", "load_s"} & set(two), two
        page = text("/metrics", shop)[1]
        assert 'phalanx_requests_total{model="model",version="1",status="200"} 1\n' in page, page
        assert "\nphalanx_ready 1\n" in page and "\nphalanx_ranks_up 1\n" in page
        for name in "phalanx_rank_", "phalanx_http_", "phalanx_process_", "phalanx_request_memory", "phalanx_build_info", \
                "phalanx_connections", "phalanx_model_memory", "phalanx_start":
            assert name not in page, name
        # The same holds for all that a key may ask about, also where it is refused.
        document = json.loads(text("/openapi.json", shop)[1])
        for path, methods in document["paths"].items():
            real = path.replace("{model}", "model").replace("{version}", "2")
            for method in methods:
                answer = text(real, shop, method.upper())[1]
                if path == "/" or path.startswith("/dashboard/"):
                    continue
                for word in inside:
                    assert not re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", answer), (method, real, word, answer)
        assert "nv_model_load" not in page and 'nv_inference_count{model="model",version="1"} 1\n' in page, page
        for path in "/v2/models/stats", "/v2/models/model/stats", "/v2/models/model/versions/1/stats":
            for key, ranks in (shop, []), (operator, [0]):
                stats = json.loads(text(path, key)[1])["model_stats"][0]
                assert stats["execution_count"] == 1 and [m["id"] for m in stats["memory_usage"]] == ranks, (path, stats)
        status = json.loads(text("/status", operator)[1])
        assert [r["host"] for r in status["ranks"]["list"]] == [host] and status["http"]["requests"] > 0, status
        assert status["models"][0]["versions"][1]["reason"] and status["memory"]["requests_bytes"] > 0, status
        page = text("/metrics", operator)[1]
        assert f'phalanx_rank_up{{rank="0",host="{host}"' in page and "\nphalanx_http_requests_total{" in page, page
        assert "\nnv_model_load_duration_secs{" in page, page
        assert "\nphalanx_model_memory_bytes{" in page and "\nphalanx_process_resident_bytes " in page, page


def test_a_flooding_client_is_held_back_and_others_are_not(t):
    flood, calm = make_key(t, "flood", "--requests-per-second", 20), make_key(t, "calm")
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    sample = {"input": samples(data)[0]}
    flags = ("--keys", t.path("keys.json"), "--requests-per-second", 1000, "--max-connections-per-client", 200)
    with Server(t, *flags) as server, attacked(server, sample["input"], headers=bearer(calm)):
        counts, ends = {}, threading.Event()

        def rush():
            connection = server.connect()
            while not ends.is_set():
                status, _, headers = server.post("/predict/model", sample, headers=bearer(flood))
                counts[status] = counts.get(status, 0) + 1
                assert status != 429 or int(headers["Retry-After"]) >= 1, headers
            connection.close()

        rushers = [threading.Thread(target=rush, daemon=True) for _ in range(4)]
        begin = time.monotonic()
        for rusher in rushers:
            rusher.start()
        times = []
        for _ in range(60):
            start = time.monotonic()
            assert server.post("/predict/model", sample, headers=bearer(calm))[0] == 200
            times.append(time.monotonic() - start)
            time.sleep(0.02)
        ends.set()
        for rusher in rushers:
            rusher.join(10)
        seconds = time.monotonic() - begin
        print(f"{counts} in {seconds:.1f} s, the other waited at most {1000 * max(times):.0f} ms")
        assert set(counts) == {200, 429} and counts[429] > counts[200], counts
        assert counts[200] <= 20 * (seconds + 1) + 4, (counts, seconds)
        assert max(times) < 2, max(times)
        # Whoever tries keys is held back by address, before the body is read.
        statuses = [ask(server, head(f"Content-Length: {60 * MIB}", "Authorization: Bearer x"))[0] for _ in range(20)]
        assert set(statuses) <= {401, 429}, statuses
        # More connections than one address may have.
        many = [Raw(server) for _ in range(400)]
        answers = [raw.send(head(request="GET /healthz HTTP/1.1")).answer() for raw in many]
        statuses = [status for status, _, _ in answers]
        assert statuses.count(200) <= 200 and statuses.count(200) > 0 and set(statuses) <= {200, 429, 0}, set(statuses)
        refused_headers = next((h for s, h, _ in answers if s == 429), None)
        assert refused_headers is None or int(refused_headers["retry-after"]) >= 1
        for raw in many:
            raw.socket.close()
        wait_until(lambda: server.is_ready(), 5, "others get through again")


def test_clients_that_leave_take_their_requests_with_them(t):
    with table_server(t) as (server, sample), attacked(server, sample, 32 * MIB):
        body = json.dumps({"input": [sample] * 60})
        for round_ in range(200):
            raw = Raw(server).send(head(f"Content-Length: {len(body)}"), body if round_ % 3 else body[:100])
            if round_ % 2:
                raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
            raw.socket.close()
        # Answers that nobody reads.
        deaf = [Raw(server) for _ in range(20)]
        for raw in deaf:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.send(*[head(f"Content-Length: {len(body)}") + body] * 5)
        assert server.post("/predict/model", {"input": sample})[0] == 200
        for raw in deaf:
            raw.socket.close()
        descriptors = f"/proc/{server.process.pid}/fd"
        wait_until(lambda: len(os.listdir(descriptors)) < 40, 10, "connections are closed")


def test_nothing_of_a_request_gets_into_headers_or_log_lines(t):
    with table_server(t) as (server, sample), attacked(server, sample):
        for name in "a%0d%0aX-Injected:%201", 'a%22%7d%0a%7b%22status%22:200', "a%1b[31m", "%e2%80%ae":
            status, headers, body = ask(server, head("Content-Length: 2", "X-Request-Id: a b\"",
                                                     request=f"POST /predict/{name} HTTP/1.1"), "{}")
            assert status == 404 and "x-injected" not in headers, (name, headers)
            assert "error" in json.loads(body)
            assert re.fullmatch(r"[\w.-]{1,64}", headers["x-request-id"]), headers
        status, headers, _ = ask(server, head("X-Request-Id: " + "x" * 65, request="GET /healthz HTTP/1.1"))
        assert status == 200 and headers["x-request-id"] != "x" * 65
        assert ask(server, head("X-Request-Id: mine.1", request="GET /healthz HTTP/1.1"))[1]["x-request-id"] == "mine.1"
        marker = "payload_marker_42"
        server.post("/predict/model", {"input": sample, "note": marker})
        server.post("/predict/model", '{"input": "' + marker + '"}')
        wait_until(lambda: "mine.1" in server.text(), 5, "the log is written")
        assert marker not in server.text()
        for line in server.text().splitlines():
            assert "\x1b" not in line and not line.startswith("X-Injected"), line
            if line.startswith('{"time"'):
                assert json.loads(line)["status"] in (200, 400, 404), line


def test_scripts_of_other_sites_get_nothing(t):
    with table_server(t, "--allow-host", "models.example", "--allow-host", "*.inner.example") as (server, sample), \
            attacked(server, sample):
        body = json.dumps({"input": sample})

        def post(host, *lines, request="POST /predict/model HTTP/1.1"):
            return ask(server, head("Connection: close", f"Content-Length: {len(body)}", *lines, request=request,
                                    host=f"Host: {host}"), body)

        for host in "localhost", f"localhost:{server.port}", "127.0.0.1:80", "[::1]:8000", "10.1.2.3", "MODELS.example", \
                "a.inner.example:8000", socket.gethostname():
            assert post(host)[0] == 200, host
        for host in "evil.example", "localhost.evil.example", "models.example.evil", "inner.example", "xinner.example", \
                "127.0.0.1.evil.example", "[::1", "localhost:80:80", "localhost:x", "localhost@evil.example", "*", "0x7f.1":
            assert post(host)[0] in (400, 403), host
            assert post(host, request="GET /healthz HTTP/1.1")[0] in (400, 403), host
        for origin in "http://evil.example", "null", "https://localhost.evil.example", "http://localhost:1", "file://", \
                "localhost":
            status, headers, _ = post("localhost", f"Origin: {origin}")
            assert status == 403 and not any(h.startswith("access-control") for h in headers), (origin, status, headers)
        assert post("localhost", "Origin: http://localhost")[0] == 200
        status, headers, _ = post("localhost", "Origin: http://evil.example", "Access-Control-Request-Method: POST",
                                  request="OPTIONS /predict/model HTTP/1.1")
        assert status in (403, 405) and not any(h.startswith("access-control") for h in headers), (status, headers)
        # Clients that are no browsers say such things without an origin.
        assert post("localhost", "Sec-Fetch-Mode: cors", "Accept-Language: *")[0] == 200


def test_tls_refuses_what_is_no_tls(t):
    certificate, key = t.path("cert.pem"), t.path("key.pem")
    make = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost".split()
            + ["-keyout", key, "-out", certificate])
    made = subprocess.run(make, capture_output=True, timeout=30, check=False)
    assert made.returncode == 0, made.stderr
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    flags = ("--certificate", certificate, "--key", key)
    t.run("serve", "--check", "--port", 0, "--repository", t.path("models"), *flags).says("certificate .*: valid")
    t.run("serve", "--check", "--port", 0, "--repository", t.path("models"), "--certificate", certificate, "--key", certificate,
          code=3)
    context = ssl.create_default_context(cafile=certificate)
    body = json.dumps({"input": samples(data)[0]})
    with Server(t, *flags, ready=False) as server:
        def post(use):
            with socket.create_connection(("127.0.0.1", server.port), 10) as plain, \
                    use.wrap_socket(plain, server_hostname="localhost") as wrapped:
                wrapped.sendall((head("Connection: close", f"Content-Length: {len(body)}") + body).encode())
                return wrapped.recv(65536)

        def is_answered():
            return post(context).startswith(b"HTTP/1.1 200")

        wait_until(is_answered, 40, "the server is ready")
        for raw in b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"\xff" * 512, bytes(1000):
            assert Raw(server).send(raw).is_closed()
        old = ssl.create_default_context(cafile=certificate)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            post(old)
            raise AssertionError("TLS 1.2 was accepted")
        except ssl.SSLError:
            pass
        assert is_answered()


if __name__ == "__main__":
    run_tests(globals())
