# SPDX-License-Identifier: Apache-2.0
"""The whole program on a GPU: what it computes is what it computes on the CPU.

The GPU is that of gpu.py: emulated (tests/emulation), with memory that faults when the host touches it, or real.
"""

import json

from gpu import SLOW, use_gpu
from support import h5py, read_metrics, read_values, relative_difference, run_tests

CNN = """
layer = conv 8 3x3 pad 1
layer = batch_norm
layer = relu
layer = max_pool 2x2
layer = dropout 0.25
layer = dense 16
layer = gelu
layer = dense 4
optimizer = adamw
learning-rate = 0.005
clip-norm = 1
batch-size = 32
epochs = 2
log-every = 1
"""


def losses(t, output):
    return [line["loss"] for line in read_metrics(t.path(output, "metrics.jsonl")) if "gradient_norm" in line]


def norms(t, output):
    return [line["gradient_norm"] for line in read_metrics(t.path(output, "metrics.jsonl")) if "gradient_norm" in line]


def train_on_both(t, config, *flags, tolerance):
    """Losses, norms and parameters agree. Returns the data set's path."""
    for device in "cpu", "cuda":
        result = t.run("train", config, "--output", t.path(device), "--device", device, *flags)
    result.says("computes on GPU 0")
    assert len(losses(t, "cpu")) == 14, losses(t, "cpu")
    assert relative_difference(losses(t, "cpu"), losses(t, "cuda")) < tolerance, (losses(t, "cpu"), losses(t, "cuda"))
    assert relative_difference(norms(t, "cpu"), norms(t, "cuda")) < 10 * tolerance, (norms(t, "cpu"), norms(t, "cuda"))


def test_training_gives_the_losses_of_the_cpu_in_f32(t):
    h5py()
    use_gpu()
    train_on_both(t, t.config(CNN + f"data = {t.images()}\n"), "--gemm", "own", "--conv", "own", tolerance=1e-4)
    one, other = (read_values(t.newest(device)) for device in ("cpu", "cuda"))
    for name, values in one.items():
        if name != "conv1.bias":  # batch norm takes its gradient away; what Adam makes of the rest is noise
            assert relative_difference(values, other[name]) < 1e-2, name


def test_training_gives_the_losses_of_the_cpu_in_bf16(t):
    use_gpu()
    train_on_both(t, t.config(CNN + f"data = {t.images()}\n"), "--precision", "bf16", tolerance=1e-2)


def test_training_over_virtual_shards_and_micro_batches_gives_the_losses_of_the_cpu(t):
    use_gpu()
    config = t.config(CNN + f"data = {t.images()}\n")
    train_on_both(t, config, "--reproducible", "true", "--accumulate", 2, tolerance=1e-4)


def test_a_run_that_is_repeated_has_the_same_bits(t):
    h5py()
    use_gpu()
    config = t.config(CNN + f"data = {t.images()}\n")
    for output in "one", "other":
        t.run("train", config, "--output", t.path(output), "--device", "cuda", "--gemm", "own", "--conv", "own")
    assert losses(t, "one") == losses(t, "other")
    assert read_values(t.newest("one")) == read_values(t.newest("other"))


def test_two_ranks_that_share_a_gpu_have_the_bits_of_one(t):
    h5py()
    use_gpu()
    config = t.config(CNN + f"data = {t.images()}\nreproducible = true\ngemm = own\nconv = own\nmax-steps = 5\n")
    t.run("train", config, "--output", t.path("one"), "--device", "cuda")
    t.run("train", config, "--output", t.path("two"), "--device", "cuda", ranks=2)
    assert losses(t, "one") == losses(t, "two"), (losses(t, "one"), losses(t, "two"))
    assert read_values(t.newest("one")) == read_values(t.newest("two"))


def test_two_ranks_give_the_losses_that_they_give_on_the_cpu(t):
    use_gpu()
    config = t.config(CNN.replace("layer = dropout 0.25", "") + f"data = {t.images()}\nshard-optimizer = true\n")
    for device in "cpu", "cuda":
        t.run("train", config, "--output", t.path(device), "--device", device, ranks=2)
    assert relative_difference(losses(t, "cpu"), losses(t, "cuda")) < 1e-4, (losses(t, "cpu"), losses(t, "cuda"))


MLP = """
layer = dense 24
layer = gelu
layer = batch_norm
layer = dense 4
optimizer = adamw
learning-rate = 0.005
clip-norm = 0.3
batch-size = 32
epochs = 2
log-every = 1
partition = column
"""


def test_ranks_with_columns_of_the_first_layer_give_the_losses_of_one_on_the_cpu(t):
    h5py()
    use_gpu()
    config = t.config(MLP + f"data = {t.images()}\n")
    t.run("train", config, "--output", t.path("one"), "--device", "cpu", "--partition", "shuffle")
    t.run("train", config, "--output", t.path("two"), "--device", "cuda", "--gemm", "own", ranks=2)
    t.run("train", config, "--output", t.path("bf16"), "--device", "cuda", "--precision", "bf16", ranks=2)
    assert len(losses(t, "one")) == 14
    for output, tolerance in ("two", 1e-4), ("bf16", 1e-2):
        assert relative_difference(losses(t, "one"), losses(t, output)) < tolerance, (losses(t, "one"), losses(t, output))
        assert relative_difference(norms(t, "one"), norms(t, output)) < 10 * tolerance, (norms(t, "one"), norms(t, output))
    assert max(norms(t, "one")) > 0.3, "nothing was clipped"
    one, two = (read_values(t.newest(output)) for output in ("one", "two"))
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert len(values) == len(two[name]), name
        if name != "dense1.bias":  # batch norm takes its gradient away; what Adam makes of the rest is noise
            assert relative_difference(values, two[name]) < 1e-2, name
    # Whole weights in the checkpoint: another device and another number of ranks go on from it.
    t.run("train", config, "--output", t.path("parts"), "--device", "cuda", "--gemm", "own", "--max-steps", 5, ranks=2)
    result = t.run("train", config, "--output", t.path("parts"), "--device", "cuda", "--gemm", "own", ranks=2)
    result.says("resuming .* step 5")
    assert losses(t, "two") == losses(t, "parts")
    assert two == read_values(t.newest("parts"))


def test_a_checkpoint_goes_on_where_the_other_device_left_it(t):
    use_gpu()
    config = t.config(CNN + f"data = {t.images()}\n")
    t.run("train", config, "--output", t.path("whole"), "--device", "cpu")
    t.run("train", config, "--output", t.path("parts"), "--device", "cpu", "--max-steps", 5)
    t.run("train", config, "--output", t.path("parts"), "--device", "cuda", "--max-steps", 9).says("resuming .* step 5")
    t.run("train", config, "--output", t.path("parts"), "--device", "cpu").says("resuming .* step 9")
    assert relative_difference(losses(t, "whole"), losses(t, "parts")) < 1e-3, (losses(t, "whole"), losses(t, "parts"))


def test_predictions_and_evaluations_are_those_of_the_cpu(t):
    h5py()
    use_gpu()
    data = t.images()
    t.run("train", t.config(CNN + f"data = {data}\n"), "--output", t.path("run"), "--device", "cpu")
    answers = []
    for device in "cpu", "cuda":
        common = ("--checkpoint", t.newest("run"), "--data", data, "--device", device)
        t.run("predict", *common, "--output", t.path(device), "--batch-size", 7)
        with h5py().File(t.path(device, "predictions.h5"), "r") as file:
            answers.append(file["probability"][()].ravel().tolist() if "probability" in file else None)
        t.run("evaluate", *common).says(r"accuracy +0\.\d+|accuracy +1\.0")
    assert answers[0] and relative_difference(*answers) < 1e-4


def test_the_timeline_shows_when_the_gpu_ran_an_operator(t):
    """On the emulation, which works only while the host waits, that is after all was enqueued."""
    use_gpu()
    config = t.config(CNN + f"data = {t.images()}\n")
    flags = ("--device", "cuda", "--trace", t.path("trace.json"), "--trace-steps", 3)
    t.run("train", config, "--output", t.path("run"), *flags)
    events = json.load(open(t.path("trace.json"), encoding="utf-8"))["traceEvents"]
    assert {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}[2] == "GPU"
    spans = [{**e, "end": e["ts"] + e["dur"]} for e in events if e["ph"] == "X"]
    host = {e["name"] for e in spans if e["tid"] == 0}
    assert host == {"step 0", "step 1", "step 2", "wait for data", "wait for GPU"}, host
    for number in range(3):
        step = next(e for e in spans if e["name"] == f"step {number}")
        inside = [e for e in spans if step["ts"] <= e["ts"] < step["end"]]
        wait = next(e for e in inside if e["name"] == "wait for GPU")
        gpu = sorted((e for e in inside if e["tid"] == 2), key=lambda e: e["ts"])
        names = [e["name"] for e in gpu]
        assert names[0] == "conv1" and "ddense1" in names and names[-1] == "optimizer", names
        for before, after in zip(gpu, gpu[1:]):
            assert before["end"] <= after["ts"] + 1, (before, after)
        assert all(e["dur"] >= 0 for e in gpu) and gpu[-1]["end"] <= step["end"] + 1000, (step, gpu[-1])
        if SLOW:
            assert gpu[0]["ts"] > wait["ts"] - 1000, (gpu[0], wait)
            assert sum(e["dur"] for e in gpu) > wait["dur"] / 2, (gpu, wait)


def test_a_step_whose_loss_is_not_finite_changes_nothing(t):
    h5py()
    use_gpu()
    config = t.config(CNN + f"data = {t.images()}\n")
    flags = ("--learning-rate", "1e30", "--clip-norm", 0)
    for device in "cpu", "cuda":
        result = t.run("train", config, "--output", t.path(device), "--device", device, *flags, code=1)
        result.says(r"the loss of step \d+ \(epoch 0, samples \d+ to \d+ of its order\) is -?(nan|inf)")
        result.says("not finite on this rank")


if __name__ == "__main__":
    run_tests(globals())
