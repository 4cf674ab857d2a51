# SPDX-License-Identifier: Apache-2.0
"""What the program says about GPUs that are not there, too small, or several: these the emulation can pretend."""

from gpu import use_gpu
from gpu_test import CNN
from support import run_tests


def test_memory_that_does_not_suffice_is_named(t):
    use_gpu(PHALANX_EMULATED_BYTES="100000")
    config = t.config(CNN + f"data = {t.images()}\n")
    t.run("train", config, "--output", t.path("run"), "--device", "cuda", code=1).says(
        r"activations: no \d+ bytes of memory on GPU 0: \d+ of \d+ bytes are free", "batch-size", "accumulate"
    )


def test_without_a_gpu_a_run_says_why_and_computes_on_the_cpu(t):
    config = t.config(CNN + f"data = {t.images()}\nmax-steps = 1\n")
    use_gpu(PHALANX_EMULATED_GPUS="0")
    t.run("train", config, "--output", t.path("auto")).says("computes on the CPU: none is emulated")
    t.run("train", config, "--output", t.path("cuda"), "--device", "cuda", code=1).says("device = cuda: none is emulated")
    t.run("train", config, "--output", t.path("tf32"), "--precision", "tf32", code=2).says("precision = tf32 .* GPU")


def test_without_a_gpu_the_benchmark_says_why_in_one_line(t):
    use_gpu(PHALANX_EMULATED_GPUS="0")
    result = t.run("bench", "gpu", code=1).says("device = cuda: none is emulated")
    assert result.text.count("\n") == 1, result.text


def test_devices_are_listed(t):
    use_gpu(PHALANX_EMULATED_GPUS="2")
    t.run("devices").says("takes GPU 0", "GPU 1: emulated GPU", "compute capability 8.0")


if __name__ == "__main__":
    run_tests(globals())
