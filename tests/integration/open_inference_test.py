# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, byte by byte: what its clients send, what they get, and what malformed requests get."""

import gzip
import http.client
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import zlib

from serve_test import f32, samples, trained
from serving import Server, publish
from support import SKIPPED, SOURCE, Skip, run_tests, wait_until

ROW = [0.5, -1.25, 2.0, 0.0]
JSON_SIZE = "Inference-Header-Content-Length"


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def table_model(t, name="m"):
    """A classifier of four features into two classes; its tensors are called x and y."""
    if not os.path.exists(t.path("table_run")):
        values = random.Random(3)
        lines = ["a,b,c,d,target"]
        for _ in range(60):
            x = [values.gauss(0, 1) for _ in range(4)]
            lines.append(",".join(f"{v:.4f}" for v in x) + f",{int(x[0] > x[1])}")
        t.write("t.csv", "\n".join(lines) + "\n")
        t.run("data", "import", "csv", t.path("t.csv"), "--csv-kind", "classification", "--output", t.path("t.h5"))
        config = t.config(f"model = mlp\nhidden = 8\nbatch-size = 16\ndata = {t.path('t.h5')}\n")
        t.run("train", config, "--output", t.path("table_run"), "--max-steps", 10)
    publish(t, t.newest("table_run"), name)
    versions = sorted(int(v) for v in os.listdir(t.path("models", name)) if v.isdigit())
    path = t.path("models", name, str(versions[-1]), "manifest.json")
    with open(path, encoding="utf-8") as file:
        manifest = json.load(file)
    manifest["inputs"][0]["name"], manifest["outputs"][0]["name"] = "x", "y"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(manifest, file)
    return manifest


def send(server, request):
    """(status, headers in lower case, body) for the bytes of a request."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


def request_bytes(path, body, *headers, method="POST", length=True):
    head = [f"{method} {path} HTTP/1.1", "host: localhost", *headers]
    if length:
        head.append(f"content-length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def post(server, path, body, *headers):
    return send(server, request_bytes(path, body, *headers))


def infer(server, header, raw=b"", path="/v2/models/m/infer", size=None):
    """With the JSON's size given where something stands behind it, or where `size` says another."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    given = len(text) if size is None and raw else size
    headers = [] if given is None else [f"inference-header-content-length: {given}"]
    return post(server, path, text + raw, *headers)


def split_answer(headers, body):
    """JSON and tensors of a binary answer."""
    assert headers["content-type"] == "application/octet-stream", headers
    size = int(headers[JSON_SIZE.lower()])
    return json.loads(body[:size]), body[size:]


def as_floats(raw):
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def bytes_elements(raw):
    found = []
    while raw:
        size = struct.unpack("<I", raw[:4])[0]
        found.append(raw[4 : 4 + size].decode())
        raw = raw[4 + size :]
    return found


def expected_output(server, row=ROW, model="m"):
    status, answer, _ = server.post(f"/predict/{model}", {"input": row})
    assert status == 200, answer
    return [f32(v) for v in answer["output"]]


def test_the_exchanges_of_its_clients_are_answered(t):
    table_model(t)
    with Server(t) as server:
        expected = expected_output(server, [1.0, 1.0, 1.0, 1.0])
        status, headers, body = send(server, b"POST /v2/repository/index HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (status, body) == (200, b'[{"name":"m","version":"1","state":"READY","reason":""}]'), body
        status, headers, body = post(server, "/v2/repository/models/m/load", b"{}")
        assert (status, body) == (200, b""), body
        overrides = b'{"parameters":{"config":"{\\"max_batch_size\\":4}","file:1/model.onnx":"YWJj"}}'
        assert len(overrides) == 77
        status, headers, body = post(server, "/v2/repository/models/m/load", overrides)
        assert status == 400 and "'config' is not taken" in json.loads(body)["error"], body

        header = (b'{"id":"42","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}],'
                  b'"parameters":{"binary_data_output":true}}')
        assert len(header) == 145
        status, headers, body = post(server, "/v2/models/m/infer", header + floats(1, 1, 1, 1),
                                     "inference-header-content-length: 145")
        golden = (b'{"id":"42","model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],'
                  b'"parameters":{"binary_data_size":8}}]}')
        assert status == 200 and body == golden + floats(*expected), body
        assert headers["inference-header-content-length"] == str(len(golden)), headers

        body = (b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1.0,1.0,1.0,1.0]}],"outputs":[{"name":"y",'
                b'"parameters":{"binary_data":false}}],"parameters":{"sequence_id":7,"sequence_start":true,"sequence_end":'
                b'false,"priority":1,"timeout":1000000}}')
        status, headers, body = post(server, "/v2/models/m/versions/1/infer", body)
        answer = json.loads(body)
        assert status == 200 and "inference-header-content-length" not in headers, headers
        output = answer["outputs"][0]
        assert [f32(v) for v in output.pop("data")] == expected
        assert answer == {"model_name": "m", "model_version": "1",
                          "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2]}]}, answer

        plain = (b'{"inputs":[{"name":"s","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":13}}],'
                 b'"outputs":[{"name":"y","parameters":{"classification":2,"binary_data":true}}]}')
        assert len(plain) == 171
        tensor = b"\2\0\0\0ab\3\0\0\0cde"
        sizes = ["content-encoding: gzip", "accept-encoding: deflate", "inference-header-content-length: 171"]
        status, headers, body = post(server, "/v2/models/m/infer", gzip.compress(plain + tensor), *sizes)
        assert status == 400 and json.loads(body)["error"] == "model 'm' has no input 's', it takes 'x'", body
        named = plain.replace(b'"s"', b'"x"')
        status, headers, body = post(server, "/v2/models/m/infer", gzip.compress(named + tensor), *sizes)
        assert status == 400 and "datatype 'BYTES', but model 'm' takes FP32" in json.loads(body)["error"], body
        header = named.replace(b"[2]", b"[1,4]").replace(b"BYTES", b"FP32").replace(b"13", b"16")
        for coding, pack in ("gzip", gzip.compress), ("deflate", zlib.compress):
            status, headers, body = post(server, "/v2/models/m/infer", pack(header + floats(1, 1, 1, 1)),
                                         f"content-encoding: {coding}", f"inference-header-content-length: {len(header)}")
            answer, raw = split_answer(headers, body)
            assert answer["outputs"][0]["datatype"] == "BYTES" and answer["outputs"][0]["shape"] == [1, 2], answer
            order = sorted(range(2), key=lambda i: -expected[i])
            assert len(raw) == answer["outputs"][0]["parameters"]["binary_data_size"]
            for text, index in zip(bytes_elements(raw), order, strict=True):
                value, place, label = text.split(":")
                assert (int(place), label) == (index, str(index)) and f32(float(value)) == expected[index], text

        status, headers, body = post(server, "/v2/repository/models/m/unload", b'{"parameters":{"unload_dependents":false}}')
        assert (status, body) == (200, b""), body


def test_all_ways_to_send_a_tensor_give_the_same_answer(t):
    table_model(t)
    with Server(t) as server:
        rows = [[0.1 * i, -0.2 * i, 0.3, 1.0 - i] for i in range(3)]
        expected = [v for row in rows for v in expected_output(server, row)]
        flat = [v for row in rows for v in row]
        raw = floats(*flat)
        tensor = {"name": "x", "shape": [3, 4], "datatype": "FP32"}
        binary = {"inputs": [{**tensor, "parameters": {"binary_data_size": 48}}]}
        ways = [infer(server, {"inputs": [{**tensor, "data": rows}]}), infer(server, {"inputs": [{**tensor, "data": flat}]}),
                infer(server, {"inputs": [{"data": rows, **tensor}]}), infer(server, binary, raw),
                infer(server, {"more": {"deep": [1, {"a": 2}]}, **binary}, raw)]
        # In pieces, as a client streams it.
        text = json.dumps(binary).encode()
        chunks = b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in (text[:7], text[7:] + raw[:5], raw[5:]))
        ways.append(send(server, request_bytes("/v2/models/m/infer", chunks + b"0\r\n\r\n", "transfer-encoding: chunked",
                                               f"inference-header-content-length: {len(text)}", length=False)))
        for status, headers, body in ways:
            assert status == 200, body
            assert relative([f32(v) for v in json.loads(body)["outputs"][0]["data"]], expected) < 1e-6, body
        # All ways to ask for binary answers, and the one that wins.
        for outputs, parameters, is_binary in (
            (None, {"binary_data_output": True}, True), ([], {"binary_data_output": True}, True),
            ([{"name": "y"}], {"binary_data_output": True}, True), ([{"name": "y"}], {}, False),
            ([{"name": "y", "parameters": {"binary_data": True}}], {}, True),
            ([{"name": "y", "parameters": {"binary_data": False}}], {"binary_data_output": True}, False),
        ):
            question = {"parameters": parameters, **binary} | ({} if outputs is None else {"outputs": outputs})
            status, headers, body = infer(server, question, raw)
            assert status == 200 and (JSON_SIZE.lower() in headers) == is_binary, (question, headers)
            if is_binary:
                answer, output = split_answer(headers, body)
                assert relative(as_floats(output), expected) < 1e-6 and answer["outputs"][0]["shape"] == [3, 2], answer

        def classes(count):
            return infer(server, {**binary, "outputs": [{"name": "y", "parameters": {"classification": count}}]}, raw)

        status, headers, body = classes(1)
        output = json.loads(body)["outputs"][0]
        assert output["datatype"] == "BYTES" and output["shape"] == [3, 1] and len(output["data"]) == 3, output
        status, headers, body = classes(99)
        assert json.loads(body)["outputs"][0]["shape"] == [3, 2], body
        # The body is the sample.
        one = floats(*ROW)
        for pack, more in (lambda b: b, []), (gzip.compress, ["content-encoding: gzip"]):
            status, headers, body = post(server, "/v2/models/m/infer", pack(one), "inference-header-content-length: 0", *more)
            assert status == 200, body
            answer, output = split_answer(headers, body)
            assert relative(as_floats(output), expected_output(server)) < 1e-6 and answer["outputs"][0]["shape"] == [1, 2]


def relative(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) / max(max(map(abs, b)), 1e-30)


def test_pictures_are_taken_as_u8_and_as_f32(t):
    checkpoint, data = trained(t)
    publish(t, checkpoint, "pictures")
    pixels = [v for channel in samples(data)[0] for line in channel for v in line]
    path = "/v2/models/pictures/infer"
    with Server(t) as server:
        expected = expected_output(server, pixels, "pictures")
        for datatype, raw in ("UINT8", bytes(pixels)), ("FP32", floats(*pixels)):
            tensor = {"name": "input", "shape": [1, 1, 8, 8], "datatype": datatype}
            binary = {**tensor, "parameters": {"binary_data_size": len(raw)}}
            for header, behind in (binary, raw), ({**tensor, "data": pixels}, b""):
                status, _, body = infer(server, {"inputs": [header]}, behind, path)
                assert status == 200, body
                assert [f32(v) for v in json.loads(body)["outputs"][0]["data"]] == expected, (datatype, body)
            status, headers, body = post(server, path, raw, "inference-header-content-length: 0")
            assert as_floats(split_answer(headers, body)[1]) == expected, (datatype, body)
        for values, found in ([256.0] + pixels[1:], "256"), ([-1] + pixels[1:], "-1"), ([0.5] + pixels[1:], "0.5"):
            tensor = {"name": "input", "shape": [1, 1, 8, 8], "datatype": "UINT8", "data": values}
            status, _, body = infer(server, {"inputs": [tensor]}, path=path)
            assert (status, json.loads(body)["error"]) == (400, f"input 'input': {found} is no value of UINT8"), body


def bad_requests():
    """(JSON or bytes, bytes behind it, size of the JSON or None, text of the refusal)"""
    raw = floats(*ROW)
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32"}

    def sent(size=16, **change):
        return {"inputs": [{**x, "parameters": {"binary_data_size": size}, **change}]}

    def data(values=ROW, **change):
        return {"inputs": [{**x, "data": values, **change}]}

    good = json.dumps(sent()).encode()
    for size, text in (("abc", "must be a whole number"), (-1, "must be a whole number"), (len(good) + 17, "but the body has"),
                       ("99999999999999999999", "but the body has"), ("1 1", "must be a whole number"),
                       ("0x10", "must be a whole number"), ("+5", "must be a whole number"), (5, "no JSON"),
                       (len(good) - 1, "no JSON"), (len(good) + 1, "no JSON"), (0, "a sample [4] of model 'm' has 16 as FP32")):
        yield good, raw, size, text
    yield good, raw[:12], None, "12 bytes stand behind the JSON, but binary_data_size adds up to 16"
    yield good, raw + b"1234", None, "20 bytes stand behind"
    yield good, b"", None, "0 bytes stand behind"
    yield data(), raw, None, "16 bytes stand behind the JSON, but binary_data_size adds up to 0"
    for size in 12, 20, 0:
        yield sent(size), raw, None, f"binary_data_size is {size}, but shape [1, 4] of FP32 has 16 bytes"
    for size in -1, 1e3, "16", 2**64, None, True:
        yield sent(size), raw, None, "binary_data_size must be a whole number"
    yield sent(data=ROW), raw, None, "both 'data' and binary_data_size"
    yield {"inputs": [x]}, b"", None, "neither 'data' nor binary_data_size"
    # Shapes.
    for shape in [2**32, 2**32], [1, 5], [4], [], [1, 4, 1], [[1, 4]], [1, "4"], [1e30, 4], [1.0, 4], [1, 4.5], [True, 4]:
        yield sent(shape=shape), raw, None, "input 'x'"
    yield sent(shape=[2**32, 2**32]), raw, None, "has shape [4294967296, 4294967296], but model 'm' takes [-1, 4]"
    yield sent(shape=[2**62, 4]), raw, None, "rows, but model 'm' takes 1 to 64 at once"
    yield sent(shape=[65, 4]), raw, None, "has 65 rows, but model 'm' takes 1 to 64 at once"
    yield sent(shape=[0, 4], size=0), b"", None, "has 0 rows"
    yield sent(shape=[-1, 4]), raw, None, "negative size -1"
    yield sent(shape=[1] * 10000), raw, None, "more than 9 sizes"
    yield sent(shape=2**63), raw, None, "input 'x'"
    # Datatypes.
    for datatype in "FP16", "BF16", "FP64", "BYTES", "UINT8", "INT32", "BOOL", "fp32", "FLOAT", "", "x" * 10000:
        yield sent(datatype=datatype), raw, None, f"datatype '{datatype[:64]}', but model 'm' takes FP32"
    yield sent(datatype=7), raw, None, "input 'x': is of another type"
    # Names.
    yield sent(name="z"), raw, None, "model 'm' has no input 'z', it takes 'x'"
    yield sent(name="\r\nx"), raw, None, "has no input '\r\nx'"
    yield {"inputs": sent()["inputs"] * 2}, raw * 2, None, "input 'x': is given more than once"
    yield {"inputs": [*sent()["inputs"], {"name": "z"}]}, raw, None, "takes 1 input, 'x'; 'z' is given as well"
    yield {"inputs": sent()["inputs"] * 10000}, raw, None, "input 'x': is given more than once"
    yield {"inputs": []}, b"", None, "takes 1 input, 'x', and the request has none"
    yield {}, b"", None, "takes 1 input, 'x', and the request has none"
    yield {"inputs": [7]}, b"", None, "inputs: is of another type"
    yield {"inputs": {}}, b"", None, "inputs: is of another type"
    for member in "name", "shape", "datatype":
        tensor = {k: v for k, v in data()["inputs"][0].items() if k != member}
        yield {"inputs": [tensor]}, b"", None, f"'{member}' is missing"
    # Outputs.
    yield {**data(), "outputs": [{"name": "z"}]}, b"", None, "model 'm' has no output 'z', it has 'y'"
    yield {**data(), "outputs": [{"name": "y"}] * 2}, b"", None, "output 'y' is asked for more than once"
    yield {**data(), "outputs": [{"name": "y"}] * 1000000}, b"", None, "output 'y' is asked for more than once"
    yield {**data(), "outputs": [{}]}, b"", None, "'name' of an output is missing"
    for parameters, text in (({"binary_data": 1}, "binary_data must be"), ({"classification": -1}, "classification must be"),
                             ({"classification": True}, "classification must be"),
                             ({"shared_memory_region": "r"}, "shared memory is not supported")):
        yield {**data(), "outputs": [{"name": "y", "parameters": parameters}]}, b"", None, text
    in_region = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    yield sent(parameters=in_region), b"", None, "shared memory is not supported"
    # Parameters.
    for parameters, text in (({"triton_x": 1}, "'triton_x' is reserved"), ({"priority": -1}, "priority must be"),
                             ({"priority": "1"}, "priority must be"), ({"timeout": 1.5}, "timeout must be"),
                             ({"timeout": 2**64}, "timeout must be"),
                             ({"binary_data_output": "yes"}, "binary_data_output must be")):
        yield {**data(), "parameters": parameters}, b"", None, text
    yield {**data(), "parameters": []}, b"", None, "parameters: is of another type"
    yield {**data(), "id": 7}, b"", None, "id: is of another type"
    yield {**data(), "id": "x" * 2000}, b"", None, "id: has more than 1024 bytes"
    # Numbers.
    for values in [1, 2, 3], [[1, 2], [3, 4]], [1, 2, 3, 4, 5], [[[1, 2, 3, 4]]], [[1, 2, 3, 4]] * 2:
        yield data(values), b"", None, "but its data is a list of"
    yield data([1, 2, "3", 4]), b"", None, "input 'x': expected numbers"
    yield data([1, 2, None, 4]), b"", None, "input 'x': expected numbers"
    yield data([]), b"", None, "input 'x': a list is empty"
    yield data([1, 2, 3, 1e39]), b"", None, "input 'x': value 3 does not fit"
    yield data("YWJj"), b"", None, "input 'x': expected numbers"
    yield json.dumps(data()).replace("2.0", "NaN").encode(), b"", None, "input 'x'"
    yield json.dumps(data()).replace("2.0", "9" * 400).encode(), b"", None, "input 'x'"
    for bad in float("nan"), float("inf"), float("-inf"):
        yield good, floats(1, 2, bad, 4), None, "input 'x': value 2 is not finite"
    # JSON.
    text = json.dumps(data()).encode()
    for broken in (b"", b"[", b"[]", b"7", b"{", text[:-1], text + b"}", text + b" 1", b"\xff" + text, b"nonsense",
                   b'{"inputs":[{"name":"\xff\xfe"}]}', b'{"inputs":' + b"[" * 100000, b"[" * 100000):
        yield broken, b"", None, ""
    twice = b'{"inputs":' + json.dumps(data()["inputs"]).encode() + b"," + text[1:]
    yield twice, b"", None, "'inputs' is given more than once"
    yield text.replace(b'"shape"', b'"shape": [1, 4], "shape"'), b"", None, "'shape' is given more than once"
    yield b'{"' + b"k" * 10000000 + b'": 1, ' + text[1:-1], b"", None, ""


def test_malformed_requests_are_refused_and_told_why(t):
    table_model(t)
    with Server(t) as server:
        expected = expected_output(server)
        for header, raw, size, text in bad_requests():
            status, _, body = infer(server, header, raw, size=size)
            shown = (str(header)[:200], raw[:20], size, status, body[:300])
            assert status == 400, shown
            answer = json.loads(body)
            assert list(answer) == ["error"] and text in answer["error"], (text, shown)
            assert len(body) < 400 and t.folder not in answer["error"], shown
        for coding in "br", "zstd", "gzip, gzip":
            status, _, body = post(server, "/v2/models/m/infer", b"{}", f"content-encoding: {coding}")
            assert status == 415, body
        bomb = gzip.compress(b" " * (100 << 20))
        status, _, body = post(server, "/v2/models/m/infer", bomb, "content-encoding: gzip")
        assert status == 413 and "grows beyond" in json.loads(body)["error"], body
        head = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10000000000\r\n"
        for more in b"", b"inference-header-content-length: 145\r\n", b"inference-header-content-length: 0\r\n":
            assert send(server, head + more + b"\r\n")[0] == 413
        # All of it changed nothing.
        status, _, body = infer(server, {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]})
        assert status == 200 and [f32(v) for v in json.loads(body)["outputs"][0]["data"]] == expected, body
        assert server.process.poll() is None


def test_ids_are_given_back_as_json(t):
    table_model(t)
    with Server(t) as server:
        for name in "", "42", "\r\nx-evil: 1", 'a"b\\c', "\u00e4\u4e16", "\x01", "x" * 1024:
            status, headers, body = infer(server, {"id": name, "inputs": [
                {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]})
            assert status == 200 and json.loads(body)["id"] == name and "x-evil" not in headers, body


def test_paths_and_methods_outside_of_the_protocol_are_refused(t):
    table_model(t, "..my_model")
    with Server(t) as server:
        assert server.get("/v2/models/..my_model")[0] == 200
        for path in ("..", "a/../b", "%2e%2e%2f", "%2e%2e", "/etc", "a%2fb", "\u0430".encode("utf-8").decode("latin-1"),
                     "n" * 10000, "", "..my_model/versions/01", "..my_model/versions/-1", "..my_model/versions/2",
                     "..my_model/versions/1e0", "..my_model/versions/99999999999999999999",
                     "%252e%252e", ".", "..my_model/nothing"):
            for what, method in ("", "GET"), ("/config", "GET"), ("/ready", "GET"), ("/stats", "GET"), ("/infer", "POST"):
                status, _, body = send(server, request_bytes(f"/v2/models/{path}{what}".encode().decode("latin-1"), b"",
                                                             method=method))
                assert status == 404 and "error" in json.loads(body), (path, what, status, body)
        for model, wanted in (("..", 400), ("%2e%2e%2fx", 400), ("a%2fb", 400), ("%ff", 400), ("nothing", 400), ("a/b", 404)):
            status, _, body = post(server, f"/v2/repository/models/{model}/load", b"{}")
            assert status == wanted, (model, status, body)
            assert post(server, f"/v2/repository/models/{model}/unload", b"{}")[0] == 404
        assert send(server, request_bytes("/v2/models/%00", b"", method="GET"))[0] == 400
        for method, path in (("POST", "/v2"), ("POST", "/v2/health/live"), ("GET", "/v2/repository/index"),
                             ("PUT", "/v2/models/m"), ("GET", "/v2/models/m/infer"), ("POST", "/v2/models/stats"),
                             ("DELETE", "/v2/repository/models/m/load")):
            status, _, body = send(server, request_bytes(path, b"", method=method))
            assert status == 405 and "this path takes" in json.loads(body)["error"], (method, path, status, body)
        for path in "/v2/nothing", "/v2/health", "/v3", "/v2/repository", "/v2/logging":
            assert server.get(path)[0] == 404, path


def test_metadata_and_config_describe_the_model(t):
    checkpoint, _ = trained(t)
    publish(t, checkpoint, "pictures")
    table_model(t)
    t.write("models/m/config.json", json.dumps({
        "max_batch_size": 8, "max_queue_delay_us": 500, "preferred_batch_sizes": [4, 8], "max_queue_rows": 100,
        "timeout_ms": 3000, "version_policy": {"latest": 2}, "aliases": {"stable": {"version": 1}}}))
    table_model(t)
    with Server(t) as server:
        status, answer, _ = server.get("/v2")
        assert status == 200 and answer["name"] == "phalanx" and answer["version"], answer
        assert set(answer["extensions"]) == {"classification", "model_repository", "model_configuration", "binary_tensor_data",
                                             "parameters", "statistics"}, answer
        metadata = server.get("/v2/models/m")[1]
        assert metadata == {
            "name": "m", "versions": ["1", "2"], "platform": "phalanx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]}, metadata
        assert server.get("/v2/models/pictures")[1]["inputs"] == [
            {"name": "input", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
        for path in "/v2/models/m", "/v2/models/m/versions/1", "/v2/models/m/versions/stable":
            assert server.get(path)[0] == 200 and server.get(path + "/ready")[:2] == (200, {"name": "m", "ready": True})
            config = server.get(path + "/config")[1]
            parameters = config.pop("parameters")
            assert config == {
                "name": "m", "platform": "phalanx", "backend": "phalanx", "version_policy": {"latest": {"num_versions": 2}},
                "max_batch_size": 8,
                "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [4], "format": "FORMAT_NONE"}],
                "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [2]}],
                "dynamic_batching": {
                    "preferred_batch_size": [4, 8], "max_queue_delay_microseconds": 500, "preserve_ordering": False,
                    "priority_levels": 9, "default_priority_level": 5,
                    "default_queue_policy": {"timeout_action": "REJECT", "default_timeout_microseconds": 3000000,
                                             "allow_timeout_override": True, "max_queue_size": 100}},
                "model_transaction_policy": {"decoupled": False}}, config
            assert json.loads(parameters["preprocessing"]["string_value"])["image"] is False, parameters
            assert json.loads(parameters["postprocessing"]["string_value"])["labels"] == ["0", "1"], parameters
            assert parameters["task"] == {"string_value": "classification"}, parameters
        config = server.get("/v2/models/pictures/config")[1]
        assert config["input"][0]["format"] == "FORMAT_NCHW" and config["version_policy"] == {"latest": {"num_versions": 1}}
        assert config["parameters"]["input_datatypes"] == {"string_value": "FP32,UINT8"}, config


def test_statistics_count_what_was_answered(t):
    table_model(t)
    question = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [ROW, ROW]}]}
    with Server(t) as server:
        for _ in range(5):
            assert infer(server, question)[0] == 200
        for path in "/v2/models/m/stats", "/v2/models/m/versions/1/stats", "/v2/models/stats":
            status, answer, _ = server.get(path)
            (stats,) = answer["model_stats"]
            assert (stats["name"], stats["version"]) == ("m", "1") and status == 200, stats
            assert stats["inference_count"] == 10 and stats["execution_count"] == 5 and stats["last_inference"] > 1.7e12, stats
            assert set(stats["inference_stats"]) == {"success", "fail", "queue", "compute_input", "compute_infer",
                                                     "compute_output", "cache_hit", "cache_miss"}, stats
            for name, value in stats["inference_stats"].items():
                counts = 0 if name in ("fail", "cache_hit", "cache_miss") else 5
                assert value["count"] == counts and (value["ns"] > 0) == (counts > 0), (name, value)
            (batch,) = stats["batch_stats"]
            assert batch["batch_size"] == 2 and batch["compute_infer"]["count"] == 5, batch
            (memory,) = stats["memory_usage"]
            assert memory["type"] in ("CPU", "GPU") and memory["byte_size"] > 0 and stats["response_stats"] == {}, stats
        assert server.get("/v2/models/nothing/stats")[0] == 404


def test_models_are_indexed_loaded_and_unloaded(t):
    table_model(t, "a")
    table_model(t, "b")

    def index(body=None):
        status, answer, _ = server.post("/v2/repository/index", body)
        assert status == 200, answer
        return [(e["name"], e.get("version"), e.get("state")) for e in answer]

    def change(model, what, body=None):
        status, answer, _ = server.post(f"/v2/repository/models/{model}/{what}", body if body is not None else {}, timeout=60)
        return status, answer["error"] if status != 200 else ""

    with Server(t, "--model", "a") as server:
        assert index() == [("a", "1", "READY"), ("b", None, None)], index()
        assert index({"ready": True}) == [("a", "1", "READY")]
        assert server.post("/v2/repository/index", {"ready": 1})[0] == 400
        assert server.get("/v2/models/b/ready")[0] == 404 and infer(server, {}, path="/v2/models/b/infer")[0] == 404
        assert change("b", "unload") == (404, "there is no model 'b'")
        # All that ask while it loads wait for it.
        answers = []
        askers = [threading.Thread(target=lambda: answers.append((change("b", "load"), server.get("/v2/models/b/ready")[0])))
                  for _ in range(4)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(60)
        assert answers == [((200, ""), 200)] * 4, answers
        assert index() == [("a", "1", "READY"), ("b", "1", "READY")]
        for parameters, text in (({"file:../../x": "YWJj"}, "files are not taken"),
                                 ({"config": '{"label_filename":"../x"}'}, "'config' is not taken")):
            status, error = change("b", "load", {"parameters": parameters})
            assert status == 400 and text in error, error
        assert not os.path.exists(t.path("x")) and sorted(os.listdir(t.path("models/b"))) == ["1"]
        # A version that is damaged is refused with a reason, and what is served goes on.
        table_model(t, "b")
        with open(t.path("models/b/2/model.h5"), "r+b") as file:
            file.seek(100)
            file.write(b"damage")
        status, error = change("b", "load")
        assert status == 400 and "could not be loaded" in error and t.folder not in error, error
        assert ("b", "1", "READY") in index() and ("b", "2", "UNAVAILABLE") in index(), index()
        assert server.get("/v2/models/b/versions/2/ready")[0] == 400
        assert infer(server, {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]},
                     path="/v2/models/b/infer")[0] == 200
        assert change("a", "unload") == (200, "") and index({"ready": True}) == [("b", "1", "READY")]
        assert server.get("/v2/models/a")[0] == 404
        assert change("a", "load") == (200, "") and server.get("/v2/models/a/ready")[0] == 200
        assert server.post("/v2/repository/models/a/load", b"nonsense")[0] == 400
        assert server.post("/v2/repository/models/nothing/load", {})[0] == 400


def test_versions_and_aliases_stand_in_the_path(t):
    table_model(t)
    table_model(t)
    t.write("models/m/config.json", json.dumps({"version_policy": "all", "aliases": {
        "stable": {"version": 1, "percent": 50}, "canary": {"version": 2, "percent": 50}}}))
    question = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]}
    with Server(t) as server:
        for which, version in ("1", "1"), ("2", "2"), ("stable", "1"), ("canary", "2"):
            status, _, body = infer(server, question, path=f"/v2/models/m/versions/{which}/infer")
            assert status == 200 and json.loads(body)["model_version"] == version, body
        taken = []
        for _ in range(6):
            taken.append(json.loads(infer(server, question)[2])["model_version"])
            assert server.get("/v2/models/m")[0] == 200  # asking about it takes no turn
        assert taken.count("1") == 3, taken
        assert infer(server, question, path="/v2/models/m/versions/3/infer")[0] == 404


def test_the_timeout_of_a_request_is_kept(t):
    table_model(t)
    t.write("models/m/config.json", json.dumps({"max_queue_delay_us": 300000}))
    question = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]}
    with Server(t) as server:
        status, headers, body = infer(server, {**question, "parameters": {"timeout": 1}})
        assert status == 503 and "deadline" in json.loads(body)["error"] and "retry-after" in headers, (status, body)
        for parameters in {"timeout": 2**63, "priority": 2**63}, {"timeout": 0, "priority": 9}, {"priority": 1}:
            assert infer(server, {**question, "parameters": parameters})[0] == 200


def test_health_says_400_until_all_is_loaded(t):
    table_model(t)
    with Server(t, ready=False) as server:
        assert server.get("/v2/health/live")[:2] == (200, {"live": True})
        seen = set()

        def is_ready():
            status, answer, _ = server.get("/v2/health/ready")
            seen.add((status, answer["ready"]))
            return status == 200

        wait_until(is_ready, 40, "the server is ready")
        assert seen == {(400, False), (200, True)}, seen
        assert server.request("HEAD", "/v2/health/ready")[0] == 200


def check_with_clients(t, what):
    """Runs check_open_inference.py, with the Python that has the clients."""
    checkpoint, _ = trained(t)
    publish(t, checkpoint, "pictures")
    table_model(t)
    checker = os.path.join(SOURCE, "tests/integration/check_open_inference.py")
    python = os.environ.get("PHALANX_CLIENTS_PYTHON", sys.executable)
    with Server(t) as server:
        check = subprocess.run([python, checker, what, str(server.port)], capture_output=True, text=True, check=False,
                               timeout=160, cwd=t.folder)
        if check.returncode == SKIPPED:
            raise Skip(check.stdout.strip().removeprefix("skipped: "))
        assert check.returncode == 0, check.stdout + check.stderr
        print(check.stdout.strip())


def test_the_python_client_gets_along(t):
    check_with_clients(t, "tritonclient")


def test_perf_analyzer_gets_along(t):
    check_with_clients(t, "perf_analyzer")


if __name__ == "__main__":
    run_tests(globals())
