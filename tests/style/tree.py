# SPDX-License-Identifier: Apache-2.0
"""The repository as the rules see it: a dictionary from path to text, so that a self-test can plant a file."""
import re
from fnmatch import fnmatch
from pathlib import Path

TEXT_FOLDERS = ("benchmarks", "cmake", "configs", "data", "docs", "kernels", "launch", "slurm", "src", "tests")
TEXT_ENDINGS = (".cpp", ".hpp", ".cu", ".in", ".py", ".sh", ".sbatch", ".cmake", ".cfg", ".json", ".md", ".txt")
# A comment, a raw string, a string or a character, whichever begins first. An apostrophe within a number is no quote.
_NO_CODE = re.compile(
    r"""//(?:\\\n|[^\n])*|/\*.*?\*/|R"(?P<mark>[^()\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|"""
    r"""(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def read_tree(root):
    """All text files of the repository at `root`; build products, runs and data sets are left out."""
    root = Path(root)
    paths = [p for p in root.iterdir() if p.is_file()]
    for folder in TEXT_FOLDERS:
        paths += [p for p in (root / folder).rglob("*") if p.is_file() and "cache" not in p.parts]
    return {p.relative_to(root).as_posix(): p.read_text(encoding="utf-8")
            for p in sorted(paths) if p.suffix in TEXT_ENDINGS or p.parent == root / "launch"}


def matching(tree, *patterns):
    """(path, text) of the files whose path fits one of the patterns; '*' crosses folders."""
    return [(path, text) for path, text in tree.items() if any(fnmatch(path, p) for p in patterns)]


def code_only(text):
    """C++ with comments and the insides of strings replaced by blanks; line numbers stay."""
    def blank(match):
        kept = re.sub(r"[^\n]", " ", match.group())
        return kept if match.group().startswith("/") else '"' + kept[1:-1] + '"'
    return _NO_CODE.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1
