# SPDX-License-Identifier: Apache-2.0
"""Ranks, launchers and clients that go away, and strangers that come, at bad moments."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from attacking import MIB, Raw, head, resident, table_server
from serve_test import samples, trained
from serving import Server, publish
from support import SOURCE, children, is_alive, run_tests, wait_until


def front_name(server):
    """Of the socket at which ranks of this host find the front end."""
    with open(f"/proc/{server.rank_pids()[0]}/environ", "rb") as file:
        variables = dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)
    return variables[b"PHALANX_FRONT_ADDRESS"].split(b",")[0]


def is_mpirun(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().split(b"\0")[0].endswith(b"mpirun")


def test_a_server_that_is_told_twice_ends_cleanly_with_requests_in_progress(t):
    checkpoint, data = trained(t)
    publish(t, checkpoint)
    with Server(t) as server:
        # One waits for a rank that hangs; of the others the tensors, which have their places, are still to come.
        os.kill(server.rank_pids()[0], signal.SIGSTOP)
        body = json.dumps({"input": samples(data)[0]})
        text = json.dumps({"inputs": [{"name": "input", "shape": [64, 1, 8, 8], "datatype": "FP32",
                                       "parameters": {"binary_data_size": 16384}}]})
        declared = head(f"Content-Length: {len(text) + 16384}", f"Inference-Header-Content-Length: {len(text)}",
                        request="POST /v2/models/model/infer HTTP/1.1") + text
        waiting = [Raw(server).send(head(f"Content-Length: {len(body)}"), body) for _ in range(8)]
        waiting += [Raw(server).send(declared) for _ in range(8)]
        wait_until(lambda: b"\nphalanx_http_requests_in_progress 17\n" in server.get("/metrics")[1], 5, "all are in progress")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(2.3)
        assert server.process.poll() is None, "it waits for the requests"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0, server.process.returncode
        for raw in waiting:
            assert raw.answer()[0] == 0


def test_strangers_take_little_memory_and_do_not_keep_ranks_away(t):
    with table_server(t, ranks=2) as (server, sample):
        name = b"\0" + front_name(server)
        before = resident(server)
        strangers = []
        for k in range(1100):
            stranger = socket.socket(socket.AF_UNIX)
            stranger.settimeout(5)
            stranger.connect(name)
            # A header that promises a gigabyte, of some kind.
            try:
                stranger.sendall(struct.pack("<IIQ", k % 8, 0, 1 << 30) + b"{" if k < 64 else b"")
            except BrokenPipeError:
                pass
            strangers.append(stranger)
        assert server.post("/predict/model", {"input": sample})[0] == 200
        grown = resident(server) - before
        assert grown < 160 * MIB, f"strangers took {grown / MIB:.0f} MiB"
        os.kill(server.rank_pids()[0], signal.SIGKILL)
        wait_until(lambda: not server.is_ready(), 5, "the rank is missed")
        server.wait_ready()
        assert server.post("/predict/model", {"input": sample})[0] == 200
        for stranger in strangers:
            stranger.close()


def test_ranks_whose_launcher_is_gone_are_ended(t):
    """A rank that goes on later would write an answer where another request's is by then."""
    with table_server(t, ranks=2) as (server, sample):
        ranks = server.rank_pids()
        launcher = next(pid for pid in children(server.process.pid) if is_mpirun(pid))
        for rank in ranks:
            os.kill(rank, signal.SIGSTOP)
        os.kill(launcher, signal.SIGKILL)
        wait_until(lambda: not server.is_ready(), 5, "the ranks are missed")
        server.wait_ready()
        assert not set(server.rank_pids()) & set(ranks)
        wait_until(lambda: not any(is_alive(pid) for pid in ranks), 5, "the old ranks are gone")
        assert server.post("/predict/model", {"input": sample})[0] == 200


def test_a_model_that_is_taken_off_while_it_is_loaded_again_takes_no_memory(t):
    data = t.table(rows=300, kind="classification", name="classification")
    config = t.config(f"model = mlp\nhidden = 3000 3000\nbatch-size = 16\ndata = {data}\n")
    t.run("train", config, "--output", t.path("run"), "--max-steps", 1)
    publish(t, t.newest("run"))
    with Server(t) as server:

        def memory():
            with open(f"/proc/{server.rank_pids()[0]}/status", encoding="utf-8") as file:
                return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024

        def state():
            return [v.get("state") for v in server.post("/v2/repository/index")[1]]

        loaded, hits = memory(), 0
        for _ in range(5):
            os.kill(server.rank_pids()[0], signal.SIGKILL)
            wait_until(lambda: state() != ["READY"], 5, "the rank is missed")
            wait_until(lambda: state() != ["UNAVAILABLE"], 20, "the model is loaded again")
            was = state()
            assert server.post("/v2/repository/models/model/unload")[0] == 200
            time.sleep(1.5)
            assert state() == [None], state()
            grown = memory()
            assert grown < loaded - 20 * MIB, f"{was}: the rank has {grown / MIB:.0f} MiB, with the model {loaded / MIB:.0f}"
            hits += was == ["LOADING"]
            assert server.post("/v2/repository/models/model/load")[0] == 200 and state() == ["READY"]
        assert hits > 0, "it was never taken off in time"


def halves(sample):
    """A request in two pieces."""
    body = json.dumps({"input": sample})
    return head(f"Content-Length: {len(body)}") + body[:10], body[10:]


def in_progress(server):
    return int(re.search(rb"\nphalanx_http_requests_in_progress (\d+)\n", server.get("/metrics")[1]).group(1)) - 1


def test_a_version_that_goes_answers_requests_whose_body_is_still_to_come(t):
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    first, rest = halves(samples(data)[0])
    with Server(t) as server:

        def begun():
            raw = Raw(server).send(first)
            wait_until(lambda: in_progress(server) == 1, 5, "the head is read")
            return raw

        def version(raw):
            status, _, answer = raw.send(rest).answer()
            raw.socket.close()
            return status == 200 and json.loads(answer)["version"]

        replaced = begun()
        publish(t, checkpoint)
        assert server.post("/v2/repository/models/model/load")[0] == 200
        assert version(begun_again := Raw(server).send(first)) == "2", begun_again
        time.sleep(0.3)
        assert version(replaced) == "1"
        taken_off = begun()
        with ThreadPoolExecutor() as pool:
            unload = pool.submit(server.post, "/v2/repository/models/model/unload")
            wait_until(lambda: server.post("/predict/model", rest)[0] == 404, 5, "nobody new finds it")
            time.sleep(0.3)
            assert not unload.done(), "it waits for the last request"
            assert version(taken_off) == "2"
            assert unload.result(5)[0] == 200


def test_a_request_whose_ranks_were_lost_before_its_body_came_may_come_again(t):
    data = t.table(rows=300, kind="classification", name="classification")
    config = t.config(f"model = mlp\nhidden = 3000 3000\nbatch-size = 16\ndata = {data}\n")
    t.run("train", config, "--output", t.path("run"), "--max-steps", 1)
    publish(t, t.newest("run"))
    first, rest = halves(samples(data)[0])
    with Server(t) as server:
        ready_on_two, hits = [Raw(server).send(first) for _ in range(2)], 0
        for raw in ready_on_two:
            wait_until(lambda: in_progress(server) >= 1, 5, "the head is read")
            os.kill(server.rank_pids()[0], signal.SIGKILL)
            wait_until(lambda: not server.is_ready(), 5, "the rank is missed")
            wait_until(lambda: b'state="LOADING"} 1' in server.get("/metrics")[1], 20, "the model is loaded again")
            status, headers, answer = raw.send(rest).answer()
            assert status == 503 and int(headers["retry-after"]) >= 1, (status, answer)
            hits += b"not loaded" in answer
            server.wait_ready()
        assert hits > 0, "it never came while the model was loaded"
        assert Raw(server).send(first, rest).answer()[0] == 200


def test_requests_that_wait_when_the_last_ranks_are_lost_are_told_so_at_once(t):
    with table_server(t) as (server, sample):
        first, rest = halves(sample)
        rank = server.rank_pids()[0]
        os.kill(rank, signal.SIGSTOP)
        waiting = [Raw(server).send(first, rest) for _ in range(4)]
        late = Raw(server).send(first)
        wait_until(lambda: in_progress(server) == 5, 5, "all are in progress")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "taking no more requests" in server.text(), 5, "the server drains")
        time.sleep(0.5)
        begin = time.monotonic()
        os.kill(rank, signal.SIGKILL)
        for raw in waiting:
            assert raw.answer()[0] == 503
        assert late.send(rest).answer()[0] == 503
        assert server.process.wait(5) == 0, server.text()
        assert time.monotonic() - begin < 3 and "again" not in server.text(), server.text()


def test_a_model_is_taken_off_when_the_last_client_that_waited_for_it_leaves(t):
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    publish(t, checkpoint, "other")
    first, rest = halves(samples(data)[0])
    with Server(t) as server, ThreadPoolExecutor() as pool:
        rank = server.rank_pids()[0]
        os.kill(rank, signal.SIGSTOP)
        busy = Raw(server).send(first.replace("/model", "/other"), rest)
        wait_until(lambda: b'running_rows{model="other",version="1"} 1' in server.get("/metrics")[1], 5, "the rank is busy")
        last = Raw(server).send(first, rest)
        wait_until(lambda: b'waiting_rows{model="model",version="1"} 1' in server.get("/metrics")[1], 5, "one waits")
        unload = pool.submit(server.post, "/v2/repository/models/model/unload")
        wait_until(lambda: server.post("/predict/model", rest)[0] == 404, 5, "nobody new finds it")
        last.socket.close()
        assert unload.result(3)[0] == 200
        os.kill(rank, signal.SIGCONT)
        assert busy.answer()[0] == 200


def test_strangers_whose_first_message_is_too_long_are_in_the_log(t):
    with table_server(t) as (server, _):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(5)
            stranger.connect(b"\0" + front_name(server))
            stranger.sendall(struct.pack("<IIQ", 1, 0, 65537))
            assert stranger.recv(1) == b""
        wait_until(lambda: "a message of 65537 bytes" in server.text(), 5, "the log says so")


def test_a_launcher_comes_with_the_number_of_its_ranks(t):
    checkpoint, _ = trained(t, "classification")
    publish(t, checkpoint)
    flags = ("serve", "--check", "--port", 0, "--repository", t.path("models"), "--launch", "srun -n 4")
    t.run(*flags, code=2).says("ranks: launch starts ranks of its own")
    t.run(*flags, "--ranks", 4)


def test_a_job_starts_a_rank_for_each_of_its_tasks_or_nodes(t):
    echo = t.write("echo.sh", '#!/bin/sh\necho "$@"\n')
    os.chmod(echo, 0o755)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "PHALANX_"))}
    for variables, ranks in ({"SLURM_JOB_ID": "1", "SLURM_NNODES": "3"}, 3), \
            ({"SLURM_JOB_ID": "1", "SLURM_NNODES": "3", "SLURM_NTASKS": "6"}, 6), ({"PHALANX_HOSTS": "a:2,b"}, 3):
        done = subprocess.run([os.path.join(SOURCE, "launch", "job.sh"), "serve", "--port", "0"], capture_output=True,
                              text=True, timeout=30, check=True, env={**plain, **variables, "PHALANX_BINARY": echo})
        assert re.match(rf"serve --ranks {ranks} --launch (srun|mpirun) .*-n {ranks} --port 0\n", done.stdout), done.stdout


def test_tls_clients_that_leave_take_their_requests_with_them(t):
    certificate, key = t.path("cert.pem"), t.path("key.pem")
    make = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost".split()
            + ["-keyout", key, "-out", certificate])
    subprocess.run(make, capture_output=True, timeout=30, check=True)
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    context = ssl.create_default_context(cafile=certificate)
    body = json.dumps({"input": samples(data)[0]})

    def ask(request, body=""):
        plain = socket.create_connection(("127.0.0.1", server.port), 10)
        wrapped = context.wrap_socket(plain, server_hostname="localhost")
        wrapped.sendall((head(f"Content-Length: {len(body)}", request=request) + body).encode())
        return wrapped

    def cancelled():
        with ask("GET /status HTTP/1.1") as connection:
            response = http.client.HTTPResponse(connection)
            response.begin()
            models = json.loads(response.read())["models"]
            return sum(v["cancelled"] for m in models for v in m["versions"])

    def is_answered():
        with ask("POST /predict/model HTTP/1.1", body) as connection:
            return connection.recv(65536).startswith(b"HTTP/1.1 200")

    with Server(t, "--certificate", certificate, "--key", key, ready=False) as server:
        wait_until(is_answered, 40, "the server is ready")
        rank = server.rank_pids()[0]
        os.kill(rank, signal.SIGSTOP)
        connections = [ask("POST /predict/model HTTP/1.1", body) for _ in range(4)]
        time.sleep(0.5)
        connections[0].close()  # without saying so
        for connection in connections[1:3]:
            connection.settimeout(0.2)
            try:
                connection.unwrap()  # the end of TLS, which is no end of the connection, comes first
            except OSError:
                pass
            connection.close()
        wait_until(lambda: cancelled() == 3, 5, "three have gone")
        os.kill(rank, signal.SIGCONT)
        assert connections[3].recv(65536).startswith(b"HTTP/1.1 200")


def test_requests_behind_others_are_dropped_when_they_are_late_or_nobody_waits(t):
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    row = samples(data)[0]

    def ask(milliseconds):
        body = json.dumps({"inputs": [{"name": "input", "shape": [1, len(row)], "datatype": "FP32", "data": row}],
                           "parameters": {"timeout": 1000 * milliseconds}})
        connection = socket.create_connection(("127.0.0.1", server.port), 10)
        connection.sendall((head(f"Content-Length: {len(body)}", request="POST /v2/models/model/infer HTTP/1.1")
                            + body).encode())
        return connection

    def waiting():
        return sum(v["waiting_rows"] for m in server.get("/status")[1]["models"] for v in m["versions"])

    with Server(t) as server:
        with ask(5000) as first:
            assert first.recv(65536).startswith(b"HTTP/1.1 200"), "the test's own requests are right"
        rank = server.rank_pids()[0]
        os.kill(rank, signal.SIGSTOP)
        running = ask(9000)
        wait_until(lambda: waiting() == 0, 5, "the first request runs")
        patient, hasty, leaving = ask(9000), ask(400), ask(9000)
        wait_until(lambda: waiting() == 3, 5, "three wait")
        leaving.close()
        wait_until(lambda: waiting() <= 2, 5, "the one whose client left is gone")
        hasty.settimeout(5)
        answer = hasty.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503") and b"deadline" in answer, answer
        assert waiting() == 1, waiting()
        os.kill(rank, signal.SIGCONT)
        for connection in running, patient:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            connection.close()


if __name__ == "__main__":
    run_tests(globals())
