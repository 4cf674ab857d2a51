# SPDX-License-Identifier: Apache-2.0
"""launch/quickstart.sh does what it promises, on 2,000 images."""

import gzip
import os
import re
import struct
import subprocess

from support import SOURCE, Skip, read_metrics, run_tests

FASHION_MNIST = "/usr/share/datasets/fashion-mnist"


def subset(t, split, rows):
    """The first rows of one split."""
    for kind, row_bytes, header_bytes in ("images-idx3", 784, 16), ("labels-idx1", 1, 8):
        name = f"{split}-{kind}-ubyte"
        path = os.path.join(FASHION_MNIST, name)
        opened = gzip.open(path + ".gz") if os.path.exists(path + ".gz") else open(path, "rb")
        with opened as file:
            header = bytearray(file.read(header_bytes))
            header[4:8] = struct.pack(">i", rows)
            t.write(f"fashion/{name}", bytes(header) + file.read(rows * row_bytes))


def quickstart(t, *flags):
    environment = {
        **os.environ,
        "PHALANX_BINARY": t.binary,
        "PHALANX_IMAGES": t.path("fashion"),
        "PHALANX_DATA": t.path("fashion.h5"),
        "PHALANX_OUTPUT": t.path("run"),
    }
    command = [os.path.join(SOURCE, "launch/quickstart.sh"), *flags]
    done = subprocess.run(command, env=environment, cwd=t.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_quickstart_trains_evaluates_and_predicts_2000_images(t):
    if not os.path.isdir(FASHION_MNIST):
        raise Skip(f"there is no {FASHION_MNIST}: install the package dataset-fashion-mnist")
    subset(t, "train", 2000)
    subset(t, "t10k", 500)
    said = quickstart(t, "--ranks", "2", "--epochs", "3")
    accuracies = [line["accuracy"] for line in read_metrics(t.path("run/metrics.jsonl")) if line["split"] == "test"]
    assert len(accuracies) == 3 and max(accuracies) > 0.6, accuracies
    assert float(re.search(r"\n  accuracy +([0-9.]+)", said)[1]) == round(max(accuracies), 4), said
    assert "training ended: epochs after 48 steps" in said and "predicted 500 rows" in said, said
    with open(t.path("run/predictions/predictions.csv"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert len(lines) == 501 and "probability_Ankle boot" in lines[0], lines[0]
    again = quickstart(t, "--ranks", "2", "--epochs", "3")
    for says in ("unchanged|up to date|same source", "resuming from .*step 48|training ended: epochs after 48",
                 "nothing to do: 500 rows"):
        assert re.search(says, again), again


if __name__ == "__main__":
    run_tests(globals())
