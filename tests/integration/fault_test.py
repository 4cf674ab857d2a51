# SPDX-License-Identifier: Apache-2.0
"""A rank that dies at the worst moment costs no step that a checkpoint held, and a clock that jumps costs nothing at all."""

import os
import re
import signal
import struct

from resume_test import NETWORK
from support import assert_same_checkpoint, h5py, is_alive, read_metrics, results_in_metrics, run_tests, wait_until

RUN = (
    NETWORK
    + "optimizer = adamw\nlearning-rate = 0.002\nbatch-size = 16\nepochs = 3\nevaluate-every = 0\nlog-every = 1\n"
    + "checkpoint-every = 0\ncheckpoint-steps = 3\nkeep = 3\n"
)
STEPS = 39  # 13 per epoch
KILLED = (-9, 137)  # without and with mpirun


def commands(t, *flags):
    """Of a run that is left alone, which is made, and of one with faults."""
    h5py()
    config = t.config(RUN + f"data = {t.images()}\n")
    return [["train", config, *flags, "--output", t.path(output)] for output in ("whole", "parts")]


def shim(**variables):
    """What makes the ranks load the fault shim."""
    return {"LD_PRELOAD": os.environ["PHALANX_FAULT_SHIM"], **variables}


def unfinished(t, output="parts"):
    return [name for name in os.listdir(t.path(output, "checkpoints")) if ".tmp-" in name]


def goes_on(t, command, ranks, held):
    """To the end, from the checkpoint that the fault has left."""
    result = t.run(*command, ranks=ranks).says(f"resuming from .*: step {held},", f"after {STEPS} steps")
    assert "passing over" not in result.text, result.text
    assert unfinished(t) == []
    return result


def train_lines(t, output):
    return [line for line in results_in_metrics(t.path(output, "metrics.jsonl")) if line["split"] == "train"]


def dies_and_goes_on(t, fault, ranks, *flags):
    """A run that holds step 9 dies at the fault; returns the step that it held then."""
    whole, parts = commands(t, *flags)
    t.run(*whole, ranks=ranks)
    t.run(*parts, "--max-steps", 9, ranks=ranks)
    result = t.start(*parts, ranks=ranks, environment=shim(PHALANX_FAULT=fault)).wait(20)
    assert result.code in KILLED, f"expected a killed rank, found exit code {result.code}; it wrote:\n{result.text}"
    held = t.newest_step("parts")
    assert 9 <= held < STEPS, held
    left = unfinished(t)
    goes_on(t, parts, ranks, held)
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))
    assert train_lines(t, "whole") == train_lines(t, "parts")
    return held, left


def test_rank_killed_in_backward_costs_no_step_of_a_checkpoint(t):
    dies_and_goes_on(t, "backward 17", 2)


def test_rank_killed_in_a_collective_costs_no_step_of_a_checkpoint(t):
    dies_and_goes_on(t, "collective 400", 2)


def dies_in_a_checkpoint(t, ranks, *flags):
    for fault in "write 40", "fsync 5", "rename 3":  # the first fsync and rename are those of config.cfg
        held, left = dies_and_goes_on(t, fault, ranks, *flags)
        assert len(left) == 1 and left[0].startswith(f"step_{held + 3:09}.h5.tmp-"), f"{fault}: {left} behind step {held}"
        for output in "whole", "parts":
            os.rename(t.path(output), t.path(f"{output} {fault}"))


def test_rank_killed_in_a_checkpoint_costs_no_step_of_the_one_before(t):
    dies_in_a_checkpoint(t, 2)


def test_process_killed_in_a_checkpoint_that_training_waits_for_costs_no_step_of_the_one_before(t):
    dies_in_a_checkpoint(t, 0, "--checkpoint-async", "false")


def test_rank_killed_while_others_wait_for_a_hanging_one_costs_no_step_of_a_checkpoint(t):
    whole, parts = commands(t, "--epochs", 100)
    t.run(*whole, "--max-steps", STEPS, ranks=3)
    job = t.start(*parts, ranks=3)
    pids = job.rank_pids()
    wait_until(lambda: t.newest_step("parts") >= 3 or not job.is_running(), 30, "a checkpoint is there")
    os.kill(pids[2], signal.SIGSTOP)
    try:
        wait_until(lambda: not is_running_step(pids[1]), 10, "rank 1 waits")
        os.kill(pids[1], signal.SIGKILL)
        assert job.wait(10).code == 137
    finally:
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
    held = t.newest_step("parts")
    t.run(*parts, "--max-steps", held + 3, ranks=3).says(f"resuming from .*: step {held},")


def test_rank_that_hangs_at_the_very_end_ends_the_job_after_the_deadline(t):
    command = commands(t)[0]
    stops = shim(PHALANX_FAULT=f"finalize 1 1 {int(signal.SIGSTOP)}")
    job = t.start(*command, "--deadline-seconds", 2, ranks=3, environment=stops)
    pids = job.rank_pids()
    try:
        job.wait(20).says(f"after {STEPS} steps", "waited 2 s for another rank to end")
        assert job.process.returncode == 5, job.process.returncode
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 10, "no rank is left")
    finally:
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
    assert t.newest_step("whole") == STEPS


def is_running_step(pid):
    """Whether the process computes; in a long wait it sleeps."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "R"


def event_times(folder):
    """Wall clock times of TensorBoard events, file by file; the files are named by their time."""
    times = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            while head := file.read(12):
                event = file.read(struct.unpack("<Q", head[:8])[0])
                file.read(4)
                assert event[0] == 9, "an event begins with its time, field 1, a double"
                times.append(struct.unpack("<d", event[1:9])[0])
    return times


def test_clock_set_back_changes_nothing(t):
    whole, parts = commands(t)
    t.run(*whole, ranks=2)
    t.run(*parts, "--max-steps", 9, ranks=2, environment=shim(PHALANX_CLOCK="-7200 0"))  # leaves files from the future
    for name in t.checkpoints("parts")[:-1]:
        os.utime(t.path("parts/checkpoints", name), (4e9, 4e9))
    jump = shim(PHALANX_CLOCK="3600 15")
    result = t.run(*parts, "--deadline-seconds", 5, ranks=2, environment=jump)
    result.says("resuming from .*: step 9,", f"after {STEPS} steps")
    times = event_times(t.path("parts/tensorboard"))
    jumps = [round((after - before) / 3600) for before, after in zip(times, times[1:])]
    assert [hours for hours in jumps if hours] == [-1, 3], jumps  # back within the second run; the first was in the future
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))
    lines = read_metrics(t.path("parts/metrics.jsonl"))
    seconds = [line["seconds"] for line in lines if "seconds" in line]
    assert seconds == sorted(seconds) and seconds[-1] < 60, seconds
    clocked = {name: value for line in lines for name, value in line.items() if "second" in name}
    assert all(value >= 0 for value in clocked.values()), clocked


def test_step_with_a_bad_loss_leaves_the_checkpoint_of_the_step_before(t):
    for ranks in 0, 2:
        output = f"run{ranks}"
        config = t.config(NETWORK + f"batch-size = 16\nlearning-rate = 1e30\ncheckpoint-steps = 1\ndata = {t.images()}\n")
        result = t.run("train", config, "--output", t.path(output), ranks=ranks, code=1)
        bad = int(re.search(r"the loss of step (\d+) \(epoch 0", result.text).group(1))
        assert t.newest_step(output) == bad, f"{t.checkpoints(output)}, bad step {bad}"
        t.run("evaluate", "--checkpoint", t.newest(output), "--data", t.path("images.h5"))


if __name__ == "__main__":
    run_tests(globals())
