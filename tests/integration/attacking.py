# SPDX-License-Identifier: Apache-2.0
"""For tests of attacks on a server: raw requests, and a look at what they do to it."""

import json
import re
import socket
import threading
from contextlib import contextmanager

from serve_test import samples, trained
from serving import Server, publish

MIB = 1 << 20


class Raw:
    """A socket to the server, and answers read from it byte by byte."""

    def __init__(self, server, timeout=15, client="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout, (client, 0))
        self.ahead = b""

    def send(self, *pieces):
        """What the server takes of it; it may hang up in between."""
        try:
            for piece in pieces:
                self.socket.sendall(piece if isinstance(piece, bytes) else piece.encode())
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def more(self):
        try:
            piece = self.socket.recv(65536)
        except ConnectionResetError:
            piece = b""
        self.ahead += piece
        return bool(piece)

    def answer(self, has_body=True):
        """(status, headers, body); status 0 if the connection ended without one."""
        while b"\r\n\r\n" not in self.ahead:
            if not self.more():
                return 0, {}, b""
        head, self.ahead = self.ahead.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, v in (line.split(":", 1) for line in lines[1:])}
        size = int(headers.get("content-length", 0)) if has_body else 0
        while len(self.ahead) < size:
            assert self.more(), "the answer is cut short"
        body, self.ahead = self.ahead[:size], self.ahead[size:]
        return int(lines[0].split()[1]), headers, body

    def is_closed(self, seconds=5):
        self.socket.settimeout(seconds)
        try:
            while self.more():
                pass
            return True
        except TimeoutError:
            return False


def head(*lines, request="POST /predict/model HTTP/1.1", host="Host: localhost"):
    return "\r\n".join([request, *([host] if host else []), *lines, "", ""])


def ask(server, *pieces, closes=None):
    """The answer to raw bytes: (status, headers, body). `closes`: whether the connection has to end behind it."""
    raw = Raw(server)
    status, headers, body = raw.send(*pieces).answer(has_body=not str(pieces[0]).startswith("HEAD"))
    if closes is not None:
        assert raw.is_closed() == closes, f"after {status} {body[:200]}: expected closed = {closes}"
    raw.socket.close()
    return status, headers, body


def refused(server, expected, *pieces, says=""):
    """One of the statuses, and the end of the connection."""
    status, _, body = ask(server, *pieces, closes=True)
    assert status in expected, f"expected {expected}, found {status} {body[:300]} for {str(pieces)[:200]}"
    text = json.loads(body)["error"]
    assert says in text, f"expected '{says}' in '{text}'"


def resident(server):
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024


@contextmanager
def attacked(server, sample, grows_at_most=16 * MIB, path="/predict/model", headers=None):
    """What happens inside takes little memory, and leaves a server that answers as before."""
    expected = server.post(path, {"input": sample}, headers=headers)
    assert expected[0] == 200, expected
    before, peak, ends = resident(server), 0, threading.Event()

    def watch():
        nonlocal peak
        while not ends.wait(0.01):
            peak = max(peak, resident(server))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ends.set()
        watcher.join()
    grown = peak - before
    assert grown <= grows_at_most, f"the front end grew by {grown / MIB:.1f} MiB, at most {grows_at_most / MIB} MiB"
    found = server.post(path, {"input": sample}, headers=headers)
    assert found[:2] == expected[:2], f"afterwards {found} instead of {expected}"
    print(f"grew by {grown / MIB:.1f} MiB")


@contextmanager
def table_server(t, *flags, **more):
    """(server, sample) of a small model of tables."""
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    with Server(t, *flags, **more) as server:
        yield server, samples(data)[0]
