#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Requests per second of cifar10_cnn, one image a request as JSON: this server against Flask and PyTorch, alternating.

    /usr/bin/python3 benchmarks/serve/compare.py build/release/bin/phalanx [--rounds 3] [--seconds 5] [--ranks 1] [--threads 2]
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile

from serving import ROOT, Process, publish_cifar10_cnn, serve, wrk


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    values = random.Random(2)
    image = [[[values.randrange(256) for _ in range(32)] for _ in range(32)] for _ in range(3)]
    body = json.dumps({"input": image}).encode()
    found = {"phalanx": [], "flask": []}
    with tempfile.TemporaryDirectory() as folder:
        repository, _ = publish_cifar10_cnn(binary, folder)
        for round_number in range(options.rounds):
            # One rank of two threads reads the 16 MiB of the dense layer once a batch, two ranks each for itself.
            with serve(binary, repository, "--threads", options.threads, ranks=options.ranks) as ours:
                url = f"http://127.0.0.1:{ours.port}/predict/cifar10"
                wrk(url, body, options.connections, 1)
                found["phalanx"].append(wrk(url, body, options.connections, options.seconds))
            port = 18080 + round_number
            with Process([sys.executable, os.path.join(ROOT, "benchmarks/peers/flask_torch.py"), port], port, "/") as flask:
                url = f"http://127.0.0.1:{flask.port}/predict"
                wrk(url, body, options.connections, 1)
                found["flask"].append(wrk(url, body, options.connections, options.seconds))
            for name, rows in found.items():
                rate, p50, p99, failed = rows[-1]
                print(f"round {round_number + 1}  {name:8} {rate:8.0f} requests/s  p50 {1e3 * p50:7.1f} ms  "
                      f"p99 {1e3 * p99:7.1f} ms  {failed} failed", flush=True)
    ratios = [ours[0] / theirs[0] for ours, theirs in zip(found["phalanx"], found["flask"])]
    print(f"requests/s, ours over theirs: median {statistics.median(ratios):.1f} of "
          f"{', '.join(f'{r:.1f}' for r in ratios)}")


if __name__ == "__main__":
    main()
