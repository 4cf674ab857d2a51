# SPDX-License-Identifier: Apache-2.0
"""Faults at random moments, by hand: every round trains into a new folder, is hit up to three times, goes on, and has to
end with the bits of a run that was left alone.

    source launch/common.sh; python3 tests/integration/fault_loop.py --rounds 50

The faults depend on --seed and the number of the round only, but where a signal meets the program is up to the machine. A
fault that comes after the end of the run is counted as one that missed.
"""

import argparse
import collections
import os
import random
import re
import secrets
import signal
import sys
import time

from fault_test import KILLED, shim, unfinished
from resume_test import NETWORK
from support import SOURCE, Scene, assert_same_checkpoint, is_alive, wait_until

STEPS = 390  # 30 epochs of 13
RUN = (
    NETWORK
    + "optimizer = adamw\nlearning-rate = 0.002\nbatch-size = 64\nepochs = 30\nevaluate-every = 3\n"
    + "checkpoint-every = 0\ncheckpoint-steps = 5\nkeep = 3\n"
)
# Flags, and the numbers of ranks between which a run may change without changing its bits.
KINDS = {
    "of 1 rank": ([], [0]),
    "of 2 ranks": ([], [2]),
    "sharded": (["--shard-optimizer", "true"], [2]),
    "reproducible": (["--reproducible", "true", "--virtual-shards", 4], [0, 2, 4]),
}
# A preempted run saves one step more than the others, and so takes the mean of its ranks' running statistics at that step
# too, which rounds otherwise; only reproducible runs keep no such statistics by rank.
ROUNDS_STATISTICS = ("of 2 ranks", "sharded")
PLACES = {"backward": 200, "collective": 3000, "write": 2000, "fsync": 150, "rename": 75}  # and the largest count
FINISHED, PEER_LOST, PREEMPTED = 0, 5, 6
UNHEARD = (-signal.SIGUSR1, 128 + signal.SIGUSR1)  # came before the program had read its configuration


class Run:
    """One folder that is trained into, again and again, until the training is over."""

    def __init__(self, scene, values, kind, output):
        self.scene = scene
        self.values = values
        self.flags, self.ranks = KINDS[kind]
        self.output = output
        self.held = -1  # the newest step that has to be there, and to be whole
        self.torn = None  # name and size of a checkpoint that was torn, until the run has written it anew

    def command(self, *flags):
        return ["train", self.scene.path("run.cfg"), "--output", self.scene.path(self.output), *self.flags, *flags]

    def start(self, *flags, environment=None):
        waits = self.values.random() < 0.25
        asynchronous = ["--checkpoint-async", "false" if waits else "true"]
        ranks = self.values.choice(self.ranks)
        return self.scene.start(*self.command(*asynchronous, *flags), ranks=ranks, environment=environment)

    def start_and_wait_for_a_random_step(self, *flags):
        job = self.start(*flags)
        pids = job.rank_pids()
        # Not before all ranks are in MPI: Open MPI's launcher may hang when a process dies while it is introduced.
        wait_until(lambda: re.search(r" ranks? on 1 node", job.text()) or not job.is_running(), 60, "all ranks are there")
        step = self.values.randint(max(self.held, 0), STEPS)
        wait_until(lambda: self.scene.newest_step(self.output) >= step or not job.is_running(), 60, f"step {step} is saved")
        time.sleep(self.values.uniform(0, 0.03))
        return job, pids

    def newest_whole(self):
        names = self.scene.checkpoints(self.output)
        if self.torn and (self.torn[0] not in names or self.size(self.torn[0]) != self.torn[1]):
            self.torn = None
        whole = [name for name in names if not self.torn or name != self.torn[0]]
        return int(whole[-1][5:14]) if whole else -1

    def size(self, name):
        return os.path.getsize(self.scene.path(self.output, "checkpoints", name))

    def tear_the_newest(self):
        names = self.scene.checkpoints(self.output)
        if len(names) < 2 or self.torn:
            return
        size = self.values.randrange(self.size(names[-1]))
        os.truncate(self.scene.path(self.output, "checkpoints", names[-1]), size)
        self.torn = names[-1], size
        self.held = self.newest_whole()

    def check(self, job, codes):
        """The job ended as it had to, went on from the newest whole checkpoint, and lost none. True if the fault met it."""
        result = job.wait(60)
        assert result.code in (*codes, FINISHED), f"exit code {result.code}, expected {codes}:\n{result.text}"
        if self.held >= 0 and ("resuming" in result.text or result.code == FINISHED):
            result.says(f"resuming from .*: step {self.held},")
        assert ("passing over" in result.text) == bool(self.torn and "resuming" in result.text), result.text
        newest = self.newest_whole()
        assert newest >= self.held, f"step {self.held} was held, now {newest}"
        self.held = newest
        return result.code != FINISHED


def kill(pids):
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def killed(run):
    job, pids = run.start_and_wait_for_a_random_step()
    kill([run.values.choice(pids)])
    return run.check(job, KILLED)


def killed_at_a_place(run):
    place, most = run.values.choice(list(PLACES.items()))
    job = run.start(environment=shim(PHALANX_FAULT=f"{place} {run.values.randint(1, most)}"))
    return run.check(job, KILLED)


def stopped(run):
    job, pids = run.start_and_wait_for_a_random_step("--deadline-seconds", 1)
    victim = run.values.choice(pids)
    if len(pids) == 1 or not is_alive(victim):
        kill(pids)  # nobody would notice
        return run.check(job, KILLED)
    os.kill(victim, signal.SIGSTOP)
    deadline = time.monotonic() + 15
    while job.is_running() and time.monotonic() < deadline:
        time.sleep(0.02)
    if job.is_running():
        # Nobody but the launcher waits for a rank that is through with its run; then the fault came too late.
        assert run.scene.newest_step(run.output) == STEPS, f"the deadline of 1 s was far off; it wrote:\n{job.text()}"
        os.kill(victim, signal.SIGCONT)
    try:
        return run.check(job, (PEER_LOST,))
    finally:
        kill(pids)


def preempted(run):
    job, pids = run.start_and_wait_for_a_random_step()
    victim = run.values.choice(pids)
    if is_alive(victim):
        os.kill(victim, signal.SIGUSR1)
    return run.check(job, (PREEMPTED, *UNHEARD))


def torn(run):
    met = killed(run)
    run.tear_the_newest()
    return met


FAULTS = (killed, killed_at_a_place, stopped, preempted, torn)


def one_round(scene, number, seed, counts):
    values = random.Random(f"{seed}/{number}")
    kind = values.choice(list(KINDS))
    run = Run(scene, values, kind, f"round{number}")
    possible = [fault for fault in FAULTS if fault is not preempted or kind not in ROUNDS_STATISTICS]
    faults = [values.choice(possible) for _ in range(values.randint(1, 3))]
    print(f"round {number}: {kind}: {', '.join(fault.__name__ for fault in faults)}", flush=True)
    for fault in faults:
        counts[fault.__name__, "met" if fault(run) else "missed"] += 1
    assert not run.check(run.start(), ())
    assert scene.newest_step(run.output) == STEPS and unfinished(scene, run.output) == []
    assert_same_checkpoint(scene.newest(run.output), scene.newest(kind))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--build", default=os.path.join(SOURCE, "build", "release"), help="folder of the build")
    arguments = parser.parse_args()
    os.environ.setdefault("PHALANX_BINARY", os.path.join(arguments.build, "bin", "phalanx"))
    os.environ.setdefault("PHALANX_FAULT_SHIM", os.path.join(arguments.build, "tests", "integration", "libfault_shim.so"))
    print(f"seed {arguments.seed}")
    scene, counts, began = Scene(), collections.Counter(), time.monotonic()
    try:
        scene.config(RUN + f"data = {scene.images(train=800, side=16)}\n")
        for kind in KINDS:
            run = Run(scene, random.Random(0), kind, kind)
            assert not run.check(run.start(), ()), kind
        for number in range(arguments.first, arguments.first + arguments.rounds):
            one_round(scene, number, arguments.seed, counts)
    finally:
        for (fault, outcome), count in sorted(counts.items()):
            print(f"  {fault:18} {outcome:7} {count:3}")
        scene.close()
    print(f"{arguments.rounds} rounds in {time.monotonic() - began:.0f} s, seed {arguments.seed}: no step was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
