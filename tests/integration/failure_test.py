# SPDX-License-Identifier: Apache-2.0
"""A rank that dies or hangs, and a disk that is full or read-only, end the job soon, with the right code."""

import os
import re
import signal
import subprocess
import sys
import time

from support import Skip, children, is_alive, run_tests, wait_until

NETWORK = "model = mlp\nhidden = 64\nbatch-size = 16\noptimizer = adamw\nlearning-rate = 0.001\n"
ENDLESS = NETWORK + "epochs = 100000\ncheckpoint-every = 0\nevaluate-every = 0\ncheckpoint-steps = 2000\nkeep = 1\n"


def start_endless(t, ranks, *flags):
    """A run of several ranks, once it has saved a checkpoint; also the process ids of the ranks."""
    config = t.config(ENDLESS + f"data = {t.images()}\n")
    job = t.start("train", config, "--output", t.path("run"), *flags, ranks=ranks)
    pids = job.rank_pids()
    wait_until(lambda: t.newest_step("run") > 0 or not job.is_running(), 60, "a checkpoint is there")
    assert job.is_running(), job.text()
    return job, pids


def assert_ends_alone(job, pids, code, seconds):
    began = time.monotonic()
    result = job.wait(seconds)
    took = time.monotonic() - began
    wait_until(lambda: not any(is_alive(pid) for pid in pids), max(seconds - took, 0.1), "no rank is left")
    assert result.code == code, f"expected exit code {code}, found {result.code}; it wrote:\n{result.text}"
    return result


def test_killed_rank_ends_the_job_within_10_seconds(t):
    job, pids = start_endless(t, 3)
    os.kill(pids[1], signal.SIGKILL)
    assert_ends_alone(job, pids, 137, 10).says("signal 9")  # mpirun's code: 128 + the signal
    t.run("evaluate", "--checkpoint", t.newest("run"), "--data", t.path("images.h5"))


def test_rank_that_hangs_ends_the_job_after_the_deadline(t):
    job, pids = start_endless(t, 3, "--deadline-seconds", 2)
    os.kill(pids[2], signal.SIGSTOP)
    try:
        result = assert_ends_alone(job, pids, 5, 12)
    finally:
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
    result.says("rank 2", r"waited \d")
    held = t.newest_step("run")
    again = ["train", t.path("run.cfg"), "--output", t.path("run"), "--max-steps", held + 1]
    t.run(*again, ranks=3).says(f"resuming from .*: step {held},", f"max-steps after {held + 1} steps")


def test_rank_that_never_comes_is_named_at_start_up(t):
    absent = t.write("absent.sh", 'if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then exec sleep 60; fi\nexec "$@"\n')
    config = t.config(ENDLESS + f"data = {t.images()}\n")
    environment = dict(os.environ, PHALANX_START_SECONDS="1.5")
    command = [t.mpiexec, "-n", "3", "sh", absent, t.binary, "train", config, "--output", t.path("run")]
    began = time.monotonic()
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 5, result
    assert time.monotonic() - began < 10, result.stderr
    host = os.uname().nodename
    wanted = rf"rank [02] on {host} waited 1\.5 s at start-up in MPI_Init; missing: rank 1 on {host}\n"
    assert re.search(wanted, result.stderr), result.stderr


def test_killed_prediction_rank_ends_the_job_within_10_seconds(t):
    data = t.images(train=64, test=60000, side=4)
    t.run("train", t.config(NETWORK + f"data = {data}\n"), "--output", t.path("run"), "--max-steps", 4, "--test-split", "")
    command = ["predict", "--checkpoint", t.newest("run"), "--data", data, "--output", t.path("out"), "--batch-size", 1]
    job = t.start(*command, ranks=2)
    pids = job.rank_pids()
    wait_until(lambda: os.path.exists(t.path("out/predictions.partial.h5")), 30, "the file is begun")
    time.sleep(0.2)
    os.kill(pids[1], signal.SIGKILL)
    assert_ends_alone(job, pids, 137, 10)
    assert not os.path.exists(t.path("out/predictions.h5")), "an unfinished file has the finished name"


# --- disks


def in_own_mounts(t, test):
    """Runs the test again in a namespace in which it may mount file systems, which vanish with it."""
    if os.environ.get("PHALANX_OWN_MOUNTS"):
        return True
    command = ["unshare", "--user", "--map-root-user", "--mount"] if os.getuid() else ["unshare", "--mount"]
    try:
        tried = subprocess.run([*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Skip(f"no file system can be mounted here ({error})") from error
    if tried.returncode != 0:
        raise Skip(f"no file system can be mounted here ({tried.stderr.strip()})")
    environment = {**os.environ, "PHALANX_OWN_MOUNTS": "1", "TMPDIR": t.folder}
    again = subprocess.run([*command, sys.executable, __file__, test], env=environment, check=False)
    assert again.returncode == 0, "failed within the namespace, see above"
    return False


def mount(folder, *options):
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder], check=True)


def nearly_full_disk(folder, free_bytes):
    """A disk of 64 MiB whose space is taken but for free_bytes; removing the file that is returned gives it back."""
    mount(folder, "size=64m")
    filler = os.path.join(folder, "filler")
    with open(filler, "wb") as file:
        file.write(b"\1" * ((64 << 20) - free_bytes))
    return filler


def full_disk(t, ranks, *flags):
    data = t.images()
    small = t.path("small")
    filler = nearly_full_disk(small, 768 << 10)
    output = ["--output", os.path.join(small, "run"), *flags]
    config = t.config(NETWORK + f"epochs = 10\ncheckpoint-steps = 5\nkeep = 1000\nevaluate-every = 0\ndata = {data}\n")
    t.run("train", config, *output, ranks=ranks, code=4).says(r"step_\d+\.h5.*No space left on device")
    kept = t.newest_step("small/run")
    assert 0 < kept < 130, kept
    assert [n for n in os.listdir(t.path("small/run/checkpoints")) if not n.endswith(".h5")] == []
    t.run("evaluate", "--checkpoint", t.newest("small/run"), "--data", data, ranks=ranks)
    os.remove(filler)
    t.run("train", config, *output, ranks=ranks).says(f"resuming from .*: step {kept},", "after 130 steps")


def test_full_disk_keeps_the_last_checkpoint_on_1_rank(t):
    if in_own_mounts(t, "test_full_disk_keeps_the_last_checkpoint_on_1_rank"):
        full_disk(t, 0)


def test_full_disk_keeps_the_last_checkpoint_where_training_waits_for_it(t):
    if in_own_mounts(t, "test_full_disk_keeps_the_last_checkpoint_where_training_waits_for_it"):
        full_disk(t, 0, "--checkpoint-async", "false")


def test_full_disk_keeps_the_last_checkpoint_on_2_ranks(t):
    if in_own_mounts(t, "test_full_disk_keeps_the_last_checkpoint_on_2_ranks"):
        full_disk(t, 2)


def test_full_disk_ends_a_prediction_that_can_be_finished_later(t):
    if not in_own_mounts(t, "test_full_disk_ends_a_prediction_that_can_be_finished_later"):
        return
    data = t.images(train=64, test=8000, side=4)
    t.run("train", t.config(NETWORK + f"data = {data}\n"), "--output", t.path("run"), "--max-steps", 4)
    predict = ["predict", "--checkpoint", t.newest("run"), "--data", data, "--output"]
    t.run(*predict, t.path("whole"))
    small = t.path("small")
    for kib in 64, 400:  # room for neither the file nor, the second time, the CSV
        filler = nearly_full_disk(small, kib << 10)
        t.run(*predict, t.path("small/out"), code=4).says(r"predictions\.(partial\.h5|csv).*(No space left|disk full)")
        os.remove(filler)
        t.run(*predict, t.path("small/out"))
        assert sorted(os.listdir(t.path("small/out"))) == ["predictions.csv", "predictions.h5"]
        for name in "predictions.csv", "predictions.h5":
            with open(t.path("small/out", name), "rb") as found, open(t.path("whole", name), "rb") as expected:
                assert found.read() == expected.read(), name
        subprocess.run(["umount", small], check=True)


def test_read_only_folder_is_named(t):
    if not in_own_mounts(t, "test_read_only_folder_is_named"):
        return
    data = t.images()
    config = t.config(NETWORK + f"epochs = 1\ndata = {data}\n")
    t.run("train", config, "--output", t.path("run"))
    fixed = t.path("fixed")
    mount(fixed, "ro")
    where = re.escape(t.path("fixed/out"))
    for ranks in 0, 2:
        t.run("train", config, "--output", t.path("fixed/out"), ranks=ranks, code=4).says(where + ".*Read-only file system")
        predict = ["predict", "--checkpoint", t.newest("run"), "--data", data, "--output", t.path("fixed/out")]
        t.run(*predict, ranks=ranks, code=4).says(where + ".*Read-only file system")
    imported = ["data", "import", "idx", t.path("images_idx"), "--output", t.path("fixed/out/data.h5")]
    t.run(*imported, code=4).says(where + ".*Read-only file system")


def test_no_process_of_a_finished_job_is_left(t):
    config = t.config(NETWORK + f"epochs = 1\ndata = {t.images()}\n")
    job = t.start("train", config, "--output", t.path("run"), ranks=3)
    pids = job.rank_pids()
    assert_ends_alone(job, pids, 0, 60)
    assert children(job.process.pid) == []


if __name__ == "__main__":
    run_tests(globals())
