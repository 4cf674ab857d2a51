# SPDX-License-Identifier: Apache-2.0
"""An operator is one folder and one line; a source is named where it is built."""
import re

from tree import matching

FILES = ("{op}.hpp", "{op}.cpp", "{op}_cpu.cpp", "{op}_cases.cpp")
OPTIONAL = ("{op}_cuda.cu", "{op}_cudnn.cpp", "{op}.md")


def operators_are_whole(tree):
    """Every folder of kernels/ but common and simt has its files, its documented constant and its line."""
    found = []
    listed = re.findall(r"^add_operator\((\w+)\)", tree.get("kernels/CMakeLists.txt", ""), re.MULTILINE)
    paths = [path.split("/") for path, _ in matching(tree, "kernels/*/*")]
    folders = sorted({parts[1] for parts in paths} - {"common", "simt"})
    if listed != sorted(set(listed)):
        found.append("kernels/CMakeLists.txt: the add_operator lines are not alphabetical, or one stands twice")
    found += [f"kernels/CMakeLists.txt: add_operator({op}) has no folder" for op in listed if op not in folders]
    for op in folders:
        if op not in listed:
            found.append(f"kernels/CMakeLists.txt: no add_operator({op}) for its folder")
        here = {path.rsplit("/", 1)[1] for path, _ in matching(tree, f"kernels/{op}/*")}
        wanted = {name.format(op=op) for name in FILES}
        found += [f"kernels/{op}: {name} is missing" for name in sorted(wanted - here)]
        found += [f"kernels/{op}: {name} belongs to no operator; what several share stands in kernels/common"
                  for name in sorted(here - wanted - {name.format(op=op) for name in OPTIONAL})]
        header = tree.get(f"kernels/{op}/{op}.hpp", "")
        found += [f"kernels/{op}/{op}.hpp: the contract has no line '{line}'"
                  for line in ("Types", "Throws") if header and not re.search(rf"^/// {line} ", header, re.MULTILINE)]
        if header and f"extern const OpSpec {op}_op;" not in header:
            found.append(f"kernels/{op}/{op}.hpp: does not declare 'extern const OpSpec {op}_op;'")
    return found


def _names(lists, name):
    """Whether a CMakeLists.txt names a source: whole, without its ending, or as fuzz_${parser}.cpp in a loop over parsers."""
    stem = name.rsplit("/", 1)[-1].removesuffix(".cpp").removesuffix(".cu")
    if re.search(rf"(?<!\w)({re.escape(name)}|{re.escape(stem)})\b", lists):
        return True
    for begin, end in re.findall(r"(\w+)\$\{\w+\}(\w*)\.cpp", lists):
        word = re.fullmatch(rf"{begin}(\w+){end}", stem)
        if word and re.search(rf"(?<!\w){word.group(1)}\b", lists):
            return True
    return False


def sources_are_built(tree):
    """Every .cpp, and .cu of the tests, is named in the nearest CMakeLists.txt (an operator's by its add_operator line)."""
    found = []
    for path, _ in matching(tree, "src/*.cpp", "kernels/common/*.cpp", "kernels/simt/*.cpp", "tests/*.cpp", "tests/*.cu",
                            "benchmarks/*.cpp"):
        parts = path.split("/")
        folders = ["/".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1)]
        folder = next((folder for folder in folders if f"{folder}/CMakeLists.txt" in tree), None)
        named = folder is not None and _names(tree[f"{folder}/CMakeLists.txt"], path[len(folder) + 1:])
        # What calls the libraries of CUDA is built with the CUDA half of the program.
        in_cuda_half = path.endswith("_vendor.cpp") and _names(tree.get("src/device/cuda/CMakeLists.txt", ""), path)
        if not named and not in_cuda_half:
            found.append(f"{path}: no CMakeLists.txt names it")
    return found
