#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a running server with clients that others wrote.

Usage: check_open_inference.py tritonclient|perf_analyzer <port>

The server holds the models `m` (x: 4 features, y: 2 classes) and `pictures`. `tritonclient` is the Python package, with its
http extra; `perf_analyzer` is looked for beside this Python, in PATH, and where PHALANX_PERF_ANALYZER says. Exit code 77
means that it is not installed, or does not start on this system.
"""

import os
import shutil
import subprocess
import sys


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def check_tritonclient(port):
    try:
        import numpy as np
        import tritonclient.http as http
        from tritonclient.utils import InferenceServerException
    except ImportError as error:
        skip(f"the Python package tritonclient[http] is missing ({error})")

    client = http.InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("m")
    assert client.is_model_ready("m", "1") and not client.is_model_ready("m", "2") and not client.is_model_ready("nothing")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("m")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert client.get_model_config("m", "1")["max_batch_size"] == 64

    rows = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    answers = []
    for binary in True, False:
        tensor = http.InferInput("x", [3, 4], "FP32")
        tensor.set_data_from_numpy(rows, binary_data=binary)
        wanted = [None, [http.InferRequestedOutput("y", binary_data=True)], [http.InferRequestedOutput("y", binary_data=False)]]
        for outputs in wanted:
            for packing in None, "gzip", "deflate":
                result = client.infer("m", [tensor], outputs=outputs, request_id="42", request_compression_algorithm=packing,
                                      response_compression_algorithm=packing, priority=1, timeout=1000000)
                response = result.get_response()
                assert response["id"] == "42" and response["model_version"] == "1", response
                answers.append(result.as_numpy("y"))
    for answer in answers:
        assert answer.shape == (3, 2) and answer.dtype == np.float32, answer
        np.testing.assert_allclose(answer, answers[0], rtol=1e-6)
        np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)
    for binary in True, False:
        result = client.infer("m", [tensor], outputs=[http.InferRequestedOutput("y", binary_data=binary, class_count=2)])
        classes = result.as_numpy("y")
        assert classes.shape == (3, 2), classes
        for row, answer in zip(classes, answers[0]):
            for text in row:
                value, index, label = (text.decode() if isinstance(text, bytes) else text).split(":")
                assert label == index and np.float32(value) == answer[int(index)], text
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    images = []
    for datatype, values in ("UINT8", pixels), ("FP32", pixels.astype(np.float32)):
        tensor = http.InferInput("input", [1, 1, 8, 8], datatype)
        tensor.set_data_from_numpy(values)
        images.append(client.infer("pictures", [tensor]).as_numpy("output"))
    np.testing.assert_array_equal(*images)
    waiting = [client.async_infer("pictures", [tensor]) for _ in range(4)]
    for request in waiting:
        np.testing.assert_array_equal(request.get_result().as_numpy("output"), images[0])

    stats = client.get_inference_statistics("m")["model_stats"][0]
    assert stats["inference_stats"]["success"]["count"] == len(answers) + 2, stats
    assert {s["name"] for s in client.get_inference_statistics()["model_stats"]} == {"m", "pictures"}

    def index():
        return {entry["name"]: entry.get("state") for entry in client.get_model_repository_index()}

    assert index() == {"m": "READY", "pictures": "READY"}
    client.unload_model("m")
    assert index() == {"m": None, "pictures": "READY"} and not client.is_model_ready("m")
    client.load_model("m")
    assert index()["m"] == "READY" and client.is_model_ready("m")

    def refused(call, text):
        try:
            call()
        except InferenceServerException as error:
            assert text in error.message(), error
        else:
            raise AssertionError(f"expected a refusal with '{text}'")

    refused(lambda: client.load_model("m", config='{"max_batch_size": 4}'), "'config' is not taken")
    refused(lambda: client.load_model("nothing"), "there is no model 'nothing'")
    refused(lambda: client.get_model_metadata("nothing"), "there is no model 'nothing'")
    wrong = http.InferInput("x", [1, 4], "FP64")
    wrong.set_data_from_numpy(np.zeros((1, 4)))
    refused(lambda: client.infer("m", [wrong]), "has datatype 'FP64', but model 'm' takes FP32")
    print(f"{len(answers)} ways to ask, all with the same answer")


def check_perf_analyzer(port):
    beside = os.path.join(os.path.dirname(sys.executable), "perf_analyzer")
    program = os.environ.get("PHALANX_PERF_ANALYZER") or (beside if os.path.exists(beside) else shutil.which("perf_analyzer"))
    if not program:
        skip("perf_analyzer is missing")
    starts = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if starts.returncode != 0:
        skip(f"perf_analyzer does not start here: {(starts.stdout + starts.stderr).strip()[-300:]}")
    for model, more in ("m", []), ("m", ["-b", "4"]), ("pictures", ["-x", "1"]):
        report = f"{model}{len(more)}.csv"
        command = [program, "-m", model, "-u", f"127.0.0.1:{port}", "-i", "http", "--concurrency-range", "1:2", "-f", report,
                   "--measurement-interval", "700", "--stability-percentage", "90", "--max-trials", "5", *more]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == 0, run.stdout + run.stderr
        with open(report, encoding="utf-8") as file:
            lines = file.read().strip().splitlines()
        assert len(lines) == 3 and "Inferences/Second" in lines[0] and "Server Queue" in lines[0], lines
        for line in lines[1:]:
            values = dict(zip(lines[0].split(","), line.split(",")))
            assert float(values["Inferences/Second"]) > 0 and float(values["Server Compute Infer"]) > 0, values
            print(f"{' '.join([model, *more])}: concurrency {values['Concurrency']}, {values['Inferences/Second']} rows/s")


if __name__ == "__main__":
    {"tritonclient": check_tritonclient, "perf_analyzer": check_perf_analyzer}[sys.argv[1]](int(sys.argv[2]))
