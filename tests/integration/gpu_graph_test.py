# SPDX-License-Identifier: Apache-2.0
"""Steps that are captured once and launched as a whole: they have the bits of steps that are not.

The GPU is that of gpu.py: emulated, or real.
"""

import re

from gpu import REAL, use_gpu
from gpu_test import CNN, losses, norms
from support import h5py, read_metrics, read_values, run_tests

MLP = """
layer = dense 24
layer = gelu
layer = dropout 0.3
layer = dense 16
layer = gelu
layer = dropout 0.3
layer = dense 2
optimizer = sgd
momentum = 0.9
learning-rate = 0.05
schedule = cosine
batch-size = 32
epochs = 4
log-every = 3
"""
OWN = ("--device", "cuda", "--gemm", "own", "--conv", "own")


def evaluations(t, output):
    return [line["loss"] for line in read_metrics(t.path(output, "metrics.jsonl")) if "accuracy" in line and "f1" in line]


def launches(result):
    return [int(n) for n in re.search(r"CUDA graphs +(\d+) steps launched as a whole, (\d+) graphs", result.text).groups()]


def assert_same_bits(t, one="eager", other="graph"):
    assert losses(t, one) and losses(t, one) == losses(t, other), (losses(t, one), losses(t, other))
    assert norms(t, one) == norms(t, other), (norms(t, one), norms(t, other))
    evaluated = evaluations(t, one), evaluations(t, other)
    assert set(evaluated[0]) <= set(evaluated[1]), evaluated  # a run in parts evaluates after each
    before, after = read_values(t.newest(one)), read_values(t.newest(other))
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert values == after[name], name


def train_both_ways(t, config, *flags):
    """What the run with graphs wrote; it has the bits of the other."""
    h5py()
    use_gpu()
    t.run("train", config, "--output", t.path("eager"), *OWN, *flags)
    result = t.run("train", config, "--output", t.path("graph"), *OWN, "--cuda-graph", "true", *flags)
    assert_same_bits(t)
    return result


# Epochs of six whole batches and one of eight rows. Every kind of step is seen, captured and launched.
def test_a_captured_step_with_convolutions_has_the_bits_of_others(t):
    result = train_both_ways(t, t.config(CNN + f"data = {t.images()}\n"), "--epochs", 6, "--log-every", 2)
    steps, graphs = launches(result)
    assert 42 - 3 * 8 <= steps and 4 <= graphs <= 8, result.text


def test_a_captured_step_with_a_schedule_has_the_bits_of_others(t):
    steps, _ = launches(train_both_ways(t, t.config(MLP + f"data = {t.table()}\n")))
    assert steps > 8, steps


def test_a_captured_step_in_bf16_has_the_bits_of_others(t):
    steps, _ = launches(train_both_ways(t, t.config(CNN + f"data = {t.images()}\n"), "--precision", "bf16", "--epochs", 4))
    assert steps > 8, steps


def test_a_captured_step_knows_its_limits(t):
    """From step 128 on, losses above the mean of those before are left out; so the limit moves, and running statistics
    go back."""
    config = t.config(CNN + f"data = {t.images(train=64)}\nbad-loss = skip\noutlier-sigmas = 0.5\n")
    flags = ("--epochs", 100, "--evaluate-every", 40, "--checkpoint-every", 50, "--learning-rate", 0.02)
    flags += ("--batch-size", 16, "--max-steps", 200)
    result = train_both_ways(t, config, *flags)
    steps, _ = launches(result)
    assert steps > 150, steps
    left_out = len(re.findall("; left out", result.text))
    assert 1 <= left_out < 60, left_out


def test_a_run_of_captured_steps_goes_on_where_it_was(t):
    h5py()
    use_gpu()
    config = t.config(CNN + f"data = {t.images()}\n")
    t.run("train", config, "--output", t.path("eager"), *OWN, "--epochs", 4)
    graph = ("train", config, "--output", t.path("graph"), *OWN, "--epochs", 4)
    t.run(*graph, "--cuda-graph", "true", "--max-steps", 9)
    t.run(*graph, "--max-steps", 13).says("resuming .* step 9")
    steps, _ = launches(t.run(*graph, "--cuda-graph", "true").says("resuming .* step 13"))
    assert steps > 0
    assert_same_bits(t)


def test_steps_that_are_traced_are_not_captured(t):
    config = t.config(CNN + f"data = {t.images()}\ntrace-steps = 10\n")
    steps, _ = launches(train_both_ways(t, config, "--epochs", 4, "--trace", t.path("trace.json")))
    assert 0 < steps < 28 - 10 - 4, steps


def test_what_cannot_be_captured_is_named(t):
    use_gpu()
    config = t.config(CNN + f"data = {t.images()}\nmax-steps = 2\ncuda-graph = true\n")

    def says(output, text, *flags, ranks=0):
        result = t.run("train", config, "--output", t.path(output), *flags, ranks=ranks)
        result.says("cuda-graph = true has no effect: " + text)
        assert "CUDA graphs" not in result.text

    says("cpu", "this run computes on the CPU", "--device", "cpu")
    says("micro", "with accumulate > 1", *OWN, "--accumulate", 2)
    says("bits", "with reproducible = true", *OWN, "--reproducible", "true")
    if not REAL:  # where there may be NCCL, and a GPU for each rank
        says("staged", "sums over ranks go through host memory", *OWN, ranks=2)


if __name__ == "__main__":
    run_tests(globals())
