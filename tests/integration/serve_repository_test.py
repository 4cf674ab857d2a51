# SPDX-License-Identifier: Apache-2.0
"""What a server reads of its repository: names, files that are checked, what killed programs leave."""

import json
import os
import re
import shutil
import socket
import time

from attacking import MIB, ask, attacked, head, refused
from serve_test import samples, trained
from serving import Server, publish
from support import run_tests


# --- names and files


def test_names_never_lead_out_of_the_repository(t):
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    publish(t, checkpoint, "..my_model")
    shutil.copytree(t.path("models/model"), t.path("outside"))
    sample = samples(data)[0]
    with Server(t) as server, attacked(server, sample):
        assert server.post("/predict/..my_model", {"input": sample})[0] == 200
        assert server.post("/predict/%6dodel", {"input": sample})[0] == 200  # decoded once
        body = json.dumps({"input": sample})
        for name in ("..", ".", "../outside", "a/../model", "%2e%2e", "%2e%2e%2foutside", "..%2foutside",
                     "..%2f..%2fetc%2fpasswd",
                     "%252e%252e%252foutside", "%256dodel", "%2fetc", "/etc/passwd", "model%2f1", "model%20", "model.", "MODEL",
                     "m%C3%B6del", "m%D0%BEdel", "model%ff", "model%0d%0aX-A:%20b", "x" * 10_000, "model%5c..", "model;a",
                     "~root",
                     "model/../../outside", "model/-1", "model/0", "model/01", "model/1.0", "model/99999999999999999999",
                     "model/%31x",
                     "model/1/x", "", "/"):
            request = f"POST /predict/{name} HTTP/1.1"
            status, _, answer = ask(server, head(f"Content-Length: {len(body)}", request=request), body)
            assert status in (400, 404, 405), (name, status, answer)
            assert b"outside" not in answer.replace(name.encode(), b"") or b"%" in name.encode(), answer
            assert t.folder.encode() not in answer, answer
        for name in "model%00", "%00", "model%", "model%4", "model%zz", "model%+1":
            refused(server, {400}, head(f"Content-Length: {len(body)}", request=f"POST /predict/{name} HTTP/1.1"), body)
    assert t.run("publish", "--checkpoint", checkpoint, "--repository", t.path("models"), "--name", "../evil", code=3)
    assert not os.path.exists(t.path("evil"))


def damage(t, what, act):
    """A repository with versions 1 and 2 of a model, of which 2 was changed by act(folder)."""
    shutil.rmtree(t.path("models"), ignore_errors=True)
    shutil.copytree(t.path("good"), t.path("models"))
    act(t.path("models/model/2"))
    result = t.run("serve", "--check", "--port", 0, "--repository", t.path("models"), code=3)
    assert re.search(r"(?m)^model 1: classification, \[7\]", result.text, re.MULTILINE), (what, result.text)
    assert re.search(r"^model 2: damaged$", result.text, re.MULTILINE), (what, result.text)
    return result


def edit_manifest(change):
    def act(folder):
        path = os.path.join(folder, "manifest.json")
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        text = change(manifest)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text if isinstance(text, str) else json.dumps(manifest))
    return act


def set_member(*path):
    def change(manifest):
        *way, last, value = path
        for step in way:
            manifest = manifest[step]
        manifest[last] = value
    return edit_manifest(change)


def replace_by(make):
    def act(folder):
        weights = os.path.join(folder, "model.h5")
        moved = os.path.join(folder, "..", "..", "..", f"moved_{time.monotonic_ns()}.h5")
        os.rename(weights, moved)
        make(moved, weights)
    return act


def flip(folder):
    with open(os.path.join(folder, "model.h5"), "r+b") as file:
        file.seek(-200, os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 4]))


def two_versions(t):
    checkpoint, data = trained(t, "classification")
    for _ in range(2):
        publish(t, checkpoint, "model", "good")
    t.write("good/model/config.json", '{"version_policy": "all"}')
    return checkpoint, data


def test_files_and_manifests_that_are_not_what_they_should_be_are_refused(t):
    two_versions(t)
    assert t.run("serve", "--check", "--port", 0, "--repository", t.path("good")).says("(?m)^model 1: .*", "model 2: ")
    weights = "/files/model.h5"
    for what, act, says in (
        ("link", replace_by(lambda old, new: os.symlink(old, new)), "link"),
        ("hard link", replace_by(lambda old, new: os.link(old, new)), "not a regular file with one name"),
        ("FIFO", replace_by(lambda old, new: os.mkfifo(new)), "not a regular file"),
        ("folder", replace_by(lambda old, new: os.mkdir(new)), "not a regular file"),
        ("device", replace_by(lambda old, new: os.symlink("/dev/zero", new)), "link"),
        ("missing", replace_by(lambda old, new: None), "cannot open"),
        ("flipped bit", flip, "SHA-256"),
        ("truncated", lambda f: os.truncate(os.path.join(f, "model.h5"), 1000), "bytes"),
        ("extended", lambda f: os.truncate(os.path.join(f, "model.h5"), 10**7), "bytes"),
        ("wrong digest", set_member("files", "model.h5", "sha256", "0" * 64), "SHA-256"),
        ("no digest", set_member("files", "model.h5", "sha256", "xyz"), weights + "/sha256"),
        ("negative size", set_member("files", "model.h5", "bytes", -1), weights + "/bytes"),
        ("huge size", set_member("files", "model.h5", "bytes", 2**70), weights + "/bytes"),
        ("path", set_member("files", "../../x", {"bytes": 1, "sha256": "0" * 64}), "/files"),
        ("absolute", set_member("files", "/etc/passwd", {"bytes": 1, "sha256": "0" * 64}), "/files"),
        ("other version", set_member("version", 1), "version 1 of 'model'"),
        ("other name", set_member("name", "other"), "'other'"),
        ("huge shape", set_member("inputs", 0, "shape", [2**32, 2**32]), "/inputs/0/shape"),
        ("large shape", set_member("inputs", 0, "shape", [2**40]), "/inputs/0/shape"),
        ("dynamic shape", set_member("inputs", 0, "shape", [-1]), "/inputs/0/shape"),
        ("two negative sizes", set_member("inputs", 0, "shape", [-1, -7]), "/inputs/0/shape"),
        ("empty shape", set_member("inputs", 0, "shape", [0]), "/inputs/0/shape"),
        ("float shape", set_member("inputs", 0, "shape", [1e30]), "/inputs/0/shape"),
        ("fractional shape", set_member("inputs", 0, "shape", [7.5]), "/inputs/0/shape"),
        ("many dims", set_member("inputs", 0, "shape", [1] * 10_000), "/inputs/0/shape"),
        ("no JSON", edit_manifest(lambda m: "{"), "is not JSON"),
        ("deep", edit_manifest(lambda m: '{"name":' + "[" * 100_000), "nested deeper"),
        ("member twice", edit_manifest(lambda m: '{"name": "a", "name": "model"}'), "more than once"),
        ("empty", edit_manifest(lambda m: " "), "is not JSON"),
        ("larger than any", edit_manifest(lambda m: " " * (5 * MIB)), "at most"),
    ):
        result = damage(t, what, act)
        assert says in result.text, f"{what}: expected '{says}' in\n{result.text}"
    # The configuration of a model is read by the same rules.
    for text, says in ('{"max_batch_size": 1e9}', "max_batch_size"), ('{"max_batch_size": 100000000}', "max_batch_size"), \
            ('{"timeout_ms": 9223372036854775807}', "timeout_ms"), ('{"max_batch": 1}', "max_batch_size"), \
            ('{"default_model_filename": "../x"}', "default_model_filename"), \
            ('{"aliases": {"../x": {"version": 1}}}', "aliases"), \
            ('{"aliases": {"x": {"version": 9}}}', "not published"):
        shutil.rmtree(t.path("models"))
        shutil.copytree(t.path("good"), t.path("models"))
        t.write("models/model/config.json", text)
        t.run("serve", "--check", "--port", 0, "--repository", t.path("models"), code=3).says(re.escape(says))


def test_a_version_that_is_damaged_does_not_disturb_the_others(t):
    _, data = two_versions(t)
    sample = samples(data)[0]
    for what, act in ("flipped bit", flip), ("wrong hash", set_member("files", "model.h5", "sha256", "0" * 64)), \
            ("truncated", lambda f: os.truncate(os.path.join(f, "model.h5"), 1000)), \
            ("no manifest", lambda f: os.remove(os.path.join(f, "manifest.json"))):
        damage(t, what, act)
        with Server(t) as server, attacked(server, sample):
            assert server.post("/predict/model", {"input": sample})[1]["version"] == "1", what
            status, answer, _ = server.post("/predict/model/2", {"input": sample})
            assert status == 503 and t.folder not in answer["error"], (what, status, answer)
            assert "model 'model':" in server.text() and t.path("models/model/2") in server.text(), server.text()


def test_a_model_folder_that_is_a_link_is_no_model(t):
    checkpoint, data = trained(t, "classification")
    publish(t, checkpoint)
    publish(t, checkpoint, "other", "outside")
    os.symlink(t.path("outside/other"), t.path("models/linked"))
    os.symlink(t.path("outside/other/1"), t.path("models/model/2"))
    with Server(t) as server, attacked(server, samples(data)[0]):
        assert server.post("/predict/linked", {"input": samples(data)[0]})[0] == 404
        assert server.post("/predict/model", {"input": samples(data)[0]})[1]["version"] == "1"


def test_a_killed_publish_leaves_nothing_that_is_served(t):
    checkpoint, _ = trained(t, "classification")
    publish(t, checkpoint)
    for delay in range(0, 100, 10):
        job = t.start("publish", "--checkpoint", checkpoint, "--repository", t.path("models"), "--name", "model")
        time.sleep(0.1 + delay / 1000)
        job.end()
    t.run("serve", "--check", "--port", 0, "--repository", t.path("models")).says("(?m)^model 1: ")
    publish(t, checkpoint)
    assert [name for name in os.listdir(t.path("models/model")) if not name.isdigit()] == []


def test_check_needs_no_mpi_and_looks_at_the_port(t):
    checkpoint, _ = trained(t, "classification")
    publish(t, checkpoint)
    flags = ("serve", "--check", "--repository", t.path("models"), "--address", "127.0.0.1", "--port")
    # MPI could not start.
    t.run(*flags, 0, environment={"OMPI_MCA_pml": "nosuch"}).says("^address 127.0.0.1: can be listened on", "(?m)^model 1: ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        t.run(*flags, port, code=3).says(f"cannot listen on 127.0.0.1:{port}: Address already in use", "(?m)^model 1: ")
    t.run(*flags, port).says(f"^port 127.0.0.1:{port}: free")
    t.run(*flags[:-3], "--address", "nowhere", code=3).says("'nowhere' is no IP address")
    assert len(re.findall("(?m)^model 1: ", t.run(*flags, 0, ranks=2).text)) == 1, "one rank says it"
    assert len(re.findall("chekc", t.run("serve", "--chekc", ranks=2, code=2).text)) == 1


if __name__ == "__main__":
    run_tests(globals())
