#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the event files of a run back with TensorBoard itself.

Usage: check_tensorboard.py <output folder of a run>

Opens <folder>/tensorboard with TensorBoard's EventAccumulator and compares every value with the run's
metrics.jsonl. Exit code 77 means that the Python package tensorboard is not installed.
"""

import json
import os
import struct
import sys

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as error:
    print(f"skipped: the Python package tensorboard is missing ({error})")
    sys.exit(77)


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def expected_scalars(path):
    """Tag -> list of (step, value)."""
    scalars = {}
    with open(path, encoding="utf-8") as file:
        for line in map(json.loads, file):
            for name, value in line.items():
                if name in ("step", "epoch", "split") or name.endswith("_text"):
                    continue
                number = float(line[name + "_text"]) if value is None else value
                scalars.setdefault(f"{name}/{line['split']}", []).append((line["step"], f32(number)))
    return scalars


def main():
    folder = sys.argv[1]
    events = EventAccumulator(os.path.join(folder, "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    assert events.file_version == 2.0, events.file_version
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    expected = expected_scalars(os.path.join(folder, "metrics.jsonl"))
    if found != expected:
        print(f"expected {expected}\nfound    {found}")
        return 1
    print(f"TensorBoard reads all {sum(map(len, found.values()))} scalars back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
