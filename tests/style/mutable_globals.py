# SPDX-License-Identifier: Apache-2.0
"""No mutable globals. A heuristic that reads braces and semicolons, not a parser of C++."""
import re

from tree import code_only, line_of, matching

# File -> mutable variables that it may hold, with the reason.
ALLOWED = {
    "kernels/simt/engine.hpp": {"here": "threadIdx and its like are names without an owner; each OS thread has its own"},
    "kernels/simt/engine.cpp": {"scheduler": "a kernel's intrinsics have no argument that could carry it"},
    "src/formats/h5_error.cpp": {"mutex": "HDF5's library is one per process, and so is its lock"},
    "src/train/stop_signals.cpp": {"was_raised": "a signal handler reaches nothing else"},
}

_NAMESPACE = re.compile(r'\bnamespace\b[\w:\s]*$|\bextern\s*"\s*"$')
_TYPE = re.compile(r"\b(class|struct|union|enum)\b(?![^<]*>)[^=()]*$")
_BEGINS_VALUE = re.compile(r"[=,(\[]$|\breturn$")
_ENDS_IN_NAME = re.compile(r"[\w>\]]$")
_FUNCTION = re.compile(r"\)\s*(const|noexcept|override|final|mutable|\s)*(->[\s\w:<>*&,]+)?$|\b(else|do|try)$")
_NO_VARIABLE = re.compile(r"\b(const|constexpr|using|typedef|friend|template|operator|static_assert|return|"
                          r"class|struct|union|enum|namespace)\b")
_VARIABLE = re.compile(
    r"(?:(?:static|inline|extern|thread_local|constinit|volatile|mutable|unsigned)\s+)*"  # how it is stored
    r"[A-Za-z_][\w:]*(?:<[^;=]*>)?(?:::\w+)*[\s*&]+"                                      # its type
    r"(?P<name>\w+)\s*(?:\[[^\]]*\]\s*)*(?:[={].*)?", re.DOTALL)                          # its name and value


def _scope(head, outer):
    """What a '{' behind `head` opens: a namespace, a type, a value (an initialiser) or a function (any block)."""
    if _NAMESPACE.search(head):
        return "namespace"
    if _TYPE.search(head):
        return "type"
    if outer == "value" or _BEGINS_VALUE.search(head) or (_ENDS_IN_NAME.search(head) and not _FUNCTION.search(head)):
        return "value"
    return "function"


def _statements(code):
    """(position, text, scope) of every statement that ends in ';'. The braces of a value belong to its statement."""
    scopes, begin = ["namespace"], 0
    for position, letter in enumerate(code):
        if letter == "{":
            scopes.append(_scope(code[begin:position].strip(), scopes[-1]))
            if scopes[-1] != "value":
                begin = position + 1
        elif letter == "}" and len(scopes) > 1:
            if scopes.pop() in ("namespace", "function"):
                begin = position + 1
        elif letter == ";" and scopes[-1] != "value":
            yield begin, code[begin:position], scopes[-1]
            begin = position + 1


def _without_directives(code):
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", lambda match: "\n" * match.group().count("\n"), code, flags=re.MULTILINE)


def no_mutable_globals(tree):
    """No variable outlives a function unless it is const: none in a namespace, no static one elsewhere."""
    found = []
    for path, text in matching(tree, "src/*.?pp", "kernels/*.?pp", "src/*.cu", "kernels/*.cu"):
        code = _without_directives(code_only(text))
        for begin, statement, scope in _statements(code):
            words = statement.strip()
            if scope != "namespace" and not re.match(r"(static|thread_local)\b", words):
                continue
            match = _VARIABLE.fullmatch(words)
            if not match or _NO_VARIABLE.search(words[:match.start("name")]):
                continue
            name = match.group("name")
            if name not in ALLOWED.get(path, {}):
                line = line_of(code, begin + len(statement) - len(statement.lstrip()))
                found.append(f"{path}:{line}: '{name}' is mutable and outlives its function; let main own it")
    return found
