#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Phalanx against PyTorch DDP (gloo): the same networks, 2 ranks with 1 thread each, alternating in one run.

usage: compare.py BUILD [--rounds 3] [--only cifar10:32] [--json FILE]

For every case each program runs ROUNDS times in turn; PyTorch runs in NCHW and in channels-last, and its better one counts.
Reported: the ratio of the medians of samples/s, Phalanx's share of the measured f32 peak, and peak memory of rank 0.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# network, samples per rank, steps, precision
CASES = [("cifar10", 32, 40, "f32"), ("cifar10", 128, 15, "f32"), ("cifar10", 32, 60, "bf16"), ("cifar10", 128, 25, "bf16"),
         ("fashion", 64, 60, "f32"), ("binary", 16, 3000, "f32"), ("regression", 16, 3000, "f32")]
CONFIGS = {"cifar10": "cifar10_cnn", "fashion": "fashion_cnn", "binary": "binary_mlp", "regression": "regression_mlp"}
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
               "OMPI_MCA_mpi_yield_when_idle": "1", "OMP_NUM_THREADS": "1"}


def run_phalanx(build, network, batch, steps, precision):
    with tempfile.NamedTemporaryFile() as file:
        command = ["mpirun", "-n", "2", f"{build}/bin/bench_train_step", f"{ROOT}/configs/{CONFIGS[network]}.cfg",
                   "--data", network, "--batch-size", str(2 * batch), "--steps", str(steps), "--precision", precision,
                   "--json", file.name]
        subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        return json.load(open(file.name))


def run_torch(network, batch, steps, precision, channels_last):
    command = [sys.executable, f"{HERE}/torch_ddp.py", network, "--batch", str(batch), "--steps", str(steps)]
    command += ["--channels-last"] * channels_last + ["--bf16"] * (precision == "bf16")
    result = subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", help="build folder with bin/bench_train_step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="NETWORK:BATCH")
    parser.add_argument("--json")
    options = parser.parse_args()
    rows = []
    print(f"{'network':<11}{'batch/rank':>10} {'type':<5}{'Phalanx/s':>11}{'PyTorch/s':>11}{'ratio':>7}{'of peak':>9}"
          f"{'memory MiB':>12}{'PyTorch MiB':>12}")
    for network, batch, steps, precision in CASES:
        if options.only and options.only != f"{network}:{batch}":
            continue
        image = network in ("cifar10", "fashion")
        ours, plain, last = [], [], []
        for _ in range(options.rounds):
            ours.append(run_phalanx(options.build, network, batch, steps, precision))
            plain.append(run_torch(network, batch, min(steps, 300), precision, False))
            if image:
                last.append(run_torch(network, batch, min(steps, 300), precision, True))
        best = max((r for r in (plain, last) if r), key=lambda r: median(r, "samples_per_second"))
        row = {"network": network, "batch_per_rank": batch, "precision": precision,
               "phalanx": median(ours, "samples_per_second"), "torch": median(best, "samples_per_second"),
               "torch_format": "channels_last" if best is last else "plain", "share_of_f32_peak": median(ours, "share_of_peak"),
               "phalanx_mib": median(ours, "peak_rss_mib"), "torch_mib": median(best, "peak_rss_mib")}
        rows.append(row)
        print(f"{network:<11}{batch:>10} {precision:<5}{row['phalanx']:>11.0f}{row['torch']:>11.0f}"
              f"{row['phalanx'] / row['torch']:>7.2f}{row['share_of_f32_peak']:>8.1%}{row['phalanx_mib']:>12.0f}"
              f"{row['torch_mib']:>12.0f}",
              flush=True)
    if options.json:
        json.dump(rows, open(options.json, "w"), indent=1)


if __name__ == "__main__":
    main()
