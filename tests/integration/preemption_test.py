# SPDX-License-Identifier: Apache-2.0
"""A signal makes a run save and end; a step with a bad loss ends it or is left out; ranks come and go without a trace."""

import json
import os
import random
import re
import signal

from resume_test import ADAMW, LONG, NETWORK, SGD, run_and_kill
from support import assert_same_checkpoint, h5py, read_checkpoint, results_in_metrics, run_tests, wait_until

PREEMPTED = 6


def preempt(t, command, ranks, after_step, output="parts", number=signal.SIGUSR1):
    """Sends a signal to the last rank only, once a checkpoint of after_step or later exists."""
    job = t.start(*command, ranks=ranks)
    pids = job.rank_pids()
    wait_until(lambda: t.newest_step(output) >= after_step or not job.is_running(), 60, f"step {after_step} is saved")
    os.kill(pids[-1], number)
    result = job.wait(20)
    assert result.code == PREEMPTED, f"expected exit code {PREEMPTED}, found {result.code}; it wrote:\n{result.text}"
    step = t.newest_step(output)
    result.says(f"training ended: preempted after {step} steps", f"step_{step:09}.h5")
    return step


def test_signal_to_one_of_two_ranks_saves_a_checkpoint_and_the_run_goes_on_with_the_same_bits(t):
    h5py()
    config = t.config(NETWORK + ADAMW + LONG + f"data = {t.images()}\n")
    whole, parts = (["train", config, "--output", t.path(output)] for output in ("whole", "parts"))
    t.run(*whole, ranks=2)
    step = preempt(t, parts, 2, 60)
    t.run(*parts, ranks=2).says(f"resuming from .*: step {step}, ")
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))


def test_evaluation_that_a_preempted_run_had_no_time_for_is_made_up_for(t):
    h5py()
    config = t.config(NETWORK + SGD + LONG + f"evaluate-steps = 1\ndata = {t.images()}\n")
    whole, parts = (["train", config, "--output", t.path(output)] for output in ("whole", "parts"))
    t.run(*whole)
    preempt(t, parts, 0, 60)
    t.run(*parts)
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))
    evaluations = [[line for line in results_in_metrics(t.path(output, "metrics.jsonl")) if line["split"] == "test"]
                   for output in ("whole", "parts")]
    assert evaluations[0] == evaluations[1] and len(evaluations[0]) == 520, [len(e) for e in evaluations]


def test_signals_are_a_setting(t):
    config = t.config(NETWORK + SGD + LONG + f"stop-signals = USR2\ndata = {t.images()}\n")
    preempt(t, ["train", config, "--output", t.path("parts")], 0, 20, number=signal.SIGUSR2)
    t.run("train", config, "--output", t.path("new"), "--stop-signals", "USR1 KILL", code=2).says(
        "stop-signals: expected names out of USR1, USR2, TERM, INT, HUP, XCPU, found 'KILL'")


def test_reproducible_run_that_changes_its_number_of_ranks_ends_with_the_bits_of_one_that_did_not(t):
    h5py()
    config = t.config(NETWORK + ADAMW + LONG + f"reproducible = true\nvirtual-shards = 4\ndata = {t.images(train=203)}\n")
    whole, parts = (["train", config, "--output", t.path(output)] for output in ("whole", "parts"))
    t.run(*whole)
    preempt(t, parts, 4, 40)
    preempt(t, parts, 1, 160)
    t.run(*parts, ranks=2)
    assert read_checkpoint(t.newest("parts"))[1]["position"]["step"] == 520
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))


def test_sharded_optimizer_leaves_checkpoints_that_any_number_of_ranks_and_no_sharding_goes_on_from(t):
    h5py()
    config = t.config(NETWORK + ADAMW + LONG + f"reproducible = true\nvirtual-shards = 4\ndata = {t.images(train=203)}\n")
    whole, parts = (["train", config, "--output", t.path(output)] for output in ("whole", "parts"))
    t.run(*whole)
    preempt(t, [*parts, "--shard-optimizer", "--bucket", "0.01"], 4, 40)
    preempt(t, parts, 1, 160)
    t.run(*parts, "--shard-optimizer", ranks=2)
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))


def test_sharded_optimizer_takes_less_memory_as_inspect_says(t):
    model = "model = mlp\nhidden = 2000 2000\nbatch-size = 16\nepochs = 1\noptimizer = adam\n"
    config = t.config(model + f"data = {t.images()}\n")

    def says(*options):
        rows = re.findall(r"^  (\d+) .* ([\d.]+) MiB +[\d.]+ \S+ +[\d.]+ MiB$", t.run("inspect", config, *options).text, re.M)
        return {int(ranks): float(optimizer) for ranks, optimizer in rows}

    def held(output, *options):
        t.run("train", config, "--output", t.path(output), *options, ranks=4)
        with open(t.path(output, "ranks.json"), encoding="utf-8") as file:
            return [rank["memory_mib"] for rank in json.load(file)]

    whole, parts = says(), says("--shard-optimizer")
    assert whole[4] == whole[1] == parts[1] and abs(parts[4] - whole[4] / 4) < 0.1, (whole, parts)
    less = [a - b for a, b in zip(held("whole"), held("parts", "--shard-optimizer"))]
    assert all(abs(mib - (whole[4] - parts[4])) < 5 for mib in less), (less, whole, parts)


def test_compressed_gradients_go_on_with_the_same_bits_after_a_kill(t):
    h5py()
    config = t.config(NETWORK + SGD + LONG + f"gradient-compression = bf16\ndata = {t.images()}\n")
    whole, parts = (["train", config, "--output", t.path(output)] for output in ("whole", "parts"))
    t.run(*whole, ranks=2)
    run_and_kill(t, parts, "parts", 2, 100)
    t.run(*parts, ranks=2)
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))


def test_run_writes_down_how_it_was_laid_out_and_which_bucket_it_chose(t):
    config = t.config("model = mlp\nhidden = 700 700\nbatch-size = 16\nepochs = 6\n" + f"data = {t.images()}\n")
    t.run("train", config, "--output", t.path("run"), ranks=2).says(r"bucket = auto: [\d.]+ MiB is fastest")
    with open(t.path("run/run.json"), encoding="utf-8") as file:
        run = json.load(file)
    assert run["ranks"] == 2 and run["bucket"]["setting"] == "auto" and run["bucket"]["is_final"], run
    tried = {trial["mib"]: trial["step_seconds"] for trial in run["bucket"]["trials"]}
    assert len(tried) == 3 and run["bucket"]["mib"] == min(tried, key=tried.get), run
    t.run("train", config, "--output", t.path("new"), "--bucket", "tiny", code=2).says(
        "bucket: expected auto or a number of MiB > 0, found 'tiny'")


def test_loss_that_is_not_finite_ends_the_run_and_names_the_samples(t):
    config = t.config(NETWORK + f"batch-size = 16\nlearning-rate = 1e30\ndata = {t.images()}\n")
    for ranks in (0, 2):
        t.run("train", config, "--output", t.path(f"run{ranks}"), ranks=ranks, code=1).says(
            r"not finite on this rank, for samples \d+ to \d+; in the data set \d+, \d+",
            r"the loss of step \d+ \(epoch 0, samples \d+ to \d+ of its order\) is -?(nan|inf): lower learning-rate")


def test_steps_with_a_bad_loss_are_left_out_on_request_but_not_for_ever(t):
    config = t.config(NETWORK + f"batch-size = 16\nlearning-rate = 1e30\nbad-loss = skip\ndata = {t.images()}\n")
    t.run("train", config, "--output", t.path("run"), ranks=2, code=1).says(
        r"samples \d+ to \d+ of its order\) is -?(nan|inf); left out", "and 9 steps before it were as bad")


def test_step_whose_loss_is_an_outlier_is_named_and_left_out_or_ends_the_run(t):
    values = random.Random(5)
    lines = ["a,b,c,d,target"]
    for i in range(1600):
        x = [values.gauss(0, 1) for _ in range(4)]
        lines.append(",".join(f"{v:.4f}" for v in [*x, 1e6 if i == 1330 else sum(x)]))
    table = t.path("table.h5")
    source = t.write("table.csv", "\n".join(lines))
    t.run("data", "import", "csv", source, "--csv-kind", "regression", "--test-share", "0", "--output", table)
    model = "model = mlp\nhidden = 8\nbatch-size = 10\nepochs = 1\nshuffle = false\noutlier-sigmas = 20\n"
    config = t.config(model + f"data = {table}\n")
    said = r"the loss of step 133 \(epoch 0, samples 1330 to 1339 of its order\) is [\d.]+"
    for ranks in (0, 2):
        options = ["train", config, "--test-split", "", "--output", t.path(f"run{ranks}")]
        t.run(*options, ranks=ranks, code=1).says(said + ": lower learning-rate")
        t.run(*options, "--bad-loss", "skip", ranks=ranks).says(said + "; left out", "training ended: epochs after 160 steps")


def test_evaluation_every_few_steps_writes_a_line_each(t):
    config = t.config(NETWORK + SGD + f"batch-size = 16\nepochs = 2\nevaluate-steps = 5\ndata = {t.images()}\n")
    t.run("train", config, "--output", t.path("run"), ranks=2)
    steps = [line["step"] for line in results_in_metrics(t.path("run/metrics.jsonl")) if line["split"] == "test"]
    assert steps == [5, 10, 13, 15, 20, 25, 26], steps


def test_best_checkpoint_is_chosen_by_a_metric_of_the_task(t):
    h5py()
    config = t.config(NETWORK + SGD + f"batch-size = 16\nepochs = 3\nbest-metric = f1\ndata = {t.images()}\n")
    t.run("train", config, "--output", t.path("run"), ranks=2)
    best = read_checkpoint(t.path("run/checkpoints/best.h5"))[1]["position"]
    values = {line["step"]: line["f1"] for line in results_in_metrics(t.path("run/metrics.jsonl")) if line["split"] == "test"}
    assert best["best_metric"] == "f1" and best["best_value"] == max(values.values()) == values[best["step"]], (best, values)
    t.run("train", config, "--output", t.path("new"), "--best-metric", "r2", code=2).says(
        "best-metric: this task has loss, accuracy, f1, perplexity; found 'r2'")
    t.run("evaluate", "--checkpoint", t.path("run/checkpoints/best.h5"), "--data", t.path("images.h5")).says(
        "accuracy", "F1, mean", "perplexity", r"label \\ answer", r"\n  3  ")


if __name__ == "__main__":
    run_tests(globals())
