# SPDX-License-Identifier: Apache-2.0
"""A mistake in a configuration or on the command line: exit code 2, a message that names the place, nothing written."""

import os

from support import run_tests

GOOD = "model = mlp\nbatch-size = 16\nepochs = 1\n"


def refuse(t, text, *says, flags=(), ranks=0):
    """The configuration has to be refused with a text that matches every part of says."""
    config = t.config(text + f"data = {t.path('images.h5')}\noutput = {t.path('out')}\n", "wrong.cfg")
    before = sorted(os.listdir(t.folder))
    t.run("train", config, *flags, ranks=ranks, code=2).says(*says)
    after = sorted(os.listdir(t.folder))
    assert before == after, f"a refused run wrote {sorted(set(after) - set(before))}"


def test_unknown_key_is_named_with_file_line_and_nearest_key(t):
    t.images()
    place = r"wrong\.cfg:4: unknown key 'lerning-rate'; did you mean 'learning-rate'\?"
    for ranks in 0, 2:
        refuse(t, GOOD + "lerning-rate = 0.1\n", place, ranks=ranks)
    refuse(t, GOOD, "command line: unknown key 'epoch'; did you mean 'epochs'", flags=["--epoch", "3"])


def test_values_of_wrong_type_or_range_are_named_with_their_place(t):
    t.images()
    for line, says in (
        ("threads = many", r"wrong\.cfg:4: threads: expected an integer >= 1, found 'many'"),
        ("threads = 0", r"wrong\.cfg:4: threads: expected an integer >= 1, found '0'"),
        ("threads = 2.5", r"wrong\.cfg:4: threads: expected an integer >= 1, found '2\.5'"),
        ("learning-rate = 0,1", r"wrong\.cfg:4: learning-rate: expected a number >= 0, found '0,1'"),
        ("learning-rate = nan", r"wrong\.cfg:4: learning-rate: expected a number >= 0, found 'nan'"),
        ("nesterov = yes", r"wrong\.cfg:4: nesterov: expected true or false, found 'yes'"),
        ("optimizer = adamv", r"wrong\.cfg:4: optimizer: expected one of sgd, adam, adamw, found 'adamv'; did you mean"),
        ("epochs = 2", r"wrong\.cfg:4: epochs: expected a key once per file, it stands at .*wrong\.cfg:3 already"),
        ("accumulate = 17", r"wrong\.cfg:4: accumulate: expected at most batch-size = 16, found '17'"),
        ("[section]", r"wrong\.cfg:4: expected 'key = value', found the section"),
    ):
        refuse(t, GOOD + line + "\n", says)
    refuse(t, GOOD, "command line: threads: expected an integer >= 1, found 'x'", flags=["--threads", "x"])


def test_layers_that_do_not_fit_each_other_are_named_with_both_shapes(t):
    t.images()
    for layers, *says in (
        (["dense 5"], "dense1", r"\[5\]", r"\[4\]"),
        (["dense 8", "conv 8 3x3", "dense 4"], "conv 8 3x3", r"\[N, C, H, W\]", r"\[\d+, 8\]"),
        (["conv 8 11x11", "dense 4"], "conv 8 11x11", "11", r"\[?8"),
        (["conv 8 3x3 groups 3", "dense 4"], "conv 8 3x3 groups 3", "3 groups must divide 1 input and 8 output"),
        (["dens 8", "dense 4"], "dens", "dense"),
        (["conv", "dense 4"], "conv", "expected the number of channels"),
        (["dense 4 8"], "dense 4 8", "did not expect '8'"),
    ):
        refuse(t, "batch-size = 16\n" + "".join(f"layer = {layer}\n" for layer in layers), *says)
    refuse(t, "layer = dense 5\n", "dense1", r"\[5\]", r"\[4\]", ranks=2)


def test_settings_that_do_not_fit_the_data_are_refused(t):
    t.images()
    refuse(t, GOOD + "loss = mean_squared_error\n", "loss = mean_squared_error does not fit", "softmax_cross_entropy does")
    refuse(t, "layer = conv 4 3x3\nlayer = dense 4\npartition = column\n", "partition = column|columns", ranks=2)


def test_missing_files_and_words_are_named(t):
    t.images()
    t.run("train", t.path("none.cfg"), code=2).says(r"none\.cfg.*No such file")
    t.run("train", code=2).says("--data")
    t.run("trian", code=2).says("there is no command 'trian'; the nearest is 'train'")
    t.run("data", code=2).says("'data' is not a whole command: expected data import or data info")
    t.run("train", "a.cfg", "b.cfg", code=2).says("b.cfg")
    t.run("predict", "--data", t.path("images.h5"), "--output", t.path("out"), code=2).says("--checkpoint")
    t.run("data", "import", "idx", t.path("images_idx"), code=2).says("--output")
    t.run("data", "import", "idz", t.path("images_idx"), "--output", t.path("a.h5"), code=2).says("did you mean 'idx'")
    t.run(code=2).says("usage: phalanx")
    assert not os.path.exists(t.path("out")) and not os.path.exists(t.path("a.h5"))


if __name__ == "__main__":
    run_tests(globals())
