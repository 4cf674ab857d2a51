# SPDX-License-Identifier: Apache-2.0
"""The two rules that ask another program: the compiler and clang-format."""
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from includes import includes
from tree import matching

FORMATTED = ("src/*.?pp", "kernels/*.?pp", "src/*.cu", "kernels/*.cu", "tests/*.?pp", "tests/*.cu", "benchmarks/*.?pp")
JOBS = 2


class Skipped(Exception):
    """A rule cannot be checked on this machine."""


def lone_headers(tree):
    """Headers that the build does not prove to compile alone: it proves those that some source includes first."""
    sources = matching(tree, "src/*.cpp", "kernels/*.cpp")
    first = {next((header for _, header in includes(text)), None) for _, text in sources}
    headers = [path.split("/", 1)[1] for path, _ in matching(tree, "src/*.hpp", "kernels/*.hpp")]
    return [header for header in headers if header not in first]


def headers_compile_alone(tree, root, compiler):
    """Every header compiles with nothing before it. `compiler` is a command with its flags, as a list."""
    command = [*compiler, "-std=c++20", "-fsyntax-only", "-x", "c++", "-I", f"{root}/src", "-I", f"{root}/kernels", "-"]

    def compile_one(header):
        run = subprocess.run(command, input=f'#include "{header}"\n', text=True, capture_output=True, check=False)
        errors = [line for line in run.stderr.splitlines() if "error" in line]
        return [f"{header} does not compile alone: {(errors or [run.stderr.strip()])[0]}"] if run.returncode else []

    with ThreadPoolExecutor(JOBS) as pool:
        return [line for lines in pool.map(compile_one, lone_headers(tree)) for line in lines]


def sources_are_formatted(tree, root, clang_format):
    """clang-format would change nothing."""
    if not shutil.which(clang_format):
        raise Skipped(f"{clang_format} is not installed: see launch/packages.txt")
    paths = [str(Path(root) / path) for path, _ in matching(tree, *FORMATTED)]
    command = [clang_format, "--dry-run", "--style=file", *paths]
    run = subprocess.run(command, text=True, capture_output=True, check=False)
    first = {}
    for line in run.stderr.splitlines():
        path, colon, rest = line.partition(":")
        if colon and "-Wclang-format-violations" in rest:
            place = f"{Path(path).relative_to(root)}:{rest.split(':')[0]}"
            first.setdefault(path, f"{place}: clang-format would change this")
    if run.returncode and not first:
        return [run.stderr.strip()]
    return list(first.values())
