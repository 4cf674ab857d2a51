#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads event files back with TensorBoard itself.

Usage: check_tensorboard.py <tensorboard_test>

Runs the unit test that writes a run and its resumed part (tests/unit/tensorboard_test.cpp), opens
the folder with TensorBoard's EventAccumulator and compares every value. Exit code 77 means that the
Python package tensorboard is not installed.
"""

import math
import os
import struct
import subprocess
import sys
import tempfile

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as error:
    print(f"skipped: the Python package tensorboard is missing ({error})")
    sys.exit(77)

TEST = "TensorBoardTest.WritesTheFilesThatTheIntegrationCheckReads"
START = 1700000000.25


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def expected_scalars():
    """Tag -> list of (step, wall time, value); steps from 500 on come from the resumed part."""
    loss = [(100 * i, START + i, f32(1 / i)) for i in range(1, 5)]
    loss += [(500, START + 100, 42.0), (1 << 40, START + 101, math.inf)]
    accuracy = [(100 * i, START + i, f32(0.1 * i)) for i in range(1, 5)]
    return {"loss/train": loss, "accuracy/train": accuracy}


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.argv[1], f"--gtest_filter={TEST}"],
            env={**os.environ, "PHALANX_TENSORBOARD_FOLDER": folder},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        events = EventAccumulator(folder, size_guidance={"scalars": 0})
        events.Reload()
        assert events.file_version == 2.0, events.file_version
        found = {
            tag: [(e.step, e.wall_time, e.value) for e in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }
    expected = expected_scalars()
    if found != expected:
        print(f"expected {expected}\nfound    {found}")
        return 1
    print(f"TensorBoard reads all {sum(map(len, found.values()))} scalars back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
