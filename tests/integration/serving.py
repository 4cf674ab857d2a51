# SPDX-License-Identifier: Apache-2.0
"""A running server, for tests: published models, HTTP connections, ranks that can be killed."""

import http.client
import json
import os
import re
import signal
import subprocess
import time

from support import children, wait_until


def publish(t, checkpoint, name="model", repository="models", *flags):
    return t.run("publish", "--checkpoint", checkpoint, "--repository", t.path(repository), "--name", name, *flags)


class Server:
    """`phalanx serve` with its front end as the process of this object. Use as a context: it ends with it."""

    def __init__(self, t, *flags, repository="models", ranks=1, mpirun=False, ready=True, environment=None):
        launcher = [t.mpiexec, "-n", str(ranks)] if mpirun else []
        command = [*launcher, t.binary, "serve", "--repository", t.path(repository), "--port", "0", "--address",
                   "127.0.0.1", *map(str, flags)]
        if not mpirun:
            command += ["--ranks", str(ranks)]
        self.log_path = t.path(f"serve_{time.monotonic_ns()}.log")
        self.log = open(self.log_path, "w+", encoding="utf-8")
        self.ranks = ranks
        self.process = subprocess.Popen(command, cwd=t.folder, stdout=self.log, stderr=subprocess.STDOUT,
                                        start_new_session=True, env=environment)
        wait_until(lambda: re.search(r"on https?://[^ ]*:(\d+);", self.text()) or self.process.poll() is not None, 30,
                   "the server listens")
        found = re.search(r"on https?://[^ ]*:(\d+);", self.text())
        assert found, self.text()
        self.port = int(found.group(1))
        if ready:
            self.wait_ready()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if kind is not None:
            print(self.text()[-6000:])
        self.log.close()

    def text(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def is_ready(self):
        try:
            return self.get("/healthz", timeout=2)[1].get("ready") is True
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self, seconds=40):
        wait_until(lambda: self.is_ready() or self.process.poll() is not None, seconds, "the server is ready")
        assert self.process.poll() is None, self.text()

    def connect(self, timeout=20):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=20, connection=None):
        """(status, answer, headers); JSON answers are parsed."""
        use = connection or self.connect(timeout)
        use.request(method, path, body=body, headers=headers or {})
        response = use.getresponse()
        data = response.read()
        if connection is None:
            use.close()
        kind = response.getheader("Content-Type", "")
        return response.status, json.loads(data) if data and "json" in kind else data, dict(response.getheaders())

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, value=None, **more):
        body = value if isinstance(value, (bytes, str)) or value is None else json.dumps(value)
        return self.request("POST", path, body=body, **more)

    def rank_pids(self):
        """Processes of the ranks, whoever started them."""
        found, look = [], [self.process.pid]
        while look:
            pid = look.pop()
            look += children(pid)
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"serve-rank" in words and not words[0].endswith(b"mpirun"):
                found.append(pid)
        return sorted(found)

    def terminate(self, timeout=40):
        """Ends it as a scheduler would. Its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)
