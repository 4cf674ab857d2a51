# SPDX-License-Identifier: Apache-2.0
"""Batch prediction: the same bytes on any number of ranks, and nothing is computed twice after a kill."""

import csv
import os
import re
import signal

from support import h5py, read_values, run_tests, wait_until

MLP = "model = mlp\nhidden = 16\nbatch-size = 16\noptimizer = adam\n"


def content(t, folder):
    """Bytes of the finished files of one folder, which holds nothing else."""
    assert sorted(os.listdir(t.path(folder))) == ["predictions.csv", "predictions.h5"], os.listdir(t.path(folder))
    files = {}
    for name in "predictions.h5", "predictions.csv":
        with open(t.path(folder, name), "rb") as file:
            files[name] = file.read()
    return files


def train(t, data, output="run", **options):
    config = t.config(MLP + f"data = {data}\n")
    flags = [word for key, value in options.items() for word in ("--" + key, value)]
    t.run("train", config, "--output", t.path(output), "--max-steps", 40, *flags)
    return t.newest(output)


def predict(t, checkpoint, data, output, *flags, ranks=0, code=0):
    command = ["predict", "--checkpoint", checkpoint, "--data", data, "--output", t.path(output), *flags]
    return t.run(*command, ranks=ranks, code=code)


def same_on_all_ranks(t, kind):
    data = t.images(test=203) if kind == "images" else t.table(rows=1000, kind=kind)
    checkpoint = train(t, data)
    predict(t, checkpoint, data, "one", "--batch-size", 8)
    for ranks in 1, 2, 4:
        predict(t, checkpoint, data, f"on_{ranks}", "--batch-size", 8, ranks=ranks).says(f"on {ranks} rank")
        assert content(t, f"on_{ranks}") == content(t, "one"), f"{ranks} ranks give other bytes"
    with open(t.path("one/predictions.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return rows[0], rows[1:]


def test_class_predictions_have_the_same_bytes_on_1_2_and_4_ranks(t):
    h5py()
    head, rows = same_on_all_ranks(t, "images")
    assert head == ["row", "prediction"] + [f"probability_{k}" for k in range(4)], head
    assert [int(row[0]) for row in rows] == list(range(203))
    with h5py().File(t.path("images.h5"), "r") as file:
        labels = file["test/y"][()].tolist()
    with h5py().File(t.path("one/predictions.h5"), "r") as file:
        answers, done = file["prediction"][()].tolist(), file["done"][()].tolist()
        assert file["row"][()].tolist() == list(range(203))
    assert done == [1] * 26, done
    assert [int(row[1]) for row in rows] == answers
    for row in rows:
        probabilities = [float(p) for p in row[2:]]
        assert abs(sum(probabilities) - 1) < 1e-5 and probabilities.index(max(probabilities)) == int(row[1]), row
    right = sum(a == b for a, b in zip(answers, labels, strict=True)) / len(labels)
    evaluated = t.run("evaluate", "--checkpoint", t.newest("run"), "--data", t.path("images.h5")).text
    assert f"{right:.4f}" == re.search(r"accuracy +([0-9.]+)", evaluated)[1], (right, evaluated)
    assert right > 0.5, right


def test_binary_predictions_have_the_same_bytes_on_1_2_and_4_ranks(t):
    head, rows = same_on_all_ranks(t, "binary")
    assert head == ["row", "prediction_target", "probability_target"], head
    assert len(rows) == 200 and all(int(r[1]) == (float(r[2]) >= 0.5) for r in rows)


def test_real_predictions_have_the_same_bytes_on_1_2_and_4_ranks(t):
    h5py()
    head, rows = same_on_all_ranks(t, "regression")
    assert head == ["row", "prediction_target"], head
    with h5py().File(t.path("table.h5"), "r") as file:
        targets = file["test/y"][()].ravel().tolist()
    evaluated = t.run("evaluate", "--checkpoint", t.newest("run"), "--data", t.path("table.h5")).text
    error = sum(abs(float(r[1]) - y) for r, y in zip(rows, targets, strict=True)) / len(rows)
    found = float(re.search(r"mean abs. error +([0-9.]+)", evaluated)[1])
    assert abs(error - found) < 1e-4 * found, (error, found)


def kill_predict_and_finish(t, ranks):
    h5py()
    data = t.images(train=64, test=30000, side=4)
    checkpoint = train(t, data)
    batch = ["--batch-size", "2"]
    predict(t, checkpoint, data, "whole", *batch)
    partial = t.path("parts/predictions.partial.h5")
    job = t.start("predict", "--checkpoint", checkpoint, "--data", data, "--output", t.path("parts"), *batch, ranks=ranks)
    pids = job.rank_pids()
    wait_until(lambda: done_marks(partial) > 100 or not job.is_running(), 60, "batches are done")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert job.wait(20).code in (-9, 137), "it was over before it was killed"
    done = done_marks(partial)
    assert 100 < done < 15000, done
    assert not os.path.exists(t.path("parts/predictions.csv"))
    second = predict(t, checkpoint, data, "parts", *batch, ranks=ranks)
    second.says(f"predicted {30000 - 2 * done} rows", f"done before +{2 * done} rows")
    assert content(t, "parts") == content(t, "whole")


def done_marks(path):
    """How many batches a file of predictions says are done; read past HDF5, which may be writing."""
    try:
        with h5py().File(path, "r", locking=False) as file:
            return int(file["done"][()].sum())
    except (OSError, TypeError):
        return 0


def test_killed_prediction_is_finished_by_a_second_call_on_1_rank(t):
    kill_predict_and_finish(t, 0)


def test_killed_prediction_is_finished_by_a_second_call_on_2_ranks(t):
    kill_predict_and_finish(t, 2)


def test_finished_prediction_is_left_alone(t):
    data = t.images()
    checkpoint = train(t, data)
    predict(t, checkpoint, data, "out", ranks=2)
    before = content(t, "out")
    times = [os.stat(t.path("out", name)).st_mtime_ns for name in sorted(before)]
    predict(t, checkpoint, data, "out", ranks=2).says("nothing to do: 50 rows were predicted before")
    assert times == [os.stat(t.path("out", name)).st_mtime_ns for name in sorted(before)]
    os.remove(t.path("out/predictions.csv"))
    predict(t, checkpoint, data, "out").says("nothing to do")
    assert content(t, "out") == before


def test_predictions_of_another_checkpoint_are_not_overwritten(t):
    data = t.images()
    checkpoint, other = train(t, data), train(t, data, "other", seed=2)
    predict(t, checkpoint, data, "out")
    before = content(t, "out")
    for ranks in 0, 2:
        predict(t, other, data, "out", ranks=ranks, code=3).says("predictions.h5 holds other predictions", "step 40")
        predict(t, checkpoint, data, "out", "--split", "train", ranks=ranks, code=3).says("holds other predictions")
    assert content(t, "out") == before


def test_data_that_does_not_fit_the_model_is_refused(t):
    checkpoint = train(t, t.images())
    other = t.images(side=6, name="other")
    for command in "predict", "evaluate":
        flags = ["--output", t.path("out")] if command == "predict" else []
        refused = t.run(command, "--checkpoint", checkpoint, "--data", other, *flags, ranks=2, code=3)
        refused.says(r"other\.h5: its samples have the shape \[1, 6, 6\], but the model takes \[1, 8, 8\]")
    assert not os.path.exists(t.path("out"))


def test_predictions_do_not_depend_on_the_statistics_of_new_data(t):
    h5py()
    checkpoint, data = train(t, t.images()), t.images(train=10, test=50, name="new")
    predict(t, checkpoint, t.path("images.h5"), "old")
    predict(t, checkpoint, data, "new")
    with h5py().File(t.path("old/predictions.h5")) as old, h5py().File(t.path("new/predictions.h5")) as new:
        assert old["probability"][()].tobytes() == new["probability"][()].tobytes()
    assert read_values(checkpoint), "the checkpoint holds no parameters"


if __name__ == "__main__":
    run_tests(globals())
