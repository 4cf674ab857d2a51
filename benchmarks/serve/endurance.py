#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a server does over time: its memory over load/unload cycles and under a steady load, and its p99 while models load.

    /usr/bin/python3 benchmarks/serve/endurance.py build/release/bin/phalanx [--cycles 1000] [--minutes 30]

Loads are half of what the server did at most with the same connections a moment before. Memory is the proportional set size
(PSS) of the front end and of all its ranks.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.request

from serving import publish_cifar10_cnn, serve, wrk

CONNECTIONS = 16


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(word) for word in file.read().split()]


def memory_mib(pid):
    """PSS of the process and of all below it that run the same program."""
    total, program = 0.0, os.readlink(f"/proc/{pid}/exe")
    for each in [pid] + [p for child in children(pid) for p in family(child)]:
        try:
            if os.readlink(f"/proc/{each}/exe") != program:
                continue
            with open(f"/proc/{each}/smaps_rollup", encoding="utf-8") as file:
                total += next(float(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
        except (OSError, StopIteration):  # it has ended
            pass
    return total


def family(pid):
    try:
        return [pid] + [p for child in children(pid) for p in family(child)]
    except OSError:
        return []


def post(port, path):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=b"{}", method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def cycle(port, name):
    post(port, f"/v2/repository/models/{name}/unload")
    post(port, f"/v2/repository/models/{name}/load")


class Cycles(threading.Thread):
    """Unloads and loads a model again and again until it is told to stop."""

    def __init__(self, port, name, pause):
        super().__init__()
        self.port, self.name, self.pause = port, name, pause
        self.count, self.stopped = 0, threading.Event()

    def run(self):
        while not self.stopped.is_set():
            cycle(self.port, self.name)
            self.count += 1
            time.sleep(self.pause)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()


def report(text):
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    body = ('{"input": [' + ",".join(["7"] * 3072) + "]}").encode()
    with tempfile.TemporaryDirectory() as folder:
        repository, _ = publish_cifar10_cnn(binary, folder)
        shutil.copytree(os.path.join(repository, "cifar10"), os.path.join(repository, "other"))
        manifest = os.path.join(repository, "other", "1", "manifest.json")
        with open(manifest, encoding="utf-8") as file:
            text = file.read()
        with open(manifest, "w", encoding="utf-8") as file:
            file.write(text.replace('"name": "cifar10"', '"name": "other"'))
        with serve(binary, repository) as server:
            url, pid = f"http://127.0.0.1:{server.port}/predict/cifar10", server.process.pid
            wrk(url, body, CONNECTIONS, 2)
            most, p50, _, _ = wrk(url, body, CONNECTIONS, 5)
            pause = 2 * CONNECTIONS / most - p50 / 2  # between answer and question, for about half of the rate
            report(f"at most {most:.0f} requests/s by {CONNECTIONS} connections")

            for _ in range(3):
                alone = wrk(url, body, CONNECTIONS, 10, delay=pause)
                with Cycles(server.port, "other", 0.5) as loading:
                    beside = wrk(url, body, CONNECTIONS, 10, delay=pause)
                report(f"{alone[0]:.0f} requests/s: p99 {1e3 * alone[2]:.1f} ms; while another model was loaded "
                       f"{loading.count} times: {1e3 * beside[2]:.1f} ms, {beside[2] / alone[2]:.2f} times as long; "
                       f"{alone[3] + beside[3]} failed")

            begin, seen = time.monotonic(), []
            for i in range(options.cycles + 1):
                if i % max(options.cycles // 10, 1) == 0:
                    seen.append(memory_mib(pid))
                    report(f"{i} cycles, {time.monotonic() - begin:.0f} s: {seen[-1]:.1f} MiB")
                cycle(server.port, "other")

            begin, rows = time.monotonic(), []
            while time.monotonic() - begin < 60 * options.minutes:
                rows.append((*wrk(url, body, CONNECTIONS, 60, delay=pause), memory_mib(pid)))
                report(f"{(time.monotonic() - begin) / 60:.0f} min: {rows[-1][0]:.0f} requests/s, "
                       f"p99 {1e3 * rows[-1][2]:.1f} ms, {rows[-1][3]} failed, {rows[-1][4]:.1f} MiB")
            if rows:
                report(f"soak: {sum(60 * r[0] for r in rows):.0f} requests, {sum(r[3] for r in rows)} failed, p99 median "
                       f"{1e3 * statistics.median(r[2] for r in rows):.1f} ms, memory from {rows[0][4]:.1f} to "
                       f"{rows[-1][4]:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
