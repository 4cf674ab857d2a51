# SPDX-License-Identifier: Apache-2.0
"""A run that is killed and started again ends as if nothing had happened; a finished run is left alone."""

import os
import signal

from support import (
    assert_same_checkpoint,
    h5py,
    read_checkpoint,
    results_in_metrics,
    run_tests,
    wait_until,
)

NETWORK = """
layer = conv 8 3x3 pad 1
layer = batch_norm
layer = relu
layer = max_pool 2x2
layer = dropout 0.25
layer = dense 16
layer = relu
layer = dense 4
augment-crop = 1
augment-flip = true
augment-cutout = 2
"""
SGD = "optimizer = sgd\nmomentum = 0.9\nnesterov = true\nlearning-rate = 0.02\nweight-decay = 0.001\n"
ADAMW = "optimizer = adamw\nlearning-rate = 0.002\nweight-decay = 0.01\nschedule = cosine\nclip-norm = 1\n"
LONG = "batch-size = 16\nepochs = 40\ncheckpoint-every = 0\ncheckpoint-steps = 20\nevaluate-every = 20\nlog-every = 7\n"


def run_and_kill(t, command, output, ranks, after_step):
    """Kills all ranks as soon as a checkpoint of after_step or later exists."""
    job = t.start(*command, ranks=ranks)
    pids = job.rank_pids()
    wait_until(lambda: t.newest_step(output) >= after_step or not job.is_running(), 60, f"step {after_step} is saved")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    result = job.wait(20)
    assert result.code in (-9, 137), f"the run was over before it was killed: exit code {result.code}\n{result.text}"


def kill_and_compare(t, ranks, optimizer):
    h5py()
    data = t.images()
    config = t.config(NETWORK + optimizer + LONG + f"data = {data}\n")
    whole, parts = (["train", config, "--output", t.path(output)] for output in ("whole", "parts"))
    t.run(*whole, ranks=ranks)
    run_and_kill(t, parts, "parts", ranks, 100)
    run_and_kill(t, parts, "parts", ranks, 260)
    resumed = t.run(*parts, ranks=ranks).says(r"resuming from .*step_0000\d+\.h5: step \d+, epoch \d+")
    assert "step 0," not in resumed.text
    assert t.checkpoints("whole") == t.checkpoints("parts")
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))
    assert_same_checkpoint(t.path("whole/checkpoints/best.h5"), t.path("parts/checkpoints/best.h5"))
    assert results_in_metrics(t.path("whole/metrics.jsonl")) == results_in_metrics(t.path("parts/metrics.jsonl"))
    arrays, record = read_checkpoint(t.newest("parts"))
    assert record["position"]["step"] == 520, record["position"]
    groups = {name.split("/")[0] for name in arrays}
    assert groups == {"parameters", "states", "optimizer"}, groups
    left = [name for name in os.listdir(t.path("parts/checkpoints")) if ".tmp-" in name]
    assert left == [], f"unfinished files stay behind: {left}"


def test_killed_run_with_momentum_ends_with_the_same_bits_on_1_rank(t):
    kill_and_compare(t, 0, SGD)


def test_killed_run_with_momentum_ends_with_the_same_bits_on_2_ranks(t):
    kill_and_compare(t, 2, SGD)


def test_killed_run_with_adamw_ends_with_the_same_bits_on_1_rank(t):
    kill_and_compare(t, 0, ADAMW)


def test_killed_run_with_adamw_ends_with_the_same_bits_on_2_ranks(t):
    kill_and_compare(t, 2, ADAMW)


def test_run_continues_on_another_number_of_ranks(t):
    h5py()
    config = t.config(NETWORK + ADAMW + f"batch-size = 16\nepochs = 2\nlog-every = 1\ndata = {t.images()}\n")
    t.run("train", config, "--output", t.path("run"), "--max-steps", 9, "--schedule", "constant", ranks=3)
    t.run("train", config, "--output", t.path("run"), "--schedule", "constant").says("resuming .*: step 9, epoch 0")
    assert read_checkpoint(t.newest("run"))[1]["position"]["step"] == 26
    steps = [line["step"] for line in results_in_metrics(t.path("run/metrics.jsonl")) if line["split"] == "train"]
    assert steps == list(range(1, 27)), steps


def test_finished_run_only_evaluates(t):
    config = t.config(NETWORK + SGD + f"batch-size = 16\nepochs = 2\ndata = {t.images()}\n")
    command = ["train", config, "--output", t.path("run")]
    first = t.run(*command, ranks=2)
    before = {name: os.stat(t.path("run/checkpoints", name)).st_mtime_ns for name in os.listdir(t.path("run/checkpoints"))}
    metrics = results_in_metrics(t.path("run/metrics.jsonl"))
    second = t.run(*command, ranks=2).says("resuming from .*: step 26, epoch 2", "training ended: epochs after 26 steps")
    accuracy = [line for line in first.text.splitlines() if "test accuracy" in line]
    assert len(accuracy) == 1 and accuracy[0] in second.text, second.text
    after = {name: os.stat(t.path("run/checkpoints", name)).st_mtime_ns for name in os.listdir(t.path("run/checkpoints"))}
    assert before == after, "a finished run wrote checkpoints"
    assert metrics == results_in_metrics(t.path("run/metrics.jsonl"))


def test_finished_run_continues_when_epochs_are_raised(t):
    h5py()
    config = t.config(NETWORK + SGD + f"batch-size = 16\ndata = {t.images()}\n")
    t.run("train", config, "--output", t.path("whole"), "--epochs", 4)
    t.run("train", config, "--output", t.path("parts"), "--epochs", 2)
    t.run("train", config, "--output", t.path("parts"), "--epochs", 4).says("resuming from .*: step 26, epoch 2")
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))


def test_dumped_configuration_gives_the_same_run(t):
    h5py()
    config = t.config(NETWORK + ADAMW + f"batch-size = 16\nepochs = 2\ndata = {t.images()}\n")
    flags = ["--learning-rate", "0.0123456789", "--augment-flip", "false", "--seed", "7"]
    dumped = t.write("dumped.cfg", t.run("train", config, *flags, "--dump-config").text)
    assert not os.path.exists(t.path("runs")), "--dump-config wrote an output folder"
    t.run("train", config, *flags, "--output", t.path("one"))
    t.run("train", dumped, "--output", t.path("two"))
    assert_same_checkpoint(t.newest("one"), t.newest("two"))
    again = t.run("train", dumped, "--dump-config").text
    assert again == open(dumped, encoding="utf-8").read()


if __name__ == "__main__":
    run_tests(globals())
