# SPDX-License-Identifier: Apache-2.0
"""`phalanx bench gpu` measures every kernel and a step. The figures themselves are nobody's business here."""

import json
import os

from gpu import SLOW, use_gpu
from support import run_tests

SMALL = ("--rounds", 1, "--size-mib", 0.001 if SLOW else 1, "--product-size", 32 if SLOW else 512)


def bench(t, *flags):
    result = t.run("bench", "gpu", *SMALL, *flags, "--json", t.path("bench.json"), timeout=250)
    with open(t.path("bench.json"), encoding="utf-8") as file:
        report = json.load(file)
    assert report["is_hardware"] == (not SLOW), report["is_hardware"]
    if SLOW:
        result.says("device +emulated GPU", "versions +none: emulated", "emulated: the figures .* say nothing else")
    else:
        result.says(r"versions +driver .*, runtime .*, cuBLASLt .*, cuDNN ", "kernels of ours that memory bounds reach")
    return result, report


def test_every_kernel_is_timed_beside_a_copy_of_as_many_bytes(t):
    use_gpu()
    result, report = bench(t, "--step", "false")
    rows = report["measurements"]
    assert all(row["seconds"] > 0 and row["copy_seconds"] > 0 and row["bytes"] > 0 for row in rows), rows
    for op, directions in (("relu", 2), ("batch_norm", 2), ("max_pool", 2), ("softmax", 2), ("sgd", 1), ("dropout", 2)):
        assert len({row["direction"] for row in rows if row["op"] == op}) == directions, op
    by = ["own"] if SLOW else ["cublas", "own"]
    for op, size in ("gemm", "dense layer 512 by 512"), ("matmul", "512 by 512"):
        for direction in "forward", "backward":
            found = sorted({row["by"] for row in rows if (row["op"], row["case"], row["direction"]) == (op, size, direction)})
            assert found == by, (op, direction, found)
    assert {row["by"] for row in rows if row["op"] == "conv"} == ({"own"} if SLOW else {"own", "cudnn"})
    assert {row["type"] for row in rows if row["op"] == "conv"} == {"f32", "tf32", "bf16"}
    result.says(r"copy +[\d.]+ GB/s", r"products +bf16 [\d.]+ GFLOP/s, f32", r"relu +vector +bf16 +backward .* %")
    assert "skipped" not in result.text, result.text


def test_own_kernels_are_compared_with_the_librarys(t):
    """The library of the emulation has products and no convolutions."""
    use_gpu()
    os.environ["PHALANX_EMULATED_LIBRARY"] = "1"
    for op, has_library in ("gemm", True), ("conv", not SLOW), ("relu", False):
        result, report = bench(t, "--step", "false", "--only", op)
        rows = [row for row in report["measurements"] if row["op"] == op]
        for row in (row for row in rows if row["by"] == "own"):
            place = [row[key] for key in ("case", "type", "direction")]
            other = [o for o in rows if o["by"] != "own" and [o[key] for key in ("case", "type", "direction")] == place]
            assert len(other) == (1 if has_library else 0), (row, other)
            expected = row["seconds"] / other[0]["seconds"] if has_library else None
            assert row["own_to_library"] == expected, (row, expected)
        if op != "relu":
            result.says("own/library", op + r" .* own +backward .* %" + (r" +[\d.]+" if has_library else " +-") + "\n")
        else:
            assert all("own_to_library" not in row for row in rows), rows


def test_a_step_is_timed_beside_the_floors_of_its_kernels(t):
    use_gpu()
    result, report = bench(t, "--only", "none", "--batch-size", 2 if SLOW else 512, "--steps", 1 if SLOW else 10)
    step = report["step"]
    nodes = step["nodes"]
    assert {node["op"] for node in nodes} >= {"conv", "relu", "max_pool", "gemm", "softmax_cross_entropy_step", "sgd"}, nodes
    assert all(node["seconds"] > 0 and node["floor_seconds"] > 0 for node in nodes), nodes
    assert abs(sum(node["floor_seconds"] for node in nodes) - step["floor_seconds"]) < 1e-6 * step["floor_seconds"]
    result.says(r"cifar10, batch \d+, bf16: a step takes [\d.]+ ms, [\d.]+ times the [\d.]+ ms of its kernels' floors")


if __name__ == "__main__":
    run_tests(globals())
