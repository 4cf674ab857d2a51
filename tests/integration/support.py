# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: a folder of their own, the program, small data sets, checkpoints.

A test file defines functions `test_<sentence>(t)`, `t` being a Scene, and ends in `run_tests(globals())`.
The first argument names one test; without it all run. Exit code 77 means skipped, with the reason printed.
The environment names the program (PHALANX_BINARY) and may name mpirun (PHALANX_MPIEXEC).
"""

import gzip
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib

SKIPPED = 77
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Skip(Exception):
    """The test cannot run here; the text says why."""


def h5py():
    try:
        import h5py as module
    except ImportError as error:
        raise Skip(f"the Python package h5py is missing ({error})") from error
    return module


# --- processes


def children(pid):
    """Process ids of the direct children."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(entry))
    return sorted(found)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.005)


class Result:
    def __init__(self, code, text):
        self.code = code
        self.text = text

    def says(self, *parts):
        """Every part, a regular expression, occurs in what the program wrote."""
        for part in parts:
            assert re.search(part, self.text), f"expected a text that matches '{part}', found:\n{self.text}"
        return self


class Job:
    """A started program, under mpirun if it has several ranks."""

    def __init__(self, command, ranks, folder, environment=None):
        self.ranks = ranks
        self.log = tempfile.TemporaryFile(mode="w+", dir=folder)
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def rank_pids(self):
        """Of all ranks, in order, once all are there."""
        if self.ranks == 0:
            return [self.process.pid]
        found = []

        def complete():
            found[:] = children(self.process.pid)
            return len(found) == self.ranks or self.process.poll() is not None

        wait_until(complete, 20, "all ranks have started")
        return list(found)

    def is_running(self):
        return self.process.poll() is None

    def wait(self, timeout=60):
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self.end()
            raise AssertionError(f"no end after {timeout} s; it wrote:\n{self.text()}") from error
        return Result(code, self.text())

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def end(self):
        if self.is_running():
            for pid in children(self.process.pid) + [self.process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()


class Scene:
    """A folder that is removed afterwards, and the program in it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="phalanx_integration_")
        self.binary = os.environ["PHALANX_BINARY"]
        self.mpiexec = os.environ.get("PHALANX_MPIEXEC", "mpirun")
        self.jobs = []

    def close(self):
        for job in self.jobs:
            job.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, content):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def start(self, *arguments, ranks=0, environment=None):
        """ranks = 0: without mpirun. `environment`: more variables for the ranks."""
        launcher = [self.mpiexec, "-n", str(ranks)] if ranks else []
        if environment:
            launcher += ["env", *(f"{name}={value}" for name, value in environment.items())]
        job = Job([*launcher, self.binary, *map(str, arguments)], ranks, self.folder)
        self.jobs.append(job)
        return job

    def run(self, *arguments, ranks=0, code=0, timeout=60, environment=None):
        """Runs the program to its end, which has to be `code`."""
        result = self.start(*arguments, ranks=ranks, environment=environment).wait(timeout)
        assert result.code == code, f"expected exit code {code}, found {result.code}; it wrote:\n{result.text}"
        return result

    # --- data sets

    def idx_files(self, folder, rows, side=8, classes=4, name="train", seed=1):
        """Noisy images with one bright line per class, as MNIST's files."""
        values = random.Random(seed)
        labels = bytes(values.randrange(classes) for _ in range(rows))
        images = bytearray()
        for label in labels:
            image = bytearray(values.randrange(128) for _ in range(side * side))
            image[label * side : (label + 1) * side] = bytes([255]) * side
            images += image
        header = struct.pack(">4i", 0x803, rows, side, side)
        self.write(f"{folder}/{name}-images-idx3-ubyte", header + images)
        self.write(f"{folder}/{name}-labels-idx1-ubyte", struct.pack(">2i", 0x801, rows) + labels)
        return self.path(folder)

    def images(self, train=200, test=50, side=8, name="images"):
        """An imported data set of images in four classes."""
        folder = self.idx_files(f"{name}_idx", train, side)
        self.idx_files(f"{name}_idx", test, side, name="t10k", seed=2)
        names = [word for label in range(4) for word in ("--class-names", label)]
        self.run("data", "import", "idx", folder, "--output", self.path(f"{name}.h5"), *names)
        return self.path(f"{name}.h5")

    def table(self, rows=200, kind="classification", name="table"):
        """An imported table of seven features; the target depends on two of them."""
        values = random.Random(3)
        lines = ["a,b,c,d,e,f,g,target"]
        for _ in range(rows):
            x = [values.gauss(0, 1) for _ in range(7)]
            y = x[0] - 2 * x[1]
            target = f"{y:.4f}" if kind == "regression" else str(int(y > 0))
            lines.append(",".join(f"{v:.4f}" for v in x) + "," + target)
        source = self.write(f"{name}.csv", "\n".join(lines) + "\n")
        self.run("data", "import", "csv", source, "--csv-kind", kind, "--output", self.path(f"{name}.h5"))
        return self.path(f"{name}.h5")

    def config(self, text, name="run.cfg"):
        return self.write(name, "\n".join(line.strip() for line in text.strip().splitlines()) + "\n")

    # --- what a run leaves

    def checkpoints(self, output):
        """Names of the numbered checkpoints, oldest first."""
        folder = self.path(output, "checkpoints")
        if not os.path.isdir(folder):
            return []
        return sorted(n for n in os.listdir(folder) if re.fullmatch(r"step_\d{9}\.h5", n))

    def newest_step(self, output):
        found = self.checkpoints(output)
        return int(found[-1][5:14]) if found else -1

    def newest(self, output):
        return self.path(output, "checkpoints", self.checkpoints(output)[-1])


def read_checkpoint(path):
    """Arrays of a checkpoint as {name: (shape, bytes)}, and its record without wall-clock times."""
    arrays = {}

    def visit(name, item):
        if isinstance(item, h5py().Dataset) and name != "run":
            arrays[name] = (item.shape, item[()].tobytes())

    with h5py().File(path, "r") as file:
        file.visititems(visit)
        record = json.loads(file["run"][()].tobytes())
    del record["position"]["seconds"]
    del record["config"]  # holds the output folder
    return arrays, record


def read_values(path, group="parameters"):
    """Arrays of one group as {name: list of numbers}."""
    with h5py().File(path, "r") as file:
        return {name: file[group][name][()].ravel().tolist() for name in file[group]}


def assert_same_checkpoint(one, other):
    (arrays, record), (other_arrays, other_record) = read_checkpoint(one), read_checkpoint(other)
    assert arrays, f"{one} holds no arrays"
    assert arrays.keys() == other_arrays.keys(), f"{sorted(arrays)} against {sorted(other_arrays)}"
    for name, value in arrays.items():
        assert value == other_arrays[name], f"{name} differs between {one} and {other}"
    assert record == other_record, f"{record}\nagainst\n{other_record}"


def read_metrics(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def results_in_metrics(path):
    """The lines of metrics without what a clock measured."""
    clocked = ("second", "wait_share", "joule")
    return [{k: v for k, v in line.items() if not any(c in k for c in clocked)} for line in read_metrics(path)]


def relative_difference(a, b):
    """Largest difference of two lists of numbers, over the largest number."""
    scale = max(max(map(abs, a)), max(map(abs, b)), 1e-30)
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) / scale


def png(width, height, value=100):
    """A grey picture, of one value or of all its pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = value if isinstance(value, bytes) else bytes([value]) * (width * height)
    rows = b"".join(b"\0" + pixels[y * width : (y + 1) * width] for y in range(height))
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def packed(content):
    return gzip.compress(content, mtime=0)


# --- running the tests


def run_tests(names):
    tests = {n: f for n, f in names.items() if n.startswith("test_") and callable(f)}
    chosen = [sys.argv[1]] if len(sys.argv) > 1 else list(tests)
    codes = [run_one(name, tests[name]) for name in chosen]
    sys.exit(1 if 1 in codes else max(codes))


def run_one(name, test):
    scene = Scene()
    try:
        test(scene)
    except Skip as reason:
        print(f"skipped: {name}: {reason}", flush=True)
        return SKIPPED
    except Exception:  # a failed expectation, or the test itself
        traceback.print_exc()
        return 1
    finally:
        scene.close()
    print(f"passed: {name}", flush=True)
    return 0
