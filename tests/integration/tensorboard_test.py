# SPDX-License-Identifier: Apache-2.0
"""TensorBoard shows the same numbers as metrics.jsonl, also of a run that was killed and resumed."""

import os
import subprocess
import sys

from resume_test import run_and_kill
from support import SKIPPED, SOURCE, Skip, read_metrics, run_tests

NETWORK = """model = mlp
hidden = 16
batch-size = 16
epochs = 20
checkpoint-every = 0
checkpoint-steps = 20
log-every = 3
"""


def test_tensorboard_reads_a_killed_and_resumed_run(t):
    command = ["train", t.config(NETWORK + f"data = {t.images()}\n"), "--output", t.path("run")]
    run_and_kill(t, command, "run", 0, 60)
    t.run(*command).says("resuming from")
    checker = os.path.join(SOURCE, "tests/integration/check_tensorboard.py")
    python = os.environ.get("PHALANX_TENSORBOARD_PYTHON", sys.executable)
    check = subprocess.run([python, checker, t.path("run")], capture_output=True, text=True, check=False)
    if check.returncode == SKIPPED:
        raise Skip(check.stdout.strip().removeprefix("skipped: "))
    assert check.returncode == 0, check.stdout + check.stderr
    scalars = sum(len(line) - 3 for line in read_metrics(t.path("run/metrics.jsonl")))
    assert f"all {scalars} scalars" in check.stdout, (scalars, check.stdout)


if __name__ == "__main__":
    run_tests(globals())
