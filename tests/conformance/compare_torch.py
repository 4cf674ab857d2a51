#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a configuration for 50 steps with Phalanx and with PyTorch, from the same weights on the same batches, and
compares the loss of every step.

usage: compare_torch.py PHALANX CONFIG DATA [--ranks N] [--set KEY=VALUE]...

DATA is a data set file, a folder for `phalanx data import idx`, or "noise": coloured noise in the format of CIFAR-10.

Dropout layers are left out of both, since the two draw different masks; the schedule is constant. Initial weights are read
from the checkpoint of a step with learning rate 0, batches are the rows of the data set in order. Exit code 77 (skipped)
without torch or h5py.
"""
import argparse
import glob
import json
import os
import random
import subprocess
import sys
import tempfile

STEPS = 50
# Both round differently, and where the loss falls fast training multiplies what that changed: so one bound for the first half,
# where a fault would show, and another for all steps.
TOLERANCES = {STEPS // 2: 1e-5, STEPS: 1e-3}

try:
    import h5py
    import torch
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def read_config(path):
    keys, layers = {}, []
    for line in open(path):
        line = line.split("#")[0].strip()
        if not line:
            continue
        key, value = (part.strip() for part in line.split("=", 1))
        if key == "layer":
            layers.append(value)
        else:
            keys[key] = value
    return keys, [layer for layer in layers if not layer.startswith("dropout")]


def make_data(arguments, folder):
    """The path of a data set file."""
    if arguments.data.endswith(".h5"):
        return arguments.data
    path, source, kind = os.path.join(folder, "data.h5"), arguments.data, "idx"
    if source == "noise":
        source, kind = os.path.join(folder, "cifar"), "cifar10"
        os.mkdir(source)
        generator = random.Random(1)
        for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
            with open(os.path.join(source, name + ".bin"), "wb") as file:
                for _ in range(700):
                    label = generator.randrange(10)
                    colours = [bytes((v // 2 + 12 * (label * k % 10)) % 256 for v in range(256)) for k in (1, 3, 7)]
                    pixels = [generator.randbytes(1024).translate(colour) for colour in colours]
                    file.write(bytes([label]) + b"".join(pixels))
        with open(os.path.join(source, "batches.meta.txt"), "w") as file:
            file.write("".join(f"class{i}\n" for i in range(10)))
    subprocess.run([arguments.phalanx, "data", "import", kind, source, "--output", path], check=True,
                   stdout=subprocess.DEVNULL)
    return path


def run_phalanx(arguments, layers, output, ranks, extra):
    changes = [word for change in arguments.set for word in ("--" + change.split("=")[0], change.split("=")[1])]
    command = [arguments.phalanx, "train", arguments.config, "--data", arguments.data, *changes, "--output", output,
               "--shuffle", "false", "--schedule", "constant", "--warmup-epochs", "0", "--epochs", "1", "--test-split", "",
               "--log-every", "1"] + [word for layer in layers for word in ("--layer", layer)] + extra
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks)] + command
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {result.returncode}\n{result.stderr}")


def build(layers, sample, weights):
    """The same layers in PyTorch, with the weights of a Phalanx checkpoint."""
    modules, counts, shape = [], {}, list(sample)
    for line in layers:
        words = line.split()
        counts[words[0]] = counts.get(words[0], 0) + 1
        name = f"{words[0]}{counts[words[0]]}"
        options = dict(zip(words[3::2], words[4::2])) if words[0] == "conv" else {}
        if words[0] == "conv":
            pad = int(options.get("pad", 0))
            kernel = [int(k) for k in words[2].split("x")]
            modules.append(torch.nn.Conv2d(shape[0], int(words[1]), kernel, padding=pad))
        elif words[0] == "dense":
            if len(shape) > 1:
                modules.append(torch.nn.Flatten())
            width = int(torch.tensor(shape).prod())
            modules.append(torch.nn.Linear(width, int(words[1])))
        elif words[0] == "max_pool":
            modules.append(torch.nn.MaxPool2d([int(k) for k in words[1].split("x")]))
        elif words[0] == "relu":
            modules.append(torch.nn.ReLU())
        else:
            sys.exit(f"{line}: this comparison does not know the layer")
        if words[0] in ("conv", "dense"):
            with torch.no_grad():
                modules[-1].weight.copy_(torch.from_numpy(weights[f"{name}.weight"]))
                modules[-1].bias.copy_(torch.from_numpy(weights[f"{name}.bias"]))
        shape = list(torch.nn.Sequential(*modules)(torch.zeros(1, *sample)).shape)[1:]
    return torch.nn.Sequential(*modules)


def torch_losses(layers, keys, weights, data):
    with h5py.File(data) as file:
        batch = int(keys["batch-size"])
        rows = STEPS * batch
        x = torch.from_numpy(file["train/x"][:rows]).float() / 255
        y = torch.from_numpy(file["train/y"][:rows])
        mean, std = (torch.tensor(file.attrs[k], dtype=torch.float64).float().view(1, -1, 1, 1) for k in ("mean", "std"))
    x = (x - mean) / std
    model = build(layers, x.shape[1:], weights)
    rate, decay = float(keys["learning-rate"]), float(keys.get("weight-decay", 0))
    if keys["optimizer"] == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), rate, float(keys.get("momentum", 0)), weight_decay=decay)
    else:
        epsilon = float(keys.get("epsilon", 1e-8))
        optimizer = torch.optim.AdamW(model.parameters(), rate, eps=epsilon, weight_decay=decay)
    losses = []
    for step in range(STEPS):
        at = slice(step * batch, (step + 1) * batch)
        loss = torch.nn.functional.cross_entropy(model(x[at]), y[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("phalanx")
    parser.add_argument("config")
    parser.add_argument("data")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], help="change a key of the configuration")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keys, layers = read_config(arguments.config)
    keys.update(change.split("=") for change in arguments.set)
    with tempfile.TemporaryDirectory() as folder:
        arguments.data = make_data(arguments, folder)
        first, full = os.path.join(folder, "first"), os.path.join(folder, "full")
        run_phalanx(arguments, layers, first, 1, ["--max-steps", "1", "--learning-rate", "0", "--optimizer", "sgd",
                                                  "--momentum", "0", "--weight-decay", "0"])
        with h5py.File(glob.glob(f"{first}/checkpoints/step_*.h5")[0]) as file:
            weights = {name: file["parameters"][name][...] for name in file["parameters"]}
        run_phalanx(arguments, layers, full, arguments.ranks, ["--max-steps", str(STEPS)])
        ours = [json.loads(line)["loss"] for line in open(f"{full}/metrics.jsonl")]
        theirs = torch_losses(layers, keys, weights, arguments.data)
    assert len(ours) == STEPS, f"expected {STEPS} lines of metrics, found {len(ours)}"
    print(f"{arguments.config}: {STEPS} steps on {arguments.ranks} ranks, loss {ours[0]:.6f} -> {ours[-1]:.6f}")
    differences = [abs(a - b) / abs(b) for a, b in zip(ours, theirs)]
    for steps, tolerance in TOLERANCES.items():
        worst = max(range(steps), key=lambda i: differences[i])
        print(f"largest relative difference of the first {steps} steps: {differences[worst]:.2e} at step {worst + 1} "
              f"(Phalanx {ours[worst]:.7f}, PyTorch {theirs[worst]:.7f})")
        if differences[worst] > tolerance:
            sys.exit(f"more than {tolerance}")
    if ours[-1] >= ours[0]:
        sys.exit("the loss did not fall: the comparison would not notice a network that does not learn")


if __name__ == "__main__":
    main()
