# SPDX-License-Identifier: Apache-2.0
"""What must not stand in a file. RULES is the list: name, files, expression, where it is looked for, reason."""
import re

from tree import code_only, line_of, matching

SOURCES = ("src/*.?pp", "kernels/*.?pp", "src/*.cu", "kernels/*.cu")
CPP = SOURCES + ("tests/*.?pp", "tests/*.cu", "benchmarks/*.?pp")
OUTSIDE_DEVICE = ("kernels/*.?pp", "src/*.cu", "kernels/*.cu", "src/[!d]*.?pp", "src/d[!e]*.?pp")
HEADERS = tuple(p.replace("?pp", "hpp") for p in CPP)
CMAKE = ("CMakeLists.txt", "*/CMakeLists.txt", "*.cmake")
SCRIPTS = CMAKE + ("*.py", "*.sh", "*.sbatch", "*.cfg", "launch/*")
SHIPPED = tuple(f"{folder}/*" for folder in (
    "benchmarks", "cmake", "configs", "data", "docs", "kernels", "launch", "slurm", "src"))
MAX_COLUMNS, MAX_LINES = 128, 600

RULES = [
    ("using namespace", HEADERS, r"\busing\s+namespace\b", "in a header it changes every file behind it"),
    ("file(GLOB)", CMAKE, r"(?i)\bfile\s*\(\s*GLOB", "write the list down: a new file cannot be missed then"),
    ("fast math", CMAKE + ("*.json",), r"-ffast-math|-Ofast|use_fast_math", "docs/numerics.md excludes it"),
    ("device-wide wait", CPP, r"\bcudaDeviceSynchronize\b", "wait for a stream"),
    ("bare launch", CPP, r"<<<", "a launch goes through the one function that checks it"),
    ("assert", SOURCES, r"(?<!static_)\bassert\s*\(", "it vanishes in Release builds: use require() or throw"),
    ("random state", SOURCES, r"\brandom_device\b|\bmt19937|\bs?rand\s*\(",
     "random numbers are functions of a place: core/rng.hpp"),
    ("bare allocation", OUTSIDE_DEVICE,
     r"\b(malloc|calloc|realloc|aligned_alloc|posix_memalign|cudaMalloc)\s*\(",
     "only src/device allocates what kernels use"),
    ("float atomic", SOURCES, r"\batomic(_ref)?\s*<\s*(float|double)\b|\batomicAdd\b", "sums have a fixed order"),
]
# Rule -> files that it does not bind, with the reason.
EXEMPT = {
    "bare launch": {"kernels/simt/simt.hpp": "the one function that checks launches"},
    "float atomic": {"kernels/simt/device.hpp": "defines what a kernel must not call"},
}
RAW_RULES = [
    ("open end", CPP + SCRIPTS + SHIPPED, r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b", "finish it, or leave it out"),
    ("path of one machine", SHIPPED, r"(?<![\w.$}~-])/(work|tmp|home|root)/", "a path comes from a flag or a variable"),
    ("commented-out code", CPP, r"^[ \t]*//[^/\n].*[;{][ \t]*$", "history keeps it"),
    ("reflowed docstring", CPP,
     r"^[ \t]*///.*\S (Shapes|Types|Aliasing|Gradients|Empty|Throws|ONNX|Source|Layout|Attributes|Numbers) {2,}\S",
     "each keyword of a docstring begins a line"),
]


def _banned(tree, rules, look):
    found = []
    for name, patterns, expression, reason in rules:
        for path, text in matching(tree, *patterns):
            if path.startswith("tests/style/"):
                continue  # the rules name what they ban, and the self-tests plant it
            if path in EXEMPT.get(name, {}):
                continue
            for match in re.finditer(expression, look(path, text), re.MULTILINE):
                found.append(f"{path}:{line_of(text, match.start())}: {name}: {reason}")
    return found


def banned_constructs(tree):
    """Constructs that break a promise of the design, in code (not in comments)."""
    return _banned(tree, RULES, lambda path, text: code_only(text) if path.endswith(("pp", ".cu")) else text)


def nothing_left_open(tree):
    """No reminders, no code in comments, no paths of one machine."""
    return _banned(tree, RAW_RULES, lambda path, text: text)


def license_lines(tree):
    """Every source and script has its SPDX line among the first two; every header has #pragma once."""
    found = []
    for path, text in matching(tree, *CPP, *SCRIPTS):
        if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.split("\n", 2)[:2]):
            found.append(f"{path}:1: no SPDX-License-Identifier: Apache-2.0 in the first two lines")
        if path.endswith(".hpp") and not re.search(r"^#pragma once$", text, re.MULTILINE):
            found.append(f"{path}:1: no #pragma once")
    return found


def sizes(tree):
    """Lines of at most MAX_COLUMNS, sources of at most MAX_LINES."""
    found = []
    for path, text in matching(tree, *CPP, *SCRIPTS):
        lines = text.split("\n")
        found += [f"{path}:{number}: {len(line)} columns, at most {MAX_COLUMNS}"
                  for number, line in enumerate(lines, 1) if len(line) > MAX_COLUMNS]
        if path.startswith(("src/", "kernels/")) and len(lines) > MAX_LINES:
            found.append(f"{path}: {len(lines)} lines, at most {MAX_LINES}: cut it where its subject changes")
    return found
