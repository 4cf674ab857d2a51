# SPDX-License-Identifier: Apache-2.0
"""Which GPU the tests use, and why there is none.

The tests of the label `gpu` set PHALANX_TEST_GPU=1: they use what the program would, a real GPU, or the library that
PHALANX_BACKEND names, such as the emulation, which shows that the tests themselves work. All others use the emulation of
PHALANX_EMULATED_BACKEND.
"""

import ctypes
import os

from support import Skip

REAL = os.environ.get("PHALANX_TEST_GPU") == "1"
# Of the label `gpu`, but on the emulation: a thousandth of the speed.
SLOW = not REAL or bool(os.environ.get("PHALANX_BACKEND"))


def library():
    """The backend that the program opens; None: this build has none."""
    if os.environ.get("PHALANX_BACKEND"):
        return os.environ["PHALANX_BACKEND"]
    folder = os.path.dirname(os.path.realpath(os.environ["PHALANX_BINARY"]))
    places = [os.path.join(place, "libphalanx_cuda.so") for place in (folder, os.path.join(folder, "..", "lib"))]
    return next((place for place in places if os.path.exists(place)), None)


def why_none():
    """In a few words, asking the driver only; None: there is a GPU."""
    if os.environ.get("PHALANX_BACKEND"):
        return None
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "this machine has no NVIDIA driver"
    code = driver.cuInit(0)
    if code != 0:
        return f"the NVIDIA driver does not start (error {code})"
    count = ctypes.c_int(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    if count.value == 0:
        return "the NVIDIA driver sees no GPU"
    return None if library() else "this build has no CUDA backend"


def use_gpu(**environment):
    """From here on the program finds a GPU. `environment`: of the emulation, for tests that are about it."""
    if not REAL:
        os.environ["PHALANX_BACKEND"] = os.environ["PHALANX_EMULATED_BACKEND"]
        os.environ.update(environment)
        return
    if environment:
        raise Skip("this test is about the emulated GPU")
    reason = why_none()
    if reason:
        raise Skip(reason)
