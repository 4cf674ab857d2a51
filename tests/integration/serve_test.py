# SPDX-License-Identifier: Apache-2.0
"""From a training run to answers over HTTP, on ranks that may die."""

import os
import random
import re
import shutil
import signal
import struct
import threading
import time

from serving import Server, publish
from support import h5py, png, run_tests, wait_until

CNN = "layer = conv 8 3x3 pad same\nlayer = batch_norm\nlayer = relu\nlayer = max_pool 2x2\nlayer = dense 4\nbatch-size = 16\n"
MLP = "model = mlp\nhidden = 16\nbatch-size = 16\noptimizer = adam\n"


def trained(t, kind="images", output="run", steps=40, seed=1):
    """(checkpoint, data) of a short training run."""
    path = t.path(f"{kind}.h5")
    if not os.path.exists(path):
        path = t.images(test=60) if kind == "images" else t.table(rows=300, kind=kind, name=kind)
    text = CNN if kind == "images" else MLP
    config = t.config(text + f"data = {path}\nseed = {seed}\n", f"{output}.cfg")
    t.run("train", config, "--output", t.path(output), "--max-steps", steps)
    return t.newest(output), path


def samples(path, split="test"):
    with h5py().File(path, "r") as file:
        return file[f"{split}/x"][()].tolist()


def predictions(t, checkpoint, data):
    """What `phalanx predict` says: probabilities, or values."""
    t.run("predict", "--checkpoint", checkpoint, "--data", data, "--output", t.path("predictions"))
    with h5py().File(t.path("predictions/predictions.h5"), "r") as file:
        name = "probability" if "probability" in file else "prediction"
        return file[name][()].tolist()


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def test_answers_are_those_of_predict_on_one_and_two_ranks(t):
    for kind in "images", "classification", "regression":
        checkpoint, data = trained(t, kind, output=f"run_{kind}")
        publish(t, checkpoint, kind)
        expected = predictions(t, checkpoint, data)
        shutil.rmtree(t.path("predictions"))
        for ranks in 1, 2:
            with Server(t, "--model", kind, ranks=ranks) as server:
                for row, sample in enumerate(samples(data)[:5]):
                    status, answer, _ = server.post(f"/predict/{kind}", {"input": sample})
                    assert status == 200, answer
                    found = [f32(v) for v in answer["output"]]
                    error = max(abs(a - b) for a, b in zip(found, expected[row]))
                    # Another batch size may sum in another order.
                    assert error <= 1e-5 * max(1, max(map(abs, expected[row]))), (kind, ranks, found, expected[row])


def test_a_list_of_samples_a_picture_and_base64_are_answered(t):
    checkpoint, data = trained(t)
    publish(t, checkpoint)
    with Server(t) as server:
        some = samples(data)[:3]
        status, answer, _ = server.post("/predict/model", {"input": some})
        assert status == 200 and len(answer["predictions"]) == 3, answer
        picture = png(8, 8)
        status, one, _ = server.post("/predict/model", picture)
        assert status == 200, one
        import base64

        status, same, _ = server.post("/predict/model", {"image": base64.b64encode(picture).decode()})
        assert status == 200 and same["output"] == one["output"], (one, same)
        assert one["class"] in "0123" and abs(sum(one["probabilities"].values()) - 1) < 1e-5, one


def test_mpirun_starts_a_server_on_its_ranks(t):
    checkpoint, data = trained(t)
    publish(t, checkpoint)
    with Server(t, ranks=2, mpirun=True) as server:
        assert len(server.rank_pids()) == 2, server.rank_pids()
        status, answer, _ = server.post("/predict/model", {"input": samples(data)[0]})
        assert status == 200, answer


def test_sigterm_drains_and_reports(t):
    checkpoint, data = trained(t)
    publish(t, checkpoint)
    with Server(t, ranks=2) as server:
        sample = samples(data)[0]
        for _ in range(3):
            assert server.post("/predict/model", {"input": sample})[0] == 200
        pids = server.rank_pids()
        assert server.terminate() == 0, server.text()
        assert re.search(r"drained in .*: \d+ requests answered in all, 0 of them with 5xx", server.text()), server.text()
        wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 10, "the ranks are gone")


def test_training_goes_on_as_a_server_in_the_same_processes(t):
    data = t.images(test=60)
    config = t.config(CNN + f"data = {data}\n")
    job = t.start("train", config, "--output", t.path("shapes"), "--max-steps", 40, "--then-serve",
                  "--serve-flags=--port 0 --address 127.0.0.1", ranks=2)
    pids = job.rank_pids()
    wait_until(lambda: re.search(r"info ready", job.text()) or not job.is_running(), 60, "the server is ready")
    found = re.search(r"on http://127.0.0.1:(\d+);", job.text())
    assert found, job.text()
    server = Server.__new__(Server)
    server.port = int(found.group(1))
    expected = predictions(t, t.newest("shapes"), data)
    for row, sample in enumerate(samples(data)[:5]):
        status, answer, _ = server.post("/predict/shapes", {"input": sample})
        assert status == 200, answer
        assert max(abs(f32(a) - b) for a, b in zip(answer["output"], expected[row])) <= 1e-5
    assert job.rank_pids() == pids
    os.kill(pids[0], signal.SIGTERM)
    job.wait(30).says("drained in")
    assert job.process.returncode == 0, job.text()


def test_a_model_whose_description_is_long_goes_on_as_a_server(t):
    """80 kB of names, which the first rank tells the front end."""
    folder = t.idx_files("images_idx", 60)
    t.idx_files("images_idx", 20, name="t10k", seed=2)
    names = [word for label in "0123" for word in ("--class-names", label * 20_000)]
    t.run("data", "import", "idx", folder, "--output", t.path("images.h5"), *names)
    config = t.config(CNN + f"data = {t.path('images.h5')}\n")
    job = t.start("train", config, "--output", t.path("shapes"), "--max-steps", 4, "--then-serve",
                  "--serve-flags=--port 0 --address 127.0.0.1", ranks=2)
    wait_until(lambda: re.search(r"info ready", job.text()) or not job.is_running(), 60, "the server is ready")
    found = re.search(r"on http://127.0.0.1:(\d+);", job.text())
    assert found and job.is_running(), job.text()[-6000:]
    server = Server.__new__(Server)
    server.port = int(found.group(1))
    status, answer, _ = server.post("/predict/shapes", {"input": samples(t.path("images.h5"), "train")[0]})
    assert status == 200 and answer["class"] in [label * 20_000 for label in "0123"], (status, str(answer)[:200])
    os.kill(job.rank_pids()[0], signal.SIGTERM)
    job.wait(30).says("drained in")


class Load(threading.Thread):
    """Asks over and over, and knows which answers are right."""

    def __init__(self, server, path, questions, answers):
        super().__init__(daemon=True)
        self.server, self.path, self.questions, self.answers = server, path, questions, answers
        self.counts, self.wrong, self.slowest, self.ends = {}, [], 0, False
        self.start()

    def run(self):
        values = random.Random(threading.get_ident())
        while not self.ends:
            i = values.randrange(len(self.questions))
            begin = time.monotonic()
            try:
                status, answer, _ = self.server.post(self.path, {"input": self.questions[i]}, timeout=15)
            except OSError as error:
                status, answer = repr(error), {}
            self.slowest = max(self.slowest, time.monotonic() - begin)
            self.counts[status] = self.counts.get(status, 0) + 1
            if status == 200 and any(abs(a - b) > 1e-5 for a, b in zip(answer["output"], self.answers[i])):
                self.wrong.append((i, answer["output"], self.answers[i]))

    def end(self):
        self.ends = True
        self.join(30)
        assert not self.is_alive(), "a request hangs"


def test_killed_ranks_are_started_again_and_no_answer_is_wrong(t):
    kills = int(os.environ.get("PHALANX_KILLS", "5"))
    checkpoint, data = trained(t)
    publish(t, checkpoint)
    questions = samples(data)[:20]
    with Server(t, ranks=2) as server:
        answers = [server.post("/predict/model", {"input": q})[1]["output"] for q in questions]
        loads = [Load(server, "/predict/model", questions, answers) for _ in range(4)]
        values = random.Random(5)
        for _ in range(kills):
            time.sleep(values.random() * 0.5)
            os.kill(values.choice(server.rank_pids()), signal.SIGKILL)
            wait_until(lambda: not server.is_ready(), 5, "the server says that it is not ready")
            server.wait_ready()
        for load in loads:
            load.end()
        counts = {}
        for load in loads:
            assert not load.wrong, load.wrong[0]
            assert load.slowest < 5, f"a request took {load.slowest} s"
            for status, count in load.counts.items():
                counts[status] = counts.get(status, 0) + count
        assert set(counts) <= {200, 503} and counts[200] > 0, counts
        print(f"{kills} kills: {counts}")


def test_versions_are_loaded_and_rolled_back_without_a_failed_request(t):
    first, data = trained(t, output="first")
    second, _ = trained(t, output="second", seed=2)
    publish(t, first)
    questions = samples(data)[:10]
    with Server(t, ranks=2) as server:
        load = Load(server, "/predict/model", questions, [[0] * 4] * len(questions))
        load.wrong = []
        publish(t, second)
        for config, version in ("", "2"), ('{"version_policy": {"specific": [1]}}', "1"), ("", "2"):
            if config:
                t.write("models/model/config.json", config)
            elif os.path.exists(t.path("models/model/config.json")):
                os.remove(t.path("models/model/config.json"))
            status, answer, _ = server.post("/v2/repository/models/model/load", {})
            assert status == 200, answer
            assert server.post("/predict/model", {"input": questions[0]})[1]["version"] == version
        load.end()
        assert set(load.counts) == {200}, load.counts


if __name__ == "__main__":
    run_tests(globals())
