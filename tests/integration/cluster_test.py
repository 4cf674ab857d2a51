# SPDX-License-Identifier: Apache-2.0
"""Jobs on a Slurm cluster of launch/local-cluster: preempted, cancelled, without power, on hosts that are cut off."""

import contextlib
import os
import re
import shutil
import subprocess
import time

from support import SKIPPED, SOURCE, Job, Result, Skip, assert_same_checkpoint, h5py, run_tests, wait_until

PROGRAM = os.path.join(SOURCE, "launch", "local-cluster")
# The same bits on any number of ranks, so that one rank without a launcher says what is expected.
NETWORK = """
layer = dropout 0.25
layer = dense 32
layer = relu
layer = dense 4
augment-crop = 1
optimizer = adamw
learning-rate = 0.002
schedule = cosine
batch-size = 16
reproducible = true
virtual-shards = 4
checkpoint-every = 0
checkpoint-steps = 100
evaluate-every = 0
log-every = 500
"""
SHORT = NETWORK + "epochs = 20\n"  # 260 steps
LONG = NETWORK + "epochs = 1500\n"  # 19500 steps: above ten seconds on four ranks that share two cores


class Cluster:
    def __init__(self, t, nodes):
        self.t = t
        self.nodes = [f"node{i + 1}" for i in range(nodes)]
        # A copy within the folder that the hosts share, wherever the build is.
        binary = shutil.copy(t.binary, t.path("phalanx"))
        self.environment = {**os.environ, "PHALANX_CLUSTER": t.path("cluster"), "PHALANX_BINARY": binary,
                            "PHALANX_CLUSTER_LIFETIME": "300"}
        up = self.call("up", nodes, cwd=t.folder)
        if up.code == SKIPPED:
            raise Skip(up.text.strip())
        assert up.code == 0, up.text

    def call(self, *words, cwd=SOURCE, **environment):
        done = subprocess.run([PROGRAM, *map(str, words)], cwd=cwd, env={**self.environment, **environment}, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return Result(done.returncode, done.stdout)

    def command(self, *words, **environment):
        """Of launch/local-cluster; returns what it wrote."""
        result = self.call(*words, **environment)
        assert result.code == 0, f"{words} failed with {result.code}:\n{result.text}"
        return result.text.strip()

    def run(self, *words, **environment):
        return self.command("run", *words, **environment)

    # --- jobs

    def submit(self, script, *arguments, options=(), **environment):
        """The number of the job."""
        log, script = self.t.path("job-%j.log"), os.path.join("slurm", script)
        return self.run("sbatch", "--parsable", f"--output={log}", *options, script, *arguments, **environment)

    def log(self, job):
        path = self.t.path(f"job-{job}.log")
        if not os.path.exists(path):  # a job runs a moment before it writes
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def log_says(self, job, *parts):
        Result(0, self.log(job)).says(*parts)

    def fields(self, job):
        return dict(re.findall(r"(\w+)=(\S*)", self.run("scontrol", "--oneliner", "show", "job", job)))

    def wait_for(self, job, state, seconds, restarts=0):
        found = {}

        def reached():
            time.sleep(0.2)
            found.update(self.fields(job))
            return (found["JobState"], int(found["Restarts"])) == (state, restarts)

        try:
            wait_until(reached, seconds, f"job {job} is {state} after {restarts} restarts")
        except AssertionError as error:
            raise AssertionError(f"{error}\nit is {found['JobState']} after {found['Restarts']}\n{self.log(job)}") from error

    def start_training(self, config, **environment):
        """A job that has saved its first checkpoints."""
        job = self.submit("train.sbatch", config, "--output", self.t.path("parts"), **environment)
        self.wait_for(job, "RUNNING", 20)
        wait_until(lambda: self.t.newest_step("parts") >= 100, 30, "a checkpoint is there")
        return job

    def assert_went_on_to_the_same_bits(self, job, seconds):
        """After one restart, with the bits of a run that nobody disturbed."""
        self.wait_for(job, "COMPLETED", seconds, restarts=1)
        self.log_says(job, r"resuming from .*: step \d+")
        assert_same_checkpoint(self.t.newest("whole"), self.t.newest("parts"))


@contextlib.contextmanager
def cluster(t, nodes=2):
    try:
        yield Cluster(t, nodes)
    finally:
        environment = {**os.environ, "PHALANX_CLUSTER": t.path("cluster")}
        subprocess.run([PROGRAM, "down"], env=environment, cwd=SOURCE, check=True)


def undisturbed(t, text):
    """Trains on one rank; returns the configuration."""
    h5py()
    config = t.config(text + f"data = {t.images()}\n")
    t.run("train", config, "--output", t.path("whole"))
    return config


def assert_same_predictions(t, found, expected):
    for name in "predictions.csv", "predictions.h5":
        with open(t.path(found, name), "rb") as file, open(t.path(expected, name), "rb") as other:
            assert file.read() == other.read(), name


# --- jobs that end by themselves


def completes(t, launcher):
    with cluster(t) as c:
        config = undisturbed(t, SHORT)
        job = c.submit("train.sbatch", config, "--output", t.path("parts"), PHALANX_LAUNCHER=launcher)
        c.wait_for(job, "COMPLETED", 30)
        c.log_says(job, r"4 ranks on 2 nodes \(node1: 0-1; node2: 2-3\)", "after 260 steps")
        assert_same_checkpoint(t.newest("whole"), t.newest("parts"))


def test_train_job_by_srun_ends_with_the_bits_of_one_rank(t):
    completes(t, "srun")


def test_train_job_by_mpirun_ends_with_the_bits_of_one_rank(t):
    completes(t, "mpirun")


def test_predict_job_writes_the_file_of_one_rank(t):
    with cluster(t) as c:
        undisturbed(t, SHORT)
        predict = ["--checkpoint", t.newest("whole"), "--data", t.path("images.h5"), "--output"]
        t.run("predict", *predict, t.path("expected"))
        for launcher in "srun", "mpirun":
            job = c.submit("predict.sbatch", *predict, t.path(launcher), PHALANX_LAUNCHER=launcher)
            c.wait_for(job, "COMPLETED", 30)
            c.log_says(job, "predicted 50 rows .* on 4 ranks")
            assert_same_predictions(t, launcher, "expected")


def test_job_that_cannot_work_fails_and_stays_so(t):
    with cluster(t) as c:
        job = c.submit("train.sbatch", t.config("batch-size = none\n"))
        c.wait_for(job, "FAILED", 30)
        assert c.fields(job)["ExitCode"] == "2:0", c.fields(job)
        c.log_says(job, "batch-size: .*found 'none'")


# --- jobs that are disturbed


def preempted(t, launcher):
    with cluster(t) as c:
        config = undisturbed(t, LONG)
        job = c.start_training(config, PHALANX_LAUNCHER=launcher)
        urgent = c.run("sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null",
                       "--wrap=true")
        c.wait_for(urgent, "COMPLETED", 20)
        c.log_says(job, "training ended: preempted", "job.sh: .* exit code 6; job .* goes back into the queue")
        c.assert_went_on_to_the_same_bits(job, 90)


def test_preempted_job_by_srun_goes_on_with_the_same_bits(t):
    preempted(t, "srun")


def test_preempted_job_by_mpirun_goes_on_with_the_same_bits(t):
    preempted(t, "mpirun")


def test_signal_to_the_ranks_puts_the_job_back_into_the_queue(t):
    with cluster(t) as c:
        config = undisturbed(t, LONG)
        job = c.start_training(config)
        c.run("scancel", "--signal=TERM", job)
        c.assert_went_on_to_the_same_bits(job, 90)


def test_prediction_that_is_told_to_stop_goes_on_with_the_rows_that_are_missing(t):
    with cluster(t) as c:
        data = t.images(train=64, test=30000, side=4)
        t.run("train", t.config(NETWORK + f"data = {data}\n"), "--output", t.path("run"), "--max-steps", 4, "--test-split", "")
        predict = ["--checkpoint", t.newest("run"), "--data", data, "--batch-size", 1, "--output"]
        t.run("predict", *predict, t.path("expected"))
        for launcher in "srun", "mpirun":
            job = c.submit("predict.sbatch", *map(str, predict), t.path(launcher), PHALANX_LAUNCHER=launcher)
            wait_until(lambda: os.path.exists(t.path(launcher, "predictions.partial.h5")), 30, "the file is begun")
            time.sleep(0.3)
            c.run("scancel", "--batch", "--signal=USR1", job)
            c.wait_for(job, "COMPLETED", 60, restarts=1)
            c.log_says(job, "goes back into the queue", r"done before +\d+ rows")
            assert_same_predictions(t, launcher, "expected")


def test_cancelled_job_does_not_come_back(t):
    with cluster(t) as c:
        config = t.config(LONG + f"data = {t.images()}\n")
        for launcher in "srun", "mpirun":
            shutil.rmtree(t.path("parts"), ignore_errors=True)
            job = c.start_training(config, PHALANX_LAUNCHER=launcher)
            c.run("scancel", job)
            wait_until(lambda: c.run("squeue", "--noheader") == "", 30, "the queue is empty")
            found = c.fields(job)
            assert (found["JobState"], found["Restarts"]) == ("CANCELLED", "0"), found


def loses_a_node(t, launcher, which):
    """One of three nodes loses its power; the script of the job runs on node1."""
    with cluster(t, nodes=3) as c:
        config = undisturbed(t, LONG)
        job = c.start_training(config, PHALANX_LAUNCHER=launcher)
        assert c.fields(job)["NodeList"] == "node[1-2]", c.fields(job)
        c.command("crash", which)
        c.assert_went_on_to_the_same_bits(job, 150)
        assert which not in c.run("scontrol", "show", "hostnames", c.fields(job)["NodeList"]), c.fields(job)
        c.command("boot", which)
        wait_until(lambda: c.run("sinfo", "--noheader", "--nodes", which, "--format=%T").startswith("idle"), 30,
                   f"{which} is back")


def test_job_by_srun_goes_on_elsewhere_when_a_node_loses_its_power(t):
    loses_a_node(t, "srun", "node2")


def test_job_by_mpirun_goes_on_elsewhere_when_a_node_loses_its_power(t):
    loses_a_node(t, "mpirun", "node2")


def test_job_goes_on_elsewhere_when_the_node_of_its_script_loses_its_power(t):
    loses_a_node(t, "srun", "node1")


def test_job_that_loses_ranks_on_nodes_that_are_well_is_started_again_only_so_often(t):
    with cluster(t) as c:
        lost = t.write("lost.sh", "#!/bin/sh\nexit 5\n")
        os.chmod(lost, 0o755)
        job = c.submit("train.sbatch", PHALANX_BINARY=lost, PHALANX_RESTARTS="1")
        c.wait_for(job, "FAILED", 120, restarts=1)
        c.log_says(job, "waiting for Slurm to notice", "exit code 5; job .* goes back into the queue")


# --- without Slurm


def start_over_hosts(c, config):
    """Two ranks on each of two nodes, without a job of Slurm; once they have saved a checkpoint."""
    t = c.t
    command = [PROGRAM, "run", os.path.join(SOURCE, "launch", "job.sh"), "train", config, "--output", t.path("parts")]
    job = Job(command, 0, t.folder, {**c.environment, "PHALANX_HOSTS": "node1:2,node2:2"})
    t.jobs.append(job)
    wait_until(lambda: t.newest_step("parts") >= 100 or not job.is_running(), 30, "a checkpoint is there")
    assert job.is_running(), job.text()
    return job


def test_mpirun_over_hosts_ends_within_15_seconds_when_one_is_cut_off_and_names_it(t):
    with cluster(t) as c:
        job = start_over_hosts(c, t.config(NETWORK + f"epochs = 1000000\ndata = {t.images()}\n"))
        began = time.monotonic()
        c.command("cut", "node2")
        result = job.wait(15)
        print(f"ended after {time.monotonic() - began:.1f} s")
        assert result.code == 205, f"expected the code of mpirun, found {result.code}; it wrote:\n{result.text}"
        result.says(r"lost communication with a remote daemon[^!]*Remote daemon: .* on node node2")


def test_mpirun_over_hosts_goes_on_when_one_is_cut_off_for_a_moment(t):
    with cluster(t) as c:
        job = start_over_hosts(c, undisturbed(t, LONG))
        c.command("cut", "node2")
        time.sleep(2)
        c.command("heal", "node2")
        assert job.wait(60).says(r"4 ranks on 2 nodes \(node1: 0-1; node2: 2-3\)").code == 0
        assert_same_checkpoint(t.newest("whole"), t.newest("parts"))


def test_ranks_dealt_out_to_hosts_in_turn_end_with_the_bits_of_one_rank(t):
    with cluster(t) as c:
        config = undisturbed(t, SHORT)
        launch = {"PHALANX_HOSTS": "node1:2,node2:2", "OMPI_MCA_rmaps_base_mapping_policy": "node"}
        for output, options in ("parts", []), ("sharded", ["--shard-optimizer"]):
            command = [os.path.join(SOURCE, "launch", "job.sh"), "train", config, "--output", t.path(output), *options]
            Result(0, c.run(*command, **launch)).says(r"4 ranks on 2 nodes \(node1: 0, 2; node2: 1, 3\)", "after 260 steps")
            assert_same_checkpoint(t.newest("whole"), t.newest(output))


def test_host_whose_rank_does_not_come_names_it_at_start_up(t):
    with cluster(t) as c:
        absent = t.write("absent.sh", '#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" = 2 ] && exec sleep 60\nexec "$PROGRAM" "$@"\n')
        os.chmod(absent, 0o755)
        launch = {"PHALANX_HOSTS": "node1:2,node2:2", "PHALANX_START_SECONDS": "4", "PROGRAM": t.path("phalanx")}
        config = t.config(SHORT + f"data = {t.images()}\n")
        command = ["mpirun", "-x", "PHALANX_START_SECONDS", "-x", "PROGRAM", "--host", launch["PHALANX_HOSTS"]]
        result = c.call("run", *command, absent, "train", config, "--output", t.path("parts"), **launch)
        assert result.code == 5, f"{result.code}: {result.text}"
        result.says(r"rank 3 on node2 waited 4\.\d s at start-up in MPI_Init; missing: local rank 0 on node2")


# --- GPUs


def gpus_of_ranks(c, option, launcher):
    """What each rank of a job sees, as {rank: (rank of its node, its GPUs)}."""
    show = c.t.write("show.sh", "#!/bin/sh\n"
                     'echo "$PMIX_RANK on ${OMPI_COMM_WORLD_LOCAL_RANK:-$SLURM_LOCALID} sees $CUDA_VISIBLE_DEVICES"\n')
    os.chmod(show, 0o755)
    job = c.submit("train.sbatch", options=[option], PHALANX_BINARY=show, PHALANX_LAUNCHER=launcher)
    c.wait_for(job, "COMPLETED", 30)
    lines = re.findall(r"(?m)^(\d) on (\d) sees (\S*)$", c.log(job))
    return {int(rank): (int(local), gpus) for rank, local, gpus in lines}


def test_ranks_see_all_gpus_of_their_node_or_the_one_that_is_theirs(t):
    with cluster(t) as c:
        all_of_node = {0: (0, "0,1"), 1: (1, "0,1"), 2: (0, "0,1"), 3: (1, "0,1")}
        assert gpus_of_ranks(c, "--gpus-per-node=2", "srun") == all_of_node
        assert gpus_of_ranks(c, "--gpus-per-node=2", "mpirun") == all_of_node
        one_each = {0: (0, "0"), 1: (1, "1"), 2: (0, "0"), 3: (1, "1")}
        assert gpus_of_ranks(c, "--gpus-per-task=1", "srun") == one_each


# --- the cluster itself


def test_missing_program_is_named(t):
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "PHALANX_CLUSTER": t.path("cluster")}
    done = subprocess.run([PROGRAM, "up"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == SKIPPED, done
    Result(0, done.stderr).says("only root may|the program '.*' is missing")


def test_two_clusters_stand_side_by_side(t):
    with cluster(t, nodes=1) as one:
        other = {"PHALANX_CLUSTER": t.path("other")}
        one.command("up", 2, cwd=t.folder, **other)
        try:
            assert one.run("srun", "--nodes=2", "hostname", **other).split() in (["node1", "node2"], ["node2", "node1"])
            assert one.run("sinfo", "--noheader", "--partition=main", "--format=%D") == "1"
        finally:
            one.command("down", **other)
        assert one.run("srun", "hostname") == "node1"


def test_a_server_answers_from_ranks_on_two_hosts_and_starts_them_again(t):
    """The front end stands on a third host: tensors go to the ranks and come back by TCP."""
    h5py()
    config = t.config("model = mlp\nhidden = 16\nbatch-size = 16\n" + f"data = {t.images()}\n")
    t.run("train", config, "--output", t.path("run"), "--max-steps", 40)
    t.run("publish", "--checkpoint", t.newest("run"), "--repository", t.path("models"), "--name", "shapes")
    ask = t.write("ask.py", ASK)
    with cluster(t) as c:
        log = open(t.path("serve.log"), "w+", encoding="utf-8")
        server = subprocess.Popen(
            [PROGRAM, "run", c.environment["PHALANX_BINARY"], "serve", "--repository", t.path("models"), "--port", "8100",
             "--ranks", "4", "--launch", "mpirun -n 4 --host node1:2,node2:2"],
            env=c.environment, cwd=SOURCE, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

        def says(*parts):
            with open(t.path("serve.log"), encoding="utf-8") as file:
                return all(re.search(part, file.read()) for part in parts)

        try:
            wait_until(lambda: says(r"info ready") or server.poll() is not None, 40, "the server is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}: {open(t.path('serve.log')).read()}") from error
        answers = c.run("/usr/bin/python3", ask, 40)
        assert answers.splitlines()[0] == "40 answered alike", answers
        c.command("exec", "node2", "pkill -KILL -o phalanx")
        wait_until(lambda: says(r"ready again"), 40, "the ranks are there again")
        answers = c.run("/usr/bin/python3", ask, 40)
        assert answers.splitlines()[0] == "40 answered alike", answers
        c.run("pkill", "-TERM", "-o", "phalanx")
        assert server.wait(30) == 0
        log.close()


def start_service(c, **environment):
    """A job of slurm/serve.sbatch that is ready; returns its number and how often the log has said so."""
    job = c.submit("serve.sbatch", "--repository", c.t.path("models"), "--port", 8100, "--drain-seconds", 8, **environment)
    c.wait_for(job, "RUNNING", 20)
    wait_for_service(c, job, 1)
    return job


def wait_for_service(c, job, times):
    def is_there():
        return len(re.findall("(?m)info ready", c.log(job))) >= times

    try:
        wait_until(lambda: is_there() or c.fields(job)["JobState"] == "FAILED", 60, "the server is ready")
        assert is_there()
    except AssertionError as error:
        raise AssertionError(f"{error}: {c.log(job)}") from error


def publish_shapes(t):
    h5py()
    config = t.config("model = mlp\nhidden = 16\nbatch-size = 16\n" + f"data = {t.images()}\n")
    t.run("train", config, "--output", t.path("run"), "--max-steps", 40)
    t.run("publish", "--checkpoint", t.newest("run"), "--repository", t.path("models"), "--name", "shapes")


def serves_as_a_job(t, launcher, cancel):
    publish_shapes(t)
    with cluster(t) as c:
        ask = t.write("ask.py", ASK.replace("127.0.0.1", "node1"))
        job = start_service(c, PHALANX_LAUNCHER=launcher)
        c.log_says(job, "4 ranks are ready")
        assert c.run("/usr/bin/python3", ask, 40).splitlines()[0] == "40 answered alike"
        c.command("exec", "node2", "pkill -KILL -o phalanx")
        wait_until(lambda: "ready again" in c.log(job), 60, "the ranks are there again")
        assert c.run("/usr/bin/python3", ask, 40).splitlines()[0] == "40 answered alike"
        # A request whose body is still arriving when the job is told to stop is answered.
        slow = t.write("slow.py", SLOW)
        client = subprocess.Popen([PROGRAM, "run", "/usr/bin/python3", slow], env=c.environment, cwd=SOURCE, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert client.stdout.readline() == "begun\n"
        c.run("scancel", *cancel, job)
        text = client.communicate(timeout=20)[0]
        assert text.startswith("200 "), f"{text}\n{c.log(job)}"
        wait_until(lambda: c.run("squeue", "--noheader") == "", 30, "the queue is empty")
        c.log_says(job, "drained in .* 1 were in progress, 0 were cut off")
        found = c.fields(job)
        assert found["Restarts"] == "0" and found["JobState"] == ("COMPLETED" if cancel else "CANCELLED"), found
        for node in c.nodes:
            assert c.command("exec", node, "pgrep -c phalanx || true") == "0", f"something still runs on {node}"


def test_server_job_by_srun_answers_what_it_has_when_it_is_told_to_stop(t):
    serves_as_a_job(t, "srun", ["--batch", "--signal=TERM"])


def test_server_job_by_mpirun_answers_what_it_has_when_it_is_told_to_stop(t):
    serves_as_a_job(t, "mpirun", ["--batch", "--signal=TERM"])


def test_server_job_by_srun_answers_what_it_has_when_it_is_cancelled(t):
    serves_as_a_job(t, "srun", [])


def test_server_job_comes_back_after_usr1_and_after_its_node_lost_power(t):
    publish_shapes(t)
    with cluster(t, nodes=3) as c:
        job = start_service(c)
        c.run("scancel", "--batch", "--signal=USR1", job)
        wait_until(lambda: "goes back into the queue" in c.log(job), 30, "the job goes back into the queue")
        c.log_says(job, "0 were cut off")
        c.wait_for(job, "RUNNING", 60, restarts=1)
        wait_for_service(c, job, 2)
        c.command("crash", "node2")
        c.wait_for(job, "RUNNING", 120, restarts=2)
        wait_for_service(c, job, 3)
        assert "node2" not in c.run("scontrol", "show", "hostnames", c.fields(job)["NodeList"]), c.fields(job)


SLOW = """
import http.client, json, time
body = json.dumps({"input": [[[1] * 8] * 8]}).encode()
connection = http.client.HTTPConnection("node1", 8100, timeout=20)
connection.putrequest("POST", "/predict/shapes")
connection.putheader("Content-Length", str(len(body)))
connection.endheaders(body[:20])
print("begun", flush=True)
time.sleep(3)
connection.send(body[20:])
response = connection.getresponse()
print(response.status, response.read())
"""

ASK = """
import http.client, json, sys, time
body = json.dumps({"input": [[[(i * 8 + j) % 7 for j in range(8)] for i in range(8)]]})
found = set()
count = 0
for _ in range(int(sys.argv[1]) * 20):
    connection = http.client.HTTPConnection("127.0.0.1", 8100, timeout=10)
    connection.request("POST", "/predict/shapes", body)
    response = connection.getresponse()
    answer = response.read()
    if response.status == 503:
        time.sleep(0.1)
        continue
    found.add((response.status, tuple(json.loads(answer)["output"])))
    count += 1
    if count == int(sys.argv[1]):
        break
print(f"{count} answered alike" if len(found) == 1 else found)
"""


if __name__ == "__main__":
    run_tests(globals())
