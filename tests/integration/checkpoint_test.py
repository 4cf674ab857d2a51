# SPDX-License-Identifier: Apache-2.0
"""Damaged and foreign checkpoints are noticed, named and never trained from."""

import hashlib
import os
import shutil

from support import assert_same_checkpoint, h5py, read_checkpoint, read_metrics, run_tests

LAYERS = "layer = conv 8 3x3\nlayer = batch_norm\nlayer = relu\nlayer = dense 64\nlayer = relu\nlayer = dense 4\n"
LAYERS += "batch-size = 16\nlearning-rate = 0.01\nepochs = 2\n"
NETWORK = "model = mlp\nhidden = 16\nbatch-size = 16\noptimizer = adamw\nepochs = 2\nkeep = 10\n"


def train(t, output="run", code=0, ranks=0, **options):
    data = t.path("images.h5") if os.path.exists(t.path("images.h5")) else t.images()
    config = t.config(NETWORK + f"data = {data}\n")
    flags = [word for key, value in options.items() for word in ("--" + key.replace("_", "-"), value)]
    return t.run("train", config, "--output", t.path(output), *flags, ranks=ranks, code=code)


def flip_a_byte(path):
    """Somewhere in the values of a parameter."""
    with h5py().File(path, "r") as file:
        first = next(iter(file["parameters"].values()))
        offset = first.id.get_offset() + first.id.get_storage_size() // 2
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def seal(path):
    """As docs/formats.md, "Checkpoints", describes it."""
    with open(path, "r+b") as file:
        content = file.read()[512:]
        text = f"phalanx sealed file 1\nsize {len(content)}\nsha256 {hashlib.sha256(content).hexdigest()}\n"
        file.seek(0)
        file.write(text.encode().ljust(512, b"\0"))


def truncate(path):
    os.truncate(path, os.path.getsize(path) * 2 // 3)


def empty(path):
    os.truncate(path, 0)


def goes_on_from_the_one_before(t, damage, ranks):
    h5py()
    train(t)
    assert t.checkpoints("run") == ["step_000000013.h5", "step_000000026.h5"], t.checkpoints("run")
    whole = read_checkpoint(t.newest("run"))
    damage(t.newest("run"))
    resumed = train(t, ranks=ranks)
    resumed.says(r"passing over a checkpoint .*step_000000026\.h5", r"resuming from .*step_000000013\.h5: step 13, epoch 1")
    if ranks == 0:
        assert read_checkpoint(t.newest("run")) == whole


def test_truncated_checkpoint_is_passed_over(t):
    goes_on_from_the_one_before(t, truncate, 0)


def test_empty_checkpoint_is_passed_over_on_2_ranks(t):
    goes_on_from_the_one_before(t, empty, 2)


def test_flipped_byte_is_noticed_and_passed_over(t):
    goes_on_from_the_one_before(t, flip_a_byte, 0)


def test_damaged_checkpoints_do_not_displace_good_ones(t):
    train(t)
    for step in range(14, 20):
        t.write(f"run/checkpoints/step_0000000{step}.h5", "damaged")
    truncate(t.newest("run"))
    train(t, keep=1, max_steps=15, checkpoint_steps=1).says("resuming from .*: step 13,", "max-steps after 15 steps")
    train(t, keep=1, max_steps=16, checkpoint_steps=1).says("resuming from .*: step 15,", "max-steps after 16 steps")


def test_training_refuses_when_no_checkpoint_is_whole(t):
    h5py()
    train(t)
    with open(t.path("run/config.cfg"), "rb") as file:
        before = file.read()
    for name, damage in zip(t.checkpoints("run"), (flip_a_byte, truncate), strict=True):
        damage(t.path("run/checkpoints", name))
    for ranks in 0, 2:
        refused = train(t, code=3, ranks=ranks, seed=1)
        refused.says("step_000000013", "step_000000026", "none of 2 checkpoints is whole; remove them to start anew")
    with open(t.path("run/config.cfg"), "rb") as file:
        assert file.read() == before
    shutil.rmtree(t.path("run/checkpoints"))
    assert "resuming" not in train(t).text


def test_checkpoint_of_another_run_is_refused_with_the_differences(t):
    train(t)
    with open(t.path("run/config.cfg"), "rb") as file:
        before = file.read()
    for ranks in 0, 2:
        refused = train(t, code=2, ranks=ranks, hidden="32 16", learning_rate=0.5, epochs=7)
        refused.says(
            r"cannot go on from .*step_000000026\.h5",
            "hidden = 32 16, but the checkpoint was trained with 16",
            "learning-rate = 0.5, but the checkpoint was trained with",
            "another output folder",
        )
        assert "epochs =" not in refused.text, "a longer run is not another run"
    other = t.config(NETWORK + f"data = {t.images(train=210, name='other')}\n", "other.cfg")
    t.run("train", other, "--output", t.path("run"), code=2).says("the data set's content is")
    with open(t.path("run/config.cfg"), "rb") as file:
        assert file.read() == before, "a refused run changed config.cfg"


def test_evaluate_predict_and_inspect_refuse_a_damaged_checkpoint(t):
    h5py()
    train(t)
    newest, data = t.newest("run"), t.path("images.h5")
    with h5py().File(t.path("foreign.h5"), "w") as file:
        file["x"] = [1.0, 2.0]
    foreign = "not a Phalanx checkpoint"
    damaged = {"flipped.h5": "damaged", "cut.h5": "truncated", "data.h5": foreign, "text.h5": foreign, "foreign.h5": foreign}
    t.write("text.h5", "this is no HDF5 file")
    for name, damage in ("flipped.h5", flip_a_byte), ("cut.h5", truncate):
        shutil.copy(newest, t.path(name))
        damage(t.path(name))
    shutil.copy(data, t.path("data.h5"))
    for name, reason in damaged.items():
        path = t.path(name)
        for command in (
            ["evaluate", "--checkpoint", path, "--data", data],
            ["predict", "--checkpoint", path, "--data", data, "--output", t.path("out")],
            ["inspect", path],
        ):
            t.run(*command, code=3).says(f"{name}.*{reason}")
    t.run("evaluate", "--checkpoint", t.path("flipped.h5"), "--data", data, ranks=2, code=3).says("damaged")
    t.run("evaluate", "--checkpoint", t.path("missing.h5"), "--data", data, code=4).says(r"missing\.h5.*No such file")
    assert not os.path.exists(t.path("out"))


def test_checkpoint_whose_arrays_do_not_fit_its_record_is_refused(t):
    module = h5py()
    train(t)
    wrong = t.path("wrong.h5")
    shutil.copy(t.newest("run"), wrong)
    with module.File(wrong, "r+") as file:
        name = next(n for n in file["parameters"] if n.endswith("weight"))
        values = file["parameters"][name][()]
        digest = file["parameters"][name].attrs["sha256"]
        del file["parameters"][name]
        file["parameters"].create_dataset(name, data=values.T.copy())
        file["parameters"][name].attrs["sha256"] = digest
    t.run("evaluate", "--checkpoint", wrong, "--data", t.path("images.h5"), code=3).says(r"wrong\.h5: (damaged|truncated)")
    seal(wrong)
    data = t.path("images.h5")
    t.run("evaluate", "--checkpoint", wrong, "--data", data, code=3).says(rf"wrong\.h5: /parameters/{name}")


def saves_the_same_beside_training(t, ranks, *flags):
    h5py()
    t.write("net.cfg", LAYERS + f"data = {t.images()}\n")
    save = ["--checkpoint-steps", 1, "--keep", 1000, "--log-every", 1]
    for name, asynchronous in ("beside", "true"), ("waiting", "false"):
        command = ["train", t.path("net.cfg"), "--output", t.path(name), *save, *flags, "--checkpoint-async", asynchronous]
        t.run(*command, ranks=ranks).says("saving +25 checkpoints while training, each held it up for")
    assert len(t.checkpoints("beside")) == 26 and t.checkpoints("beside") == t.checkpoints("waiting")
    for name in [*t.checkpoints("beside"), "best.h5"]:
        assert_same_checkpoint(t.path("beside/checkpoints", name), t.path("waiting/checkpoints", name))
    for name in "beside", "waiting":
        lines = [line for line in read_metrics(t.path(name, "metrics.jsonl")) if "checkpoint_stall_seconds" in line]
        assert len(lines) == 26 and all(line["checkpoint_stall_seconds"] > 0 for line in lines[1:]), lines


def test_checkpoints_written_beside_training_are_those_of_a_run_that_waits_on_1_rank(t):
    saves_the_same_beside_training(t, 0, "--optimizer", "adamw", "--accumulate", 2)


def test_checkpoints_written_beside_training_are_those_of_a_run_that_waits_on_2_ranks(t):
    saves_the_same_beside_training(t, 2, "--momentum", 0.9)


def test_checkpoints_written_beside_training_are_those_of_a_run_that_waits_in_reproducible_mode(t):
    saves_the_same_beside_training(t, 2, "--optimizer", "adam", "--reproducible", "true", "--virtual-shards", 4)


def test_checkpoints_written_beside_training_are_those_of_a_run_that_waits_with_a_sharded_optimizer(t):
    saves_the_same_beside_training(t, 2, "--optimizer", "adamw", "--shard-optimizer", "true")


def test_checkpoints_written_beside_training_are_those_of_a_run_that_waits_with_partition_by_column(t):
    network = ["--model", "mlp", "--hidden", "32 16", "--partition", "column"]
    saves_the_same_beside_training(t, 3, "--optimizer", "adam", *network)


def test_early_stop_saves_its_last_step(t):
    stop = {"learning_rate": 0, "early_stop": 2, "epochs": 9, "checkpoint_every": 0}
    ended = train(t, **stop).says("early-stop after 39 steps", r"step_000000039\.h5")
    assert t.checkpoints("run") == ["step_000000039.h5"], ended.text


if __name__ == "__main__":
    run_tests(globals())
