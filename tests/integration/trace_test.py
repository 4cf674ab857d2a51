# SPDX-License-Identifier: Apache-2.0
"""The timeline is a file of trace events with every rank's steps, layers, waits and sums over ranks."""

import json

from support import read_metrics, run_tests

NETWORK = "model = mlp\nhidden = 600 600\nbatch-size = 16\nepochs = 2\nbucket = 0.25\nlog-every = 5\n"


def test_timeline_holds_every_ranks_steps_layers_and_sums(t):
    config = t.config(NETWORK + f"data = {t.images()}\n")
    for progress in ("inline", "thread"):
        out = t.path(progress)
        command = ["train", config, "--output", out, "--trace", f"{out}/trace.json", "--trace-steps", 4]
        t.run(*command, "--progress", progress, ranks=2)
        events = json.load(open(f"{out}/trace.json", encoding="utf-8"))["traceEvents"]
        names = {(e["pid"], e["args"]["name"]) for e in events if e["ph"] == "M"}
        assert any(rank == 1 and name.startswith("rank 1 on ") for rank, name in names), names
        for rank in (0, 1):
            mine = [e for e in events if e["ph"] == "X" and e["pid"] == rank]
            training = [e["name"] for e in mine if e["tid"] == 0]
            for name in ("step 0", "step 3", "dense1", "ddense1", "loss", "wait for data", "optimizer"):
                assert name in training, (name, training)
            assert "step 4" not in training
            sums = {e["name"] for e in mine if e["tid"] == 1}
            assert {"sum bucket 0", "sum bucket 1"} <= sums, sums
            steps = sorted((e for e in mine if e["name"].startswith("step ")), key=lambda e: e["ts"])
            for before, after in zip(steps, steps[1:]):
                assert before["ts"] + before["dur"] <= after["ts"] + 1, "steps overlap"
            for e in mine:
                assert e["dur"] >= 0 and e["ts"] > 0, e
        lines = [line for line in read_metrics(f"{out}/metrics.jsonl") if line["split"] == "train"]
        for line in lines:
            assert line["bucket_0_exposed_seconds"] >= 0 and "bucket_1_hidden_seconds" in line, line


def test_short_run_writes_the_timeline_at_its_end(t):
    config = t.config(NETWORK + f"data = {t.images()}\n")
    t.run("train", config, "--output", t.path("run"), "--trace", t.path("trace.json"), "--max-steps", 2)
    events = json.load(open(t.path("trace.json"), encoding="utf-8"))["traceEvents"]
    assert [e["name"] for e in events if e["name"].startswith("step ")] == ["step 0", "step 1"]


def test_energy_is_estimated_from_watts_and_labelled(t):
    config = t.config(NETWORK + f"data = {t.images()}\nwatts-per-node = 50\ngrid-g-per-kwh = 400\npue = 1.5\n")
    text = t.run("train", config, "--output", t.path("run"), ranks=2).text
    line = next(line for line in text.splitlines() if line.strip().startswith("energy"))
    if "about" not in line:  # this machine measures
        assert "RAPL" in line and "gCO2e" in line, line
        return
    assert "J per sample" in line and "gCO2e (estimate of 50 W per node)" in line, line
    epochs = [line for line in read_metrics(t.path("run/metrics.jsonl")) if "estimated_joules" in line]
    assert len(epochs) == 2, epochs
    for epoch in epochs:
        joules = epoch["estimated_joules"]
        assert 0 < joules < 50 * 60, epoch
        assert abs(epoch["estimated_joules_per_sample"] * 200 - joules) < 1e-6 * joules, epoch


if __name__ == "__main__":
    run_tests(globals())
