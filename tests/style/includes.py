# SPDX-License-Identifier: Apache-2.0
"""Who may include whom. ALLOWED and PLACES are the rule; docs/architecture.md explains it."""
import re
from fnmatch import fnmatch

from tree import code_only, line_of, matching

_BASE = {"core", "device", "tensor"}
_BELOW_TRAIN = _BASE | {"op", "comm", "graph", "formats", "data", "models"}
# Folder -> the folders it may include beside itself. kernels/<op> is held apart: see _kernel_may_include.
ALLOWED = {
    "core": set(),
    "device": {"core"},
    "tensor": {"core", "device"},
    "op": _BASE,
    "comm": _BASE,
    "graph": _BASE | {"op"},  # kernels only through the operator table
    "formats": _BASE,
    "data": _BASE | {"comm", "formats"},
    "models": _BASE | {"op", "comm", "graph", "formats"},
    "train": _BELOW_TRAIN,
    "predict": _BELOW_TRAIN,
    "serve": _BELOW_TRAIN,  # never train: what is served was published
    "bench": _BELOW_TRAIN | {"train"},
    "cli": _BELOW_TRAIN | {"train", "predict", "serve", "bench"},
}
# The sizes at which operators are measured stand with their tests' cases.
CASES, READS_CASES = "kernels/common/cases.hpp", "src/bench/"
KERNELS = _BASE | {"op", "common"}

_PROOF = ("tests/*", "benchmarks/*")
# Header -> where it may stand. The first pattern that fits counts; a header that fits none has no place yet.
PLACES = [
    (r"[a-z_]+", ("*",)),  # the standard library
    (r"fmt/.*", ("*",)),
    (r"(dlfcn|unistd|fcntl|sched|stdlib|time|signal|termios|netdb|pthread|immintrin|poll|spawn)\.h|(sys|linux|netinet)/.*",
     ("*.cpp",)),
    (r"cuda_runtime_api\.h", ("src/device/cuda/*",)),
    (r"cuda_\w+\.h", ("kernels/simt/*.hpp",)),
    (r"(cublas|cublasLt|cudnn|cudnn_\w+)\.h", ("kernels/*_cuda.cu", "kernels/*_cudnn.cpp", "kernels/common/*_vendor.*",
                                               "src/device/cuda/*")),
    (r"sanitizer/.*|ucontext\.h", ("kernels/simt/*.cpp",)),
    (r"spdlog/.*", ("src/core/log.cpp",)),
    (r"nlohmann/.*", ("*.cpp", "src/serve/json_file.hpp")),
    (r"nccl\.h", ("tests/unit/comm_nccl_header_test.cpp",)),  # src/comm/nccl_library.hpp stands for it
    (r"mpi\.h", ("src/comm/*.cpp",) + _PROOF),
    (r"omp\.h", ("src/cli/*.cpp", "kernels/*_cpu.cpp", "kernels/common/onednn.hpp") + _PROOF),
    (r"oneapi/dnnl/.*|dnnl.*", ("kernels/*_cpu.cpp", "kernels/common/*") + _PROOF),
    (r"hdf5\.h", ("src/formats/*.cpp", "src/data/*.cpp", "tests/*")),
    (r"openssl/.*", ("src/formats/*.cpp", "src/serve/*.cpp")),
    (r"zlib\.h", ("src/data/*.cpp", "src/serve/*.cpp", "tests/*")),
    (r"(lzma|jpeglib|png)\.h", ("src/data/*.cpp", "tests/*")),
    (r"boost/(asio|beast)/.*", ("src/serve/*", "benchmarks/serve/*")),
    (r"simdjson\.h", ("src/serve/json_request.hpp",)),
    (r"boost/program_options.*", ("src/cli/*.cpp",)),
    (r"(gtest|gmock)/.*", ("tests/*",)),
    (r"benchmark/.*", ("benchmarks/*",)),
]


def includes(text):
    """(line, header) of every #include."""
    bare = code_only(text)  # strings are blank there, so only the directive is looked up in it
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^">\n]+)[">]', text, re.MULTILINE):
        if "include" in bare[match.start():match.end()]:
            yield line_of(text, match.start()), match.group(1)


def _owner(path):
    """(top, folder) of a file: ("src", "graph"), ("kernels", "relu"), ("tests", "unit")."""
    parts = path.split("/")
    return parts[0], parts[1] if len(parts) > 2 else ""


def _may_include(path, target):
    top, folder = _owner(path)
    target_top, target_folder = _owner(target)
    if top in ("tests", "benchmarks"):
        return True
    if target_top in ("tests", "benchmarks"):
        return False
    if target_folder == folder and target_top == top:
        return True
    if target == CASES and path.startswith(READS_CASES):
        return True
    if path.startswith("src/device/cuda/") and target_top == "kernels":
        return target_folder in {"common", "simt"}  # the CUDA half stands beside the kernels, in a library of its own
    if top == "kernels":
        if folder == "simt":
            return False  # nvcc reads it, and needs nothing else
        return target_folder in (KERNELS if target_top == "src" else {"common", "simt"})
    return target_top == "src" and target_folder in ALLOWED.get(folder, set())


def _resolve(path, header, tree):
    here = path.rsplit("/", 1)[0]
    for root in ("src", "kernels", "tests", here):
        if f"{root}/{header}" in tree:
            return f"{root}/{header}"
    return None


def includes_point_downwards(tree):
    """Every #include of ours follows the table of folders."""
    found = []
    for path, text in matching(tree, "src/*.?pp", "kernels/*.?pp", "src/*.cu", "kernels/*.cu"):
        top, folder = _owner(path)
        if top == "src" and folder not in ALLOWED:
            found.append(f"{path}: the folder src/{folder} has no row in ALLOWED of tests/style/includes.py")
            continue
        for line, header in includes(text):
            target = _resolve(path, header, tree)
            if target and not _may_include(path, target):
                found.append(f"{path}:{line}: {top}/{folder} must not include {header}")
    return found


def libraries_stay_in_their_place(tree):
    """A header of another library stands only where the table of places says."""
    found = []
    for path, text in matching(tree, "src/*.?pp", "kernels/*.?pp", "src/*.cu", "kernels/*.cu", "tests/*.?pp", "tests/*.cu",
                               "benchmarks/*.?pp"):
        for line, header in includes(text):
            if _resolve(path, header, tree):
                continue
            places = next((places for pattern, places in PLACES if re.fullmatch(pattern, header)), None)
            if places is None:
                found.append(f"{path}:{line}: <{header}> has no place in PLACES of tests/style/includes.py")
            elif not any(fnmatch(path, place) for place in places):
                found.append(f"{path}:{line}: <{header}> may only stand in {', '.join(places)}")
    return found


def the_map_names_every_folder(tree):
    """docs/architecture.md has a row for every folder of the rule."""
    page = tree.get("docs/architecture.md", "")
    rows = "\n".join(line for line in page.splitlines() if re.match(r"\| *\d+ *\|", line))
    return [f"docs/architecture.md: no row of the table names `src/{folder}`"
            for folder in ALLOWED if f"`src/{folder}`" not in rows]
