#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times training steps of one network with PyTorch DDP (gloo) on made-up data, one thread per rank.

usage: torch_ddp.py NETWORK --batch N_PER_RANK [--ranks 2] [--steps 50] [--channels-last] [--bf16]
NETWORK is cifar10, fashion, binary or regression: the networks of configs/*.cfg. Prints one line of JSON.
"""
import argparse
import json
import os
import resource
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

NETWORKS = {
    "cifar10": (lambda: nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                      nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                      nn.Linear(8192, 512), nn.ReLU(), nn.Linear(512, 10)), (3, 32, 32), 10),
    "fashion": (lambda: nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                      nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
                                      nn.Flatten(), nn.Linear(3136, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)),
                (1, 28, 28), 10),
    "binary": (lambda: nn.Sequential(nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)), (30,), 0),
    "regression": (lambda: nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 1)), (10,), 0),
}


def worker(rank, options, results):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(options.port))
    dist.init_process_group("gloo", rank=rank, world_size=options.ranks)
    torch.manual_seed(1)
    make, sample, classes = NETWORKS[options.network]
    model = make()
    x = torch.randn(options.batch, *sample)
    if options.channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if options.network in ("cifar10", "fashion"):
        target, loss_of = torch.randint(0, classes, (options.batch,)), nn.CrossEntropyLoss()
    else:
        target = torch.randint(0, 2, (options.batch, 1)).float()
        loss_of = nn.BCEWithLogitsLoss() if options.network == "binary" else nn.MSELoss()
    model = nn.parallel.DistributedDataParallel(model)
    if options.network == "cifar10":
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
    elif options.network == "fashion":
        optimizer = torch.optim.AdamW(model.parameters(), 0.002)
    else:
        optimizer = torch.optim.Adam(model.parameters(), 0.001)

    def step():
        optimizer.zero_grad(set_to_none=True)
        if options.bf16:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_of(model(x), target)
        else:
            loss = loss_of(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(5):
        step()
    times = []
    dist.barrier()
    for _ in range(options.steps):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    if rank == 0:
        median = sorted(times)[len(times) // 2]
        results.put({"samples_per_second": options.batch * options.ranks / median, "step_ms": 1e3 * median,
                     "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--batch", type=int, default=32, help="samples per rank")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--port", type=int, default=29511)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(worker, (options, queue), nprocs=options.ranks)
    print(json.dumps(queue.get()))
