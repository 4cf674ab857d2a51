# SPDX-License-Identifier: Apache-2.0
"""Checks the rules of CONTRIBUTING.md that a program can check.

usage: check.py [--root FOLDER] [--compiler "COMMAND"] [--clang-format COMMAND] [RULE...]

Without RULE all are checked. Exit code 0: kept, 1: broken, 77: cannot be checked here.
"""
import argparse
import shlex
import sys
from pathlib import Path

import banned
import compiled
import includes
import mutable_globals
import operators
from tree import read_tree

RULES = {rule.__name__: rule for rule in (
    includes.includes_point_downwards, includes.libraries_stay_in_their_place, includes.the_map_names_every_folder,
    banned.banned_constructs, banned.nothing_left_open, banned.license_lines, banned.sizes,
    mutable_globals.no_mutable_globals, operators.operators_are_whole, operators.sources_are_built)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--clang-format", default="clang-format-14")
    parser.add_argument("rules", nargs="*", metavar="RULE")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    rules = RULES | {
        "headers_compile_alone":
            lambda tree: compiled.headers_compile_alone(tree, root, shlex.split(arguments.compiler)),
        "sources_are_formatted":
            lambda tree: compiled.sources_are_formatted(tree, root, arguments.clang_format)}
    unknown = [name for name in arguments.rules if name not in rules]
    if unknown:
        parser.error(f"there is no rule {unknown[0]}; the rules are {', '.join(rules)}")
    tree = read_tree(root)
    if "CMakeLists.txt" not in tree:
        parser.error(f"{root} is not the root of the repository")
    try:
        found = [f"{violation}  [{name}]" for name in arguments.rules or rules for violation in rules[name](tree)]
    except compiled.Skipped as reason:
        print(f"skipped: {reason}")
        return 77
    print("\n".join(found + [f"{len(found)} violations in {len(tree)} files"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
