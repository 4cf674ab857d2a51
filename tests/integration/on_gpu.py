# SPDX-License-Identifier: Apache-2.0
"""on_gpu.py PROGRAM [ARGUMENT]...: runs a test program on the GPU that gpu.py finds, or says why not, with exit code 77.

The program reads PHALANX_TEST_BACKEND, the library to open, and on the emulation PHALANX_TEST_NCCL, which stands for NCCL.
"""

import os
import sys

import gpu
from support import SKIPPED

if __name__ == "__main__":
    why = gpu.why_none()
    if why:
        print(f"skipped: {os.path.basename(sys.argv[1])}: {why}", flush=True)
        sys.exit(SKIPPED)
    os.environ["PHALANX_TEST_BACKEND"] = gpu.library()
    if os.environ.get("PHALANX_BACKEND"):
        os.environ.setdefault("PHALANX_TEST_NCCL", os.environ.get("PHALANX_FAKE_NCCL", ""))
    os.execv(sys.argv[1], sys.argv[1:])
