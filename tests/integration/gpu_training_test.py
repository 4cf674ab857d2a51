# SPDX-License-Identifier: Apache-2.0
"""The networks of configs/ on a GPU: their losses, step by step, are those of the CPU.

On an emulated GPU the batches are small and the steps few. Data sets are made up: noise, and a line whose place is the class.
"""

import os
import random

from gpu import SLOW, use_gpu
from support import SOURCE, read_metrics, relative_difference, run_tests

CONFIGS = os.environ.get("PHALANX_CONFIGS", os.path.join(SOURCE, "configs"))
STEPS, BATCH, ROWS = (2, 2, 8) if SLOW else (40, 64, 1024)
# Of the largest loss. Devices add in different orders, and steps enlarge what that makes. On the CPU, where two ranks do so
# too, they differ from one by at most 3e-7 in f32 and 9e-4 in bf16.
TOLERANCE = {"f32": 5e-4, "bf16": 1e-2}


def cifar10(t):
    """In the format of the real one."""
    values = random.Random(1)
    for name, rows in ("data_batch_1", ROWS), ("test_batch", 16):
        records = bytearray()
        for _ in range(rows):
            label = values.randrange(10)
            image = bytearray(values.randbytes(3072))
            image[96 * label : 96 * label + 96] = bytes([255]) * 96
            records += bytes([label]) + image
        t.write(f"cifar10/{name}.bin", bytes(records))
    t.write("cifar10/batches.meta.txt", "\n".join(f"class{i}" for i in range(10)) + "\n")
    t.run("data", "import", "cifar10", t.path("cifar10"), "--output", t.path("cifar10.h5"))
    return t.path("cifar10.h5")


def fashion_mnist(t):
    folder = t.idx_files("fashion", ROWS, side=28, classes=10)
    t.idx_files("fashion", 16, side=28, classes=10, name="t10k", seed=2)
    names = [word for label in range(10) for word in ("--class-names", label)]
    t.run("data", "import", "idx", folder, "--output", t.path("fashion.h5"), *names)
    return t.path("fashion.h5")


def losses(t, name, data, output, *flags):
    t.run("train", os.path.join(CONFIGS, f"{name}.cfg"), "--data", data, "--output", t.path(output), *flags,
          "--batch-size", BATCH, "--max-steps", STEPS, "--log-every", 1, timeout=250)
    found = [line["loss"] for line in read_metrics(t.path(output, "metrics.jsonl")) if "gradient_norm" in line]
    assert len(found) == STEPS, found
    return found


def compare(t, name, make_data, precision, *flags):
    use_gpu()
    data = make_data(t)
    flags = ("--precision", precision, *flags)
    expected = losses(t, name, data, "cpu", "--device", "cpu", *flags)
    assert SLOW or expected[-1] < expected[0], expected
    ways = {"own": ("own", "own"), "library": ("cublas", "cudnn")}
    if SLOW:
        del ways["library"]  # the emulation has none
    for way, (gemm, conv) in ways.items():
        found = losses(t, name, data, way, "--device", "cuda", "--gemm", gemm, "--conv", conv, *flags)
        difference = relative_difference(expected, found)
        print(f"{name} in {precision} by {way} kernels: losses differ by {difference:.1e}", flush=True)
        assert difference < TOLERANCE[precision], (way, expected, found)


def test_cifar10_cnn_has_the_losses_of_the_cpu_in_f32(t):
    compare(t, "cifar10_cnn", cifar10, "f32")


def test_cifar10_cnn_has_the_losses_of_the_cpu_in_bf16(t):
    compare(t, "cifar10_cnn", cifar10, "bf16")


def test_fashion_cnn_has_the_losses_of_the_cpu_in_f32(t):
    compare(t, "fashion_cnn", fashion_mnist, "f32")


def test_fashion_cnn_has_the_losses_of_the_cpu_in_bf16(t):
    compare(t, "fashion_cnn", fashion_mnist, "bf16")


def test_cifar10_cnn_on_two_ranks_that_share_the_gpu_has_the_losses_of_one(t):
    use_gpu()
    data = cifar10(t)
    flags = ("--device", "cuda", "--gemm", "own", "--conv", "own")
    one = losses(t, "cifar10_cnn", data, "one", *flags)
    t.run("train", os.path.join(CONFIGS, "cifar10_cnn.cfg"), "--data", data, "--output", t.path("two"), *flags,
          "--batch-size", BATCH, "--max-steps", STEPS, "--log-every", 1, ranks=2, timeout=250).says("computes on GPU 0")
    two = [line["loss"] for line in read_metrics(t.path("two", "metrics.jsonl")) if "gradient_norm" in line]
    assert relative_difference(one, two) < TOLERANCE["f32"], (one, two)


if __name__ == "__main__":
    run_tests(globals())
