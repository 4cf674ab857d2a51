# SPDX-License-Identifier: Apache-2.0
"""Malformed data: exit code 3, a message that names file and place, nothing written."""

import os
import shutil
import struct

from support import h5py, packed, png, run_tests

NETWORK = "model = mlp\nbatch-size = 16\nepochs = 1\n"


def refuse_import(t, arguments, *says, ranks=0):
    output = t.path("made.h5")
    t.run("data", "import", *arguments, "--output", output, ranks=ranks, code=3).says(*says)
    left = [name for name in os.listdir(t.folder) if name.startswith("made.h5")]
    assert left == [], f"a refused import left {left}"


def mnist_folder(t):
    t.idx_files("idx", 50, name="t10k")
    return t.idx_files("idx", 50)


def test_truncated_gzip_files_are_named(t):
    folder = mnist_folder(t)
    name = "train-images-idx3-ubyte"
    with open(t.path("idx", name), "rb") as file:
        content = packed(file.read())
    os.remove(t.path("idx", name))
    t.write(f"idx/{name}.gz", content[: len(content) // 2])
    for ranks in 0, 2:
        refuse_import(t, ["idx", folder], rf"{name}\.gz", "cut short|truncated|ends", ranks=ranks)


def test_idx_files_with_a_wrong_magic_or_size_are_named(t):
    folder = mnist_folder(t)
    images = t.path("idx/train-images-idx3-ubyte")
    with open(images, "rb") as file:
        content = file.read()
    t.write(images, struct.pack(">i", 0x0D03) + content[4:])
    refuse_import(t, ["idx", folder], "train-images-idx3-ubyte", "0x|magic|type")
    t.write(images, content[:-10])
    refuse_import(t, ["idx", folder], "train-images-idx3-ubyte", "3200|3190|3206")
    t.write(images, struct.pack(">4i", 0x803, 49, 8, 8) + content[16 : 16 + 49 * 64])
    refuse_import(t, ["idx", folder], "49", "50")


def test_labels_out_of_range_are_named(t):
    folder = mnist_folder(t)
    names = [word for name in "abc" for word in ("--class-names", name)]
    refuse_import(t, ["idx", folder, *names], "idx: split 'test' row 4: label 3 is outside the 3 classes")
    t.images()
    data = t.path("images.h5")
    with h5py().File(data, "r+") as file:
        file["train/y"][37] = 4
    for ranks in 0, 2:
        refused = t.run("train", t.config(NETWORK), "--data", data, "--output", t.path("out"), ranks=ranks, code=3)
        refused.says(r"images\.h5", "/train/y", "37", "4")
    assert not os.path.exists(t.path("out"))


def test_images_of_another_size_are_named(t):
    for name, content in (("a/1", png(8, 8)), ("a/2", png(8, 8)), ("b/1", png(8, 8)), ("b/odd", png(9, 8))):
        t.write(f"pictures/train/{name}.png", content)
    refuse_import(t, ["images", t.path("pictures")], r"odd\.png", "9|8x9|9x8")
    t.write("pictures/train/b/odd.png", png(8, 8)[:-20])
    refuse_import(t, ["images", t.path("pictures")], r"odd\.png")


def test_empty_class_folders_are_named(t):
    t.write("pictures/train/a/1.png", png(8, 8))
    os.makedirs(t.path("pictures/train/hollow"))
    refuse_import(t, ["images", t.path("pictures")], "hollow")


def test_short_csv_rows_are_named(t):
    t.write("a.csv", "x,y,target\n1,2,0\n3,4,1\n5,6\n7,8,1\n")
    refuse_import(t, ["csv", t.path("a.csv")], r"a\.csv line 4", "3", "2")
    t.write("a.csv", 'x,y,target\n1,2,0\n3,"4,1\n')
    refuse_import(t, ["csv", t.path("a.csv")], r"a\.csv line [23]")
    t.write("a.csv", "x,y,target\n1,2,0\n3,oops,1.5\n")
    numbers = ["--csv-kind", "regression", "--csv-text", "error"]
    refuse_import(t, ["csv", t.path("a.csv"), *numbers], r"a\.csv", "oops")


def test_hdf5_files_without_the_schema_are_named(t):
    module = h5py()
    data = t.images()
    changes = {
        "foreign.h5": (lambda f: f.attrs.__delitem__("format"), "format"),
        "version.h5": (lambda f: f.attrs.__setitem__("version", 2), "version"),
        "no_labels.h5": (lambda f: f.__delitem__("train/y"), "/train/y|/train.*y"),
        "rows.h5": (lambda f: (f.__delitem__("train/y"), f.__setitem__("train/y", [0, 1, 2])), "3"),
        "kind.h5": (lambda f: f.attrs.__setitem__("kind", "sound"), "sound"),
    }
    for name, (change, says) in changes.items():
        shutil.copy(data, t.path(name))
        with module.File(t.path(name), "r+") as file:
            change(file)
        t.run("train", t.config(NETWORK), "--data", t.path(name), "--output", t.path("out"), code=3).says(name, says)
        t.run("data", "info", t.path(name), code=3).says(name, says)
    assert not os.path.exists(t.path("out"))


def test_hdf5_files_that_are_cut_short_are_named(t):
    data = t.images()
    size = os.path.getsize(data)
    for keep in size - 1000, size // 2, 100, 0:
        with open(data, "rb") as file:
            t.write("cut.h5", file.read(keep))
        for ranks in (0, 2) if keep == size // 2 else (0,):
            command = ["train", t.config(NETWORK), "--data", t.path("cut.h5"), "--output", t.path("out")]
            t.run(*command, ranks=ranks, code=3).says(r"cut\.h5")
    t.run("train", t.config(NETWORK), "--data", t.path("none.h5"), "--output", t.path("out"), code=4).says(
        r"none\.h5.*No such file"
    )
    assert not os.path.exists(t.path("out"))


def test_split_that_does_not_exist_is_named_with_those_that_do(t):
    data = t.images()
    flags = ["--data", data, "--output", t.path("out"), "--test-split", "validation"]
    t.run("train", t.config(NETWORK), *flags, code=3).says(r"images\.h5.*validation", "train", "test")
    assert not os.path.exists(t.path("out"))


if __name__ == "__main__":
    run_tests(globals())
