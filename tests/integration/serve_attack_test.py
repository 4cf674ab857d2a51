# SPDX-License-Identifier: Apache-2.0
"""Hostile requests: the server refuses them in bounded memory, says why, and goes on."""

import gzip
import json
import select
import socket
import struct
import threading
import time
import zlib

from attacking import MIB, Raw, ask, attacked, head, refused, table_server
from serve_test import samples, trained
from serving import Server, publish
from support import run_tests, wait_until


# --- HTTP


def test_a_million_chunks_are_cut_off(t):
    with table_server(t) as (server, sample), attacked(server, sample):
        chunks = b"1\r\n \r\n" * 100_000
        raw = Raw(server)
        sender = threading.Thread(target=raw.send, args=(head("Transfer-Encoding: chunked"), *[chunks] * 10, "0\r\n\r\n"))
        sender.start()
        status, _, body = raw.answer()
        assert status == 413 and b"chunks" in body, (status, body)
        sender.join(20)
        raw.socket.close()
        for size in "", "g", "-1", "0x5", "+5", "ffffffffffffffff", "10000000000000000", "5 5":
            refused(server, {400, 413}, head("Transfer-Encoding: chunked"), size, "\r\nhello\r\n0\r\n\r\n")
        refused(server, {400}, head("Transfer-Encoding: chunked"), "2\r\nhello\r\n0\r\n\r\n", says="longer")
        refused(server, {400}, head("Transfer-Encoding: chunked"), "2;", "x" * 5000, "\r\nab\r\n0\r\n\r\n", says="too long")
        refused(server, {400}, head("Transfer-Encoding: chunked"), "0\r\n", "a: b\r\n" * 1000, "\r\n")
        body = json.dumps({"input": sample}).encode()
        whole = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in body) + b"0\r\n\r\n"
        assert ask(server, head("Transfer-Encoding: chunked"), whole, closes=False)[0] == 200


def test_lengths_that_contradict_each_other_are_refused(t):
    with table_server(t) as (server, sample), attacked(server, sample):
        for lines in (["Content-Length: 5", "Transfer-Encoding: chunked"], ["Content-Length: 5", "Content-Length: 6"],
                      ["Content-Length: 5", "Content-Length: 5"], ["Content-Length: 5, 5"], ["Content-Length: -1"],
                      ["Content-Length: 9223372036854775808000"], ["Content-Length: 0x10"], ["Content-Length: +5"],
                      ["Content-Length: "], ["Content-Length: 5 5"], ["Content-Length : 5"],
                      ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]):
            refused(server, {400}, head(*lines), "hello")
        refused(server, {413}, head("Content-Length: 18446744073709551615"), "hello")
        for coding in "gzip, chunked", "identity", "xchunked", "chunked, chunked":
            refused(server, {400, 501}, head(f"Transfer-Encoding: {coding}"), "0\r\n\r\n")
        refused(server, {400}, head("Transfer-Encoding: chunked", request="POST /predict/model HTTP/1.0"), "0\r\n\r\n")
        # What stands behind a refused head is never taken for another request.
        smuggled = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        raw = Raw(server).send(head("Content-Length: 4", "Transfer-Encoding: chunked"), "0\r\n\r\n", smuggled)
        assert raw.answer()[0] == 400 and raw.is_closed() and raw.ahead == b"", raw.ahead


def test_bodies_over_the_limit_are_refused_unread(t):
    with table_server(t, "--max-body-mib", 4) as (server, sample), attacked(server, sample):
        refused(server, {413}, head(f"Content-Length: {10 << 30}"))
        refused(server, {413}, head(f"Content-Length: {4 * MIB + 1}", "Expect: 100-continue"))
        # The answer reaches a client that sends on and on.
        raw = Raw(server)
        raw.send(head(f"Content-Length: {8 * MIB}"), *[b" " * MIB] * 8)
        assert raw.answer()[0] == 413
        raw.socket.close()
        refused(server, {413}, head("Transfer-Encoding: chunked"), "500000\r\n")
        refused(server, {413}, head("Transfer-Encoding: chunked"), *[b"100000\r\n" + b" " * MIB + b"\r\n"] * 6)


def test_silent_and_slow_clients_are_let_go(t):
    flags = ("--header-seconds", 1, "--body-seconds", 1, "--idle-seconds", 1, "--max-connections-per-client", 300)
    with table_server(t, *flags) as (server, sample), attacked(server, sample):
        # Promised, but not sent: memory is taken as bytes arrive.
        waiting = [Raw(server).send(head(f"Content-Length: {60 * MIB}"), "{") for _ in range(60)]
        waiting += [Raw(server).send(head("Transfer-Encoding: chunked"), "3ffffff\r\n{") for _ in range(60)]
        assert server.post("/predict/model", {"input": sample})[0] == 200
        for raw in waiting:
            assert raw.answer()[0] == 408
            assert raw.is_closed()
        slow, begin = Raw(server), time.monotonic()
        for byte in head("Content-Length: 5"):
            slow.send(byte)
            time.sleep(0.25)
            if time.monotonic() - begin > 2:
                break
        assert slow.answer()[0] in (0, 408) and slow.is_closed()
        assert time.monotonic() - begin < 5
        silent = Raw(server)
        idle = Raw(server).send(head(request="GET /healthz HTTP/1.1"))
        assert idle.answer()[0] == 200
        assert silent.is_closed(4) and idle.is_closed(4)


def flat(values):
    return [number for value in values for number in flat(value)] if isinstance(values, list) else [values]


def test_tensors_that_are_only_declared_leave_room_for_others(t):
    checkpoint, data = trained(t, "images")
    publish(t, checkpoint)
    pixels = samples(data)[0]
    values = flat(pixels)
    sample, rows = struct.pack(f"<{len(values)}f", *values), 64
    size = len(sample)
    text = json.dumps({"inputs": [{"name": "input", "shape": [rows, 1, 8, 8], "datatype": "FP32",
                                   "parameters": {"binary_data_size": rows * size}}]})
    infer = "POST /v2/models/model/infer HTTP/1.1"
    declared = head(f"Content-Length: {len(text) + rows * size}", f"Inference-Header-Content-Length: {len(text)}",
                    request=infer) + text
    raw = head(f"Content-Length: {size}", "Inference-Header-Content-Length: 0", request=infer)
    tensor = sample * rows
    # Memory for 64 such tensors; a client may have a quarter of it for what is still to come, and all together a half.
    flags = ("--request-memory-mib", 1, "--body-seconds", 4)

    def answers(raws):
        """What came at once; the others wait for the tensor."""
        found = {}
        for one in raws:
            one.socket.settimeout(0.05)
            try:
                status, headers, _ = one.answer()
                assert int(headers["retry-after"]) >= 1, headers
            except TimeoutError:
                status = None
            found[status] = found.get(status, 0) + 1
        return found

    def works(client):
        one = Raw(server, client=client).send(declared).send(tensor)
        status, headers, _ = one.answer()
        one.socket.close()
        return status == 200

    with Server(t, *flags) as server, attacked(server, pixels):
        begin = time.monotonic()
        slow = [Raw(server).send(declared) for _ in range(100)]
        first = answers(slow)
        assert set(first) == {None, 429} and 14 <= first[None] <= 16, first
        assert works("127.0.0.2") and ask(server, raw, sample)[0] == 200
        assert server.post("/predict/model", {"input": pixels})[0] == 200
        others = [Raw(server, client=f"127.0.0.{3 + i}").send(declared) for i in range(60)]
        second = answers(others)
        assert set(second) == {None, 503} and 14 <= second[None] <= 17, second
        assert server.post("/predict/model", {"input": [pixels] * rows})[0] == 200, "what is there at once is taken"
        # Nobody went on: the time for a body passes, and the room is free.
        for one in slow + others:
            one.socket.settimeout(15)
            assert one.answer()[0] in (0, 408)
        print(f"all over after {time.monotonic() - begin:.1f} s")
        for client in "127.0.0.1", "127.0.0.2", "127.0.0.3":
            assert works(client), client
        wait_until(lambda: b"\nphalanx_request_memory_used_bytes 0\n" in server.get("/metrics")[1], 5, "all room is free")
        # A client that leaves gives its room back at once.
        for _ in range(5):
            slow = [Raw(server).send(declared) for _ in range(16)]
            for one in slow:
                one.socket.close()
        wait_until(lambda: works("127.0.0.1"), 2, "the room of clients that left is free")


def test_large_texts_that_arrive_slowly_leave_room_for_others(t):
    flags = ("--request-memory-mib", 8, "--body-seconds", 6)
    with table_server(t, *flags) as (server, sample), attacked(server, sample, 24 * MIB):
        # Also the JSON in front of a tensor counts.
        lines = [f"Content-Length: {4 * MIB}", f"Inference-Header-Content-Length: {4 * MIB - 28}"]
        for more in [], lines[1:]:
            request = "POST /v2/models/model/infer HTTP/1.1" if more else "POST /predict/model HTTP/1.1"
            slow = [Raw(server).send(head(lines[0], *more, request=request), b" " * (MIB - 1000)) for _ in range(8)]
            time.sleep(0.5)
            waiting = 0
            for one in slow:
                one.socket.settimeout(0.05)
                try:
                    status, headers, _ = one.answer()
                    assert status == 429 and int(headers["retry-after"]) >= 1, (status, headers)
                except TimeoutError:
                    waiting += 1
            assert 1 <= waiting <= 3, waiting
            other = Raw(server, client="127.0.0.2")
            body = json.dumps({"input": sample}) + " " * MIB
            assert other.send(head(f"Content-Length: {len(body)}"), body).answer()[0] == 200
            for one in [*slow, other]:
                one.socket.close()
            wait_until(lambda: server.post("/predict/model", {"input": sample})[0] == 200, 5, "the room is free")


def test_long_answers_that_nobody_reads_take_little_memory(t):
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    t.write("models/model/config.json", '{"max_batch_size": 32768, "max_queue_rows": 1000000}')
    rows = (samples(data) * 32768)[:32768]
    body = json.dumps({"input": rows})
    with Server(t, "--request-memory-mib", 32) as server, attacked(server, rows, 64 * MIB):
        # None of them reads an answer, which has more than three megabytes: more than sockets hold.
        deaf = []
        for _ in range(40):
            raw = Raw(server)
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            threading.Thread(target=raw.send, args=[head(f"Content-Length: {len(body)}"), body] * 3, daemon=True).start()
            deaf.append(raw)
            time.sleep(0.25)
        other = Raw(server, client="127.0.0.2").send(head(f"Content-Length: {len(body)}"), body)
        status, _, answer = other.answer()
        assert status == 200 and len(answer) > 3 * MIB, (status, answer[:200])
        assert server.post("/predict/model", {"input": rows[0]})[0] == 200, "short answers get through"
        for raw in [*deaf, other]:
            raw.socket.close()
        wait_until(lambda: server.post("/predict/model", {"input": rows})[0] == 200, 5, "the memory is free")


def test_binary_answers_that_nobody_reads_leave_room_for_others(t):
    lines = ["a,b,target"] + [f"{row},{row % 7},class{row % 64}" for row in range(256)]
    t.run("data", "import", "csv", t.write("many.csv", "\n".join(lines) + "\n"), "--csv-kind", "classification", "--output",
          t.path("many.h5"))
    config = t.config(f"model = mlp\nhidden = 4\nbatch-size = 16\ndata = {t.path('many.h5')}\n")
    t.run("train", config, "--output", t.path("run"), "--max-steps", 1)
    publish(t, t.newest("run"))
    t.write("models/model/config.json", '{"max_batch_size": 16384, "max_queue_rows": 1000000}')
    rows = 16384  # whose answers have four megabytes: more than sockets hold
    text = json.dumps({"inputs": [{"name": "input", "shape": [rows, 2], "datatype": "FP32",
                                   "parameters": {"binary_data_size": rows * 8}}],
                       "parameters": {"binary_data_output": True}}).encode()
    request = head(f"Content-Length: {len(text) + rows * 8}", f"Inference-Header-Content-Length: {len(text)}",
                   request="POST /v2/models/model/infer HTTP/1.1").encode() + text + bytes(rows * 8)
    with Server(t, "--request-memory-mib", 32) as server, attacked(server, [1.0, 2.0], 64 * MIB):
        deaf = []
        for _ in range(16):
            raw = Raw(server)
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.append(raw.send(request))
            time.sleep(0.1)
        other = Raw(server, client="127.0.0.2").send(request)
        status, _, answer = other.answer()
        assert status == 200 and len(answer) > 4 * MIB, (status, answer[:200])
        for raw in [*deaf, other]:
            raw.socket.close()


def test_malformed_heads_are_refused(t):
    with table_server(t) as (server, sample), attacked(server, sample):
        refused(server, {431}, head("X: " + "x" * 17000))
        refused(server, {431}, head(*[f"X-{i}: y" for i in range(100_000)]))
        refused(server, {431}, "POST /predict/model HTTP/1.1\r\nX: ", *[b"x" * MIB] * 5)
        refused(server, {431}, f"GET /{'x' * 20000} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        refused(server, {400}, head("A: b", " continued"), says="continued")
        refused(server, {400}, head("A: b", "\tcontinued"), says="continued")
        for raw in (head("A: \0"), head("A\0: b"), "POST /predict/model HTTP/1.1\nHost: localhost\n\n",
                    "GET /healthz HTTP/1.1\r\nHost: localhost\nA: b\r\n\r\n", head("A : b"), head(": b"), head("no colon"),
                    head(request="GET\t/healthz HTTP/1.1"), head(request="GET  /healthz HTTP/1.1"), head(request="GET"),
                    head(request="GET healthz HTTP/1.1"), head(request="(): / HTTP/1.1"),
                    head(request="GET http://localhost/healthz HTTP/1.1"), head(request="GET * HTTP/1.1"),
                    head(host=""), head("Host: localhost"), head("A: b\x01"), "\x16\x03\x01\x02\x00\x01\r\n\r\n"):
            refused(server, {400}, raw)
        for version in "HTTP/1.1 x", "HTTP/2.0", "HTTP/9.9", "HTTP/1", "HTTP/", "HTTQ/1.1":
            refused(server, {400, 505}, head(request=f"GET /healthz {version}"))


def test_compressed_bombs_are_refused(t):
    bomb = zlib.compressobj(9, wbits=31)
    piece = bomb.compress(bytes(16 * MIB))
    packed = piece + b"".join(bomb.compress(bytes(16 * MIB)) for _ in range(63)) + bomb.flush()
    with table_server(t, "--max-body-mib", 4) as (server, sample), attacked(server, sample, 24 * MIB):
        def send(body, coding):
            return ask(server, head(f"Content-Length: {len(body)}", f"Content-Encoding: {coding}"), body)[0]

        assert len(packed) < 2 * MIB
        assert send(packed, "gzip") == 413
        good = json.dumps({"input": sample}).encode()
        assert send(gzip.compress(good), "gzip") == 200 and send(zlib.compress(good), "Deflate") == 200
        assert send(gzip.compress(gzip.compress(good)), "gzip") == 400
        assert send(gzip.compress(good)[:-6], "gzip") == 400 and send(gzip.compress(good) + b"x", "gzip") == 400
        assert send(good, "gzip") == 400 and send(b"\x1f\x8b\x08", "gzip") == 400
        for coding in "br", "zstd", "gzip, gzip", "x":
            assert send(good, coding) == 415, coding


def test_others_are_served_while_a_long_body_is_inflated(t):
    packed = gzip.compress(bytes(60 * MIB), 1)
    packed = packed[:-8] + bytes(4) + packed[-4:]  # another checksum: found at the end
    with table_server(t) as (server, sample), attacked(server, sample, 192 * MIB):
        def longest_share():
            """Of the slow request's time, that the slowest of others took which were asked meanwhile."""
            slow, quick, longest = Raw(server), Raw(server), 0
            begin = time.monotonic()
            slow.send(head(f"Content-Length: {len(packed)}", "Content-Encoding: gzip"), packed)
            while not select.select([slow.socket], [], [], 0)[0]:
                asked = time.monotonic()
                assert quick.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").answer()[0] == 200
                longest = max(longest, time.monotonic() - asked)
            took = time.monotonic() - begin
            assert slow.answer()[0] == 400
            return longest / took

        shares = [longest_share() for _ in range(5)]
        assert min(shares) < 0.5, shares


# --- JSON and tensors


def test_hostile_json_is_refused(t):
    with table_server(t) as (server, sample), attacked(server, sample, 96 * MIB):
        good = json.dumps(sample)

        def bad(body, says=""):
            status, answer, _ = server.post("/predict/model", body)
            assert status == 400 and says in answer["error"], (status, answer, str(body)[:100])

        deep = 100_000
        bad('{"input": ' + "[" * deep + "1" + "]" * deep + "}")
        # What is not known is stepped over, however deep it is.
        for other in "[" * deep + "1" + "]" * deep, '{"a":' * deep + "1" + "}" * deep, "[" * deep:
            assert server.post("/predict/model", '{"other": ' + other + ', "input": ' + good + "}")[0] in (200, 400)
        bad("[" * deep)
        assert server.post("/predict/model", '{"' + "k" * (10 * MIB) + '": 1, "input": ' + good + "}")[0] == 200
        bad(f'{{"input": {good}, "input": {good}}}', "more than once")
        bad(f'{{"input": {good}, "inputs": {good}}}', "more than once")
        bad(f'{{"input": {good}, "\\u0069nput": {good}}}', "more than once")
        bad(b'{"input": ' + good.encode() + b', "x": "\xff\xfe"}')
        bad(b'{"\xc0\xaf": 1, "input": ' + good.encode() + b"}")
        for behind in "x", "{}", ",", "]", "1":
            bad(f'{{"input": {good}}} {behind}')
        for body in "", " ", "{", "}", "[]", "1", '"x"', "null", "{}", '{"input"}', '{"input":}', '{"input": }', \
                "{'input': 1}", f'{{"input": {good}', f'{{"input": {good[:-1]}', f'{{"input": {good[:-1]},]}}', \
                "\ufeff{}".encode(), "\0" * 100:
            bad(body)
        bad('{"image": "' + "A" * 100 + '"}', "no images")


def test_hostile_tensors_are_refused(t):
    with table_server(t) as (server, sample), attacked(server, sample, 400 * MIB):
        def bad(value, says="input"):
            text = value if isinstance(value, str) else json.dumps(value)
            status, answer, _ = server.post("/predict/model", '{"input": ' + text + "}")
            assert status == 400 and says in answer["error"], (status, answer, text[:100])

        for value in [], [[]], [[], sample], sample[:-1], sample + [1], [sample, sample[:-1]], [sample, 1], [1, sample], \
                [[[[sample]]]], 1, 1.5, None, True, "1", ["1"] * 7, [None] * 7, {}, [{}], [[1]] * 7, [True] * 7:
            bad(value)
        nested = sample
        for _ in range(20):
            nested = [nested]
        bad(nested, "nested deeper")
        for number in "1e39", "-1e39", "1e400", "NaN", "Infinity", "-Infinity", "0x1", "01", "+1", "1.", ".5", "1e", "--1", \
                "1" * 400, "4294967296e300":
            bad("[" + ",".join([number] * 7) + "]")
        bad([sample] * 65, "")
        bad([sample] * 200_000, "")
        bad("[" + "1," * 1_000_000 + "1]")
        bad("[" + "[1]," * 1_000_000 + "[1]]")
        status, answer, _ = server.post("/predict/model", '{"input": [' + "1," * (17 * MIB) + "1]}")
        assert status == 400 and "more than" in answer["error"], answer


def test_hostile_pictures_are_refused(t):
    checkpoint, data = trained(t, "images")
    publish(t, checkpoint)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    def picture(width, height, rows):
        header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

    with Server(t) as server, attacked(server, samples(data)[0], 64 * MIB):
        for width, height in (0, 0), (0, 8), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (65535, 65535), (2**31, 8):
            status, answer, _ = server.post("/predict/model", picture(width, height, bytes(1000)))
            assert status == 400, (width, height, status, answer)
        good = picture(8, 8, (b"\0" + bytes(8)) * 8)
        assert server.post("/predict/model", good)[0] == 200
        for damaged in good[:8], good[:40], good[:-20], b"\xff\xd8\xff", b"\xff\xd8\xff" + bytes(1000):
            status, answer, _ = server.post("/predict/model", damaged)
            assert status == 400 and "error" in answer, (status, answer)
        for image in "", "!", "A", "AAAA", "data:", "data:,", "data:image/png;base64,", "====", "A===", \
                "AAAA" * 100_000, 1, None:
            status, answer, _ = server.post("/predict/model", {"image": image})
            assert status == 400 and "image" in answer["error"], (image, status, answer)
        assert server.post("/predict/model", {"images": []})[0] == 400
        assert server.post("/predict/model", {"images": ["AAAA"] * 2000})[0] == 400


if __name__ == "__main__":
    run_tests(globals())
