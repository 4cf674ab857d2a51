# SPDX-License-Identifier: Apache-2.0
"""How the samples are cut over ranks and micro-batches changes nothing but rounding; odd sizes work."""

import re

from support import assert_same_checkpoint, h5py, read_metrics, read_values, relative_difference, run_tests

CNN = """
layer = conv 8 3x3 pad 1
layer = relu
layer = max_pool 2x2
layer = dense 16
layer = relu
layer = dense 4
"""
MLP = "model = mlp\nhidden = 32 16\n"
SGD = "optimizer = sgd\nmomentum = 0.9\nlearning-rate = 0.05\nbatch-size = 16\nlog-every = 1\n"


def train(t, data, output, *flags, model=MLP, ranks=0):
    config = t.config(model + SGD + f"data = {data}\n")
    return t.run("train", config, "--output", t.path(output), *flags, ranks=ranks)


def losses(t, output, split="train"):
    return [line["loss"] for line in read_metrics(t.path(output, "metrics.jsonl")) if line["split"] == split]


def assert_close_parameters(t, one, other, tolerance):
    values, others = read_values(t.newest(one)), read_values(t.newest(other))
    assert values.keys() == others.keys()
    for name in values:
        difference = relative_difference(values[name], others[name])
        assert difference <= tolerance, f"{name}: {difference} between {one} and {other}"


def evaluated_loss(t, output, data, ranks=0):
    text = t.run("evaluate", "--checkpoint", t.newest(output), "--data", data, ranks=ranks).text
    return float(re.search(r"loss +([0-9.]+)", text)[1])


def test_partitions_by_range_and_hash_train_on_2_ranks(t):
    data = t.images()
    for partition in "range", "hash":
        train(t, data, partition, "--partition", partition, "--epochs", 3, model=CNN, ranks=2)
        found = losses(t, partition, "train")
        assert len(found) >= 36 and sum(found[-4:]) < 0.7 * sum(found[:4]), (partition, found)
        reported = losses(t, partition, "test")[-1]
        for ranks in 0, 2:
            loss = evaluated_loss(t, partition, data, ranks)
            assert abs(loss - reported) < 2e-6 + 1e-5 * reported, (partition, loss, reported)


def test_column_partition_equals_one_rank(t):
    h5py()
    data = t.images()
    train(t, data, "one", "--max-steps", 20)
    for ranks in 2, 3:
        output = f"column_{ranks}"
        train(t, data, output, "--max-steps", 20, "--partition", "column", ranks=ranks)
        difference = relative_difference(losses(t, "one"), losses(t, output))
        assert difference < 1e-4, difference
        assert_close_parameters(t, "one", output, 1e-4)
        reported = losses(t, output, "test")[-1]
        loss = evaluated_loss(t, output, data)
        assert abs(loss - reported) < 2e-6 + 1e-5 * reported, (loss, reported)


def test_column_partition_of_a_table_resumes_with_the_same_bits(t):
    h5py()
    data = t.table()
    flags = ["--partition", "column", "--epochs", 2]
    train(t, data, "whole", *flags, ranks=2)
    train(t, data, "parts", *flags[:2], "--epochs", 1, ranks=2)
    train(t, data, "parts", *flags, ranks=2).says("resuming from")
    assert_same_checkpoint(t.newest("whole"), t.newest("parts"))


def test_ranks_change_nothing_but_rounding(t):
    h5py()
    data = t.images()
    for ranks in 1, 2, 3, 4:
        train(t, data, f"on_{ranks}", "--max-steps", 20, "--augment-flip", "--augment-crop", 1, model=CNN, ranks=ranks)
        assert relative_difference(losses(t, "on_1"), losses(t, f"on_{ranks}")) < 1e-4
        assert_close_parameters(t, "on_1", f"on_{ranks}", 1e-4)


def test_accumulation_equals_one_batch(t):
    h5py()
    data = t.images()
    with_dropout = CNN.replace("layer = dense 16", "layer = dropout 0.25\nlayer = dense 16")
    train(t, data, "one", "--max-steps", 20, "--weight-decay", "0.01", model=with_dropout)
    for output, accumulate, ranks in ("four", 4, 0), ("four_on_2", 4, 2), ("three", 3, 0):
        flags = ["--max-steps", 20, "--weight-decay", "0.01", "--accumulate", accumulate]
        train(t, data, output, *flags, model=with_dropout, ranks=ranks)
        assert_close_parameters(t, "one", output, 1e-5)
        assert relative_difference(losses(t, "one"), losses(t, output)) < 1e-5


def test_more_ranks_than_samples_train_and_evaluate(t):
    h5py()
    data = t.images(train=3, test=2)
    flags = ["--batch-size", 4, "--epochs", 5]
    train(t, data, "one", *flags, model=CNN)
    for partition in "shuffle", "range", "hash":
        train(t, data, partition, *flags, "--partition", partition, model=CNN, ranks=4).says("epoch 5: test", "2 samples")
        reported = losses(t, partition, "test")[-1]
        for ranks in 1, 4:
            loss = evaluated_loss(t, partition, data, ranks)
            assert abs(loss - reported) < 2e-6 + 1e-5 * reported, (loss, reported)
        if partition != "hash":  # by hash, an epoch has as many steps as the fullest rank needs
            assert_close_parameters(t, "one", partition, 1e-5)
    predict = ["predict", "--checkpoint", t.newest("shuffle"), "--data", data, "--output", t.path("out")]
    t.run(*predict, ranks=4).says("predicted 2 rows")


def test_ragged_last_batch_weighs_by_samples(t):
    """19 samples in batches of 16: the last batch has fewer samples than ranks."""
    h5py()
    data = t.images(train=19, test=5)
    train(t, data, "one", "--epochs", 6, model=CNN)
    for ranks in 2, 4:
        train(t, data, f"on_{ranks}", "--epochs", 6, model=CNN, ranks=ranks).says("after 12 steps")
        assert relative_difference(losses(t, "one"), losses(t, f"on_{ranks}")) < 1e-4
        assert_close_parameters(t, "one", f"on_{ranks}", 1e-4)


def test_devices_says_of_every_rank_what_it_computes_on(t):
    text = t.run("devices", ranks=2).text
    ranks = re.findall(r"rank (\d) on \S+: \d+ cores; (no GPU: .+|takes GPU \d+)", text)
    assert [rank for rank, _ in ranks] == ["0", "1"], text


if __name__ == "__main__":
    run_tests(globals())
