# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of the server share: a trained network, a running server, load by wrk."""

import http.client
import os
import random
import re
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
               "OMPI_MCA_hwloc_base_binding_policy": "none", "OMP_WAIT_POLICY": "passive"}


def run(*words):
    done = subprocess.run([str(w) for w in words], cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{done.stdout}")
    return done.stdout


def publish_cifar10_cnn(binary, folder, name="cifar10", config=None):
    """The network of configs/cifar10_cnn.cfg after one step on made-up images, in a repository of `folder`."""
    batches = os.path.join(folder, "batches")
    if not os.path.exists(batches):
        os.makedirs(batches)
        values = random.Random(1)
        for file in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
            with open(os.path.join(batches, file), "wb") as out:
                for i in range(64):
                    out.write(bytes([i % 10]) + values.randbytes(3072))
        with open(os.path.join(batches, "batches.meta.txt"), "w", encoding="utf-8") as out:
            out.write("".join(f"class {i}\n" for i in range(10)))
        run(binary, "data", "import", "cifar10", batches, "--output", os.path.join(folder, "cifar10.h5"))
    output = os.path.join(folder, f"run_{name}")
    run(binary, "train", config or "configs/cifar10_cnn.cfg", "--data", os.path.join(folder, "cifar10.h5"), "--output",
        output, "--max-steps", "1", "--batch-size", "32", "--test-split", "")
    checkpoint = os.path.join(output, "checkpoints", sorted(os.listdir(os.path.join(output, "checkpoints")))[-1])
    run(binary, "publish", "--checkpoint", checkpoint, "--repository", os.path.join(folder, "models"), "--name", name)
    return os.path.join(folder, "models"), checkpoint


class Process:
    """A server that listens on a port; ends with the context."""

    def __init__(self, words, port=None, path="/healthz"):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(w) for w in words], cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        self.port = port
        while not self._is_ready(path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{words[0]} does not serve:\n{self.text()}")
            time.sleep(0.1)

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def _is_ready(self, path):
        if self.port is None:
            found = re.search(r"on http://[^ ]*:(\d+);", self.text())
            if not found:
                return False
            self.port = int(found.group(1))
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            connection.request("GET", path)
            text = connection.getresponse().read()
            return path != "/healthz" or b'"ready":true' in text
        except OSError:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve(binary, repository, *flags, ranks=2):
    return Process([binary, "serve", "--repository", repository, "--port", 0, "--address", "127.0.0.1", "--ranks", ranks,
                    "--access-log", "", *flags])


UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def wrk(url, body, connections=8, seconds=5, headers=(), delay=0.0):
    """(requests/s, p50, p99 in seconds, answers that were no success) by wrk, with one thread; `delay`: seconds, on average,
    between an answer and the next request of a connection."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "body"), "wb") as file:
            file.write(body)
        script = os.path.join(folder, "post.lua")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f'wrk.method = "POST"\nwrk.body = io.open("{folder}/body", "rb"):read("*a")\n')
            if delay > 0:
                file.write(f"function delay() return {2e3 * delay} * math.random() end\n")
            for name, value in headers:
                file.write(f'wrk.headers["{name}"] = "{value}"\n')
        text = run("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", script, url)

    def quantile(percent):
        number, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)", text).groups()
        return float(number) * UNITS[unit]

    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    failed += sum(map(int, re.findall(r"timeout (\d+)", text)))
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), quantile(50), quantile(99), failed
