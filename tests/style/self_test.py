# SPDX-License-Identifier: Apache-2.0
"""Every rule must fail on a planted violation, and on nothing else beside it."""
import tempfile
import unittest
from pathlib import Path

import banned
import check
import compiled
import includes
import mutable_globals
import operators

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
CLEAN = {
    "CMakeLists.txt": "# SPDX-License-Identifier: Apache-2.0\n",
    "docs/architecture.md": "".join(f"| 0 | `src/{folder}` | |\n" for folder in includes.ALLOWED),
    "src/core/error.hpp": SPDX + "#pragma once\n#include <string>\nextern const int kOne;\n",
    "src/core/CMakeLists.txt": "# SPDX-License-Identifier: Apache-2.0\nphalanx_library(core SOURCES error.cpp)\n",
    "src/core/error.cpp": SPDX + '#include "core/error.hpp"\n\nconst int kOne = 1;\n',
    "src/graph/graph.hpp": SPDX + '#pragma once\n#include "core/error.hpp"\n',
    "src/train/trainer.hpp": SPDX + '#pragma once\n#include "graph/graph.hpp"\n',
    "kernels/CMakeLists.txt": "# SPDX-License-Identifier: Apache-2.0\nadd_operator(relu)\n",
    "kernels/common/unary.hpp": SPDX + '#pragma once\n#include "core/error.hpp"\n',
    "kernels/relu/relu.hpp": SPDX + "#pragma once\n/// Types f32.\n/// Throws nothing.\nextern const OpSpec relu_op;\n",
    "kernels/relu/relu.cpp": SPDX + '#include "relu/relu.hpp"\n\n#include "common/unary.hpp"\n',
    "kernels/relu/relu_cpu.cpp": SPDX,
    "kernels/relu/relu_cases.cpp": SPDX,
}


class PlantedViolations(unittest.TestCase):
    def refuses(self, rule, path, text, message):
        """The clean tree passes; with the file it fails, and only because of it."""
        self.assertEqual(rule(CLEAN), [])
        found = rule(CLEAN | {path: text})
        self.assertEqual(len(found), 1, found)
        self.assertIn(message, found[0])

    def accepts(self, rule, path, text):
        self.assertEqual(rule(CLEAN | {path: text}), [])

    def refuses_cases(self, rule, path, text):
        self.refuses(rule, path, text, "must not include common/cases.hpp")

    def test_includes_upwards(self):
        rule = includes.includes_point_downwards
        for path, header in (("src/core/log.cpp", "graph/graph.hpp"),
                             ("src/graph/plan.cpp", "relu/relu.hpp"),
                             ("src/graph/plan.hpp", "train/trainer.hpp"),
                             ("kernels/common/view.hpp", "relu/relu.hpp"),
                             ("kernels/gelu/gelu.cpp", "relu/relu.hpp"),
                             ("kernels/simt/device.hpp", "core/error.hpp"),
                             ("kernels/simt/device.hpp", "common/unary.hpp"),
                             ("kernels/relu/relu_cuda.cu", "graph/graph.hpp"),
                             ("src/bench/bench.cpp", "common/unary.hpp"),
                             ("kernels/relu/relu_cpu.cpp", "graph/graph.hpp")):
            self.refuses(rule, path, f'#include "{header}"\n', f"{path}:1: ")
        self.refuses(rule, "src/core/log.cpp", "\n#  include  <graph/graph.hpp>\n", "log.cpp:2: src/core must not")
        self.refuses(rule, "src/compress/prune.cpp", "", "no row in ALLOWED")
        self.refuses(rule, "src/serve/front.cpp", '#include "train/trainer.hpp"\n', "must not include")
        self.accepts(rule, "src/core/log.cpp", '// #include "graph/graph.hpp"\n/*\n#include "graph/graph.hpp"\n*/\n')
        self.accepts(rule, "src/cli/main.cpp", '#include "train/trainer.hpp"\n')
        for path, accepts in ("src/bench/bench.cpp", self.accepts), ("src/cli/main.cpp", self.refuses_cases):
            accepts(lambda tree: rule(tree | {"kernels/common/cases.hpp": SPDX}), path, '#include "common/cases.hpp"\n')
        self.accepts(rule, "tests/unit/a_test.cpp", '#include "relu/relu.hpp"\n')
        self.accepts(lambda tree: rule(tree | {"kernels/simt/simt.hpp": SPDX}), "kernels/relu/relu_cuda.cu",
                     '#include "simt/simt.hpp"\n')

    def test_libraries_out_of_place(self):
        rule = includes.libraries_stay_in_their_place
        for path, header in (("src/graph/plan.cpp", "mpi.h"),
                             ("src/comm/comm.hpp", "mpi.h"),
                             ("src/comm/nccl.cpp", "nccl.h"),
                             ("src/formats/h5.hpp", "hdf5.h"),
                             ("kernels/relu/relu.cpp", "oneapi/dnnl/dnnl.hpp"),
                             ("src/core/text.cpp", "spdlog/spdlog.h"),
                             ("src/train/trainer.hpp", "nlohmann/json.hpp"),
                             ("src/graph/plan.cpp", "omp.h"),
                             ("src/core/text.hpp", "unistd.h"), ("src/core/text.hpp", "dlfcn.h"),
                             ("src/train/trainer.cpp", "boost/program_options.hpp")):
            self.refuses(rule, path, f"#include <{header}>\n", f"{path}:1: <{header}> may only stand in")
        self.refuses(rule, "src/core/text.cpp", "#include <eigen3/Eigen/Core>\n", "has no place")
        self.accepts(rule, "src/comm/mpi.cpp", "#include <mpi.h>\n#include <algorithm>\n")

    def test_a_folder_without_a_row(self):
        self.refuses(includes.the_map_names_every_folder, "docs/architecture.md",
                     CLEAN["docs/architecture.md"].replace("`src/comm`", ""), "`src/comm`")

    def test_banned_constructs(self):
        rule = banned.banned_constructs
        for path, text in (("src/core/a.hpp", "using namespace std;"),
                           ("src/core/CMakeLists.txt", "file(GLOB sources *.cpp)"),
                           ("cmake/flags.cmake", "add_compile_options(-ffast-math)"),
                           ("src/core/a.cpp", "cudaDeviceSynchronize();"),
                           ("kernels/relu/relu_cpu.cpp", "relu<<<1, 2>>>(x);"),
                           ("src/core/a.cpp", "assert(x > 0);"),
                           ("src/core/a.cpp", "std::mt19937_64 engine;"),
                           ("kernels/relu/relu_cpu.cpp", "float* x = malloc(4);"),
                           ("src/core/a.cpp", "std::atomic<float> sum;")):
            self.refuses(rule, path, f"\n{text}\n", f"{path}:2: ")
        self.accepts(rule, "src/core/a.cpp", 'static_assert(1 > 0);  // never assert(x)\nauto s = "a <<< b";\n')

    def test_open_ends(self):
        rule = banned.nothing_left_open
        for path, text in (("src/core/a.cpp", "// TO" "DO: later"),
                           ("docs/a.md", "FIX" "ME"),
                           ("launch/a.sh", "cd /tmp/build"),
                           ("slurm/a.sbatch", "--data=/home/me/x.h5"),
                           ("src/core/a.cpp", "  // old_call(x);"),
                           ("src/core/a.hpp", "/// divides C and O. Types     x, y f32")):
            self.refuses(rule, path, f"\n{text}\n", f"{path}:2: ")
        self.accepts(rule, "docs/a.md", "see https://example.org/home/a and $HOME/tmp/x\n")

    def test_license_lines(self):
        for path in "launch/a.sh", "launch/a":
            self.refuses(banned.license_lines, path, "#!/usr/bin/env bash\nset -e\n", "SPDX")
        self.refuses(banned.license_lines, "src/core/a.hpp", SPDX + "int f();\n", "#pragma once")
        self.accepts(banned.license_lines, "launch/a.sh", "#!/bin/bash\n# SPDX-License-Identifier: Apache-2.0\n")

    def test_cuda_sources(self):
        rule = banned.banned_constructs
        self.refuses(rule, "kernels/relu/relu_cuda.cu", "void f() { g<<<1, 1>>>(); }\n", "bare launch")
        self.refuses(rule, "kernels/relu/relu_cuda.cu", "__global__ void f(float* x) { atomicAdd(x, 1.0f); }\n", "float atomic")
        self.refuses(rule, "kernels/simt/engine.hpp", "void f() { g<<<1, 1>>>(); }\n", "bare launch")
        self.accepts(rule, "kernels/simt/simt.hpp", "void f() { g<<<1, 1>>>(); }\n")
        self.refuses(banned.license_lines, "kernels/relu/relu_cuda.cu", "int f();\n", "SPDX")
        self.refuses(mutable_globals.no_mutable_globals, "kernels/relu/relu_cuda.cu", "int calls = 0;\n", "is mutable")
        self.refuses(operators.sources_are_built, "tests/simt/orphan.cu", "", "orphan.cu: no CMakeLists.txt")
        self.refuses(includes.libraries_stay_in_their_place, "kernels/relu/relu_cuda.cu", "#include <cuda_bf16.h>\n",
                     "may only stand in")

    def test_sizes(self):
        self.refuses(banned.sizes, "src/core/a.cpp", "x" * 129, "129 columns")
        self.refuses(banned.sizes, "kernels/relu/relu_cpu.cpp", "\n" * 600, "601 lines")
        self.accepts(banned.sizes, "src/core/a.cpp", "\u00e4" * 128 + "\n" * 599)

    def test_mutable_globals(self):
        rule = mutable_globals.no_mutable_globals
        for text in ("int calls = 0;",
                     "namespace {\nstd::map<int, std::string> cache;\n}",
                     "static thread_local Buffer* last{nullptr};",
                     "void f() {\n  static std::vector<int> seen;\n}",
                     "extern int counter;",
                     "std::atomic<int> live{0};",
                     "struct A {\n  static int count;\n};",
                     'extern "C" {\nvolatile int stop;\n}',
                     "void f() const noexcept { g(); }\nunsigned table[4][2] = {{1}};"):
            self.refuses(rule, "src/core/a.cpp", f"{text}\n", "is mutable")
        for text in ("const int kOne = 1;",
                     "constexpr int kTable[] = {1, 2};",
                     "int f(int x = 1);",
                     "struct A { int x = 0; };",
                     "class A {\n  static int count();\n  int x_ = 0;\n};",
                     "using A = int;",
                     "void f() { int x = 0; static const int k = 1; }",
                     "const auto kF = [](int x) { int y = x; return y; };",
                     "enum class E { kA, kB };",
                     "template <class T>\nT f() { T t; return t; }",
                     "namespace fs = std::filesystem;",
                     "struct Forward;"):
            self.accepts(rule, "src/core/a.cpp", f"{text}\n")

    def test_operators(self):
        rule, lists = operators.operators_are_whole, "kernels/CMakeLists.txt"
        self.refuses(rule, "kernels/relu/relu_fast.cpp", "", "relu_fast.cpp belongs to no operator")
        self.refuses(rule, "kernels/relu/relu.hpp", "/// Types f32.\nextern const OpSpec relu_op;\n", "'Throws'")
        self.refuses(rule, lists, "add_operator(gelu)\nadd_operator(relu)\n", "add_operator(gelu) has no folder")
        self.refuses(rule, lists, "add_operator(relu)\nadd_operator(relu)\n", "not alphabetical")
        self.refuses(rule, lists, "", "no add_operator(relu)")
        found = rule(CLEAN | {"kernels/gelu/gelu.cpp": ""})
        self.assertEqual(len(found), 4, found)  # the line and three files

    def test_orphans(self):
        self.refuses(operators.sources_are_built, "src/core/orphan.cpp", "", "orphan.cpp: no CMakeLists.txt")
        loop = {"tests/fuzz/CMakeLists.txt": "foreach(parser csv tar)\n  add_executable(fuzz_${parser} fuzz_${parser}.cpp)\n"}
        self.assertEqual(operators.sources_are_built(CLEAN | loop | {"tests/fuzz/fuzz_csv.cpp": ""}), [])
        self.assertEqual(len(operators.sources_are_built(CLEAN | loop | {"tests/fuzz/fuzz_zip.cpp": ""})), 1)

    def test_a_header_that_needs_another(self):
        with tempfile.TemporaryDirectory() as folder:
            headers = {"src/core/needy.hpp": "#pragma once\ninline std::string f() { return {}; }\n",
                       "src/core/whole.hpp": "#pragma once\n#include <string>\ninline std::string g() { return {}; }\n"}
            for path, text in headers.items():
                (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / path).write_text(text)
            found = compiled.headers_compile_alone(headers, folder, ["c++"])
            self.assertEqual(len(found), 1, found)
            self.assertIn("core/needy.hpp does not compile alone", found[0])

    def test_headers_that_the_build_proves(self):
        self.assertEqual(compiled.lone_headers(CLEAN), ["graph/graph.hpp", "train/trainer.hpp", "common/unary.hpp"])

    @unittest.skipUnless(compiled.shutil.which("clang-format-14"), "clang-format-14 is not installed")
    def test_a_file_that_is_not_formatted(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "src").mkdir()
            (Path(folder) / ".clang-format").write_text("BasedOnStyle: Google\n")
            files = {"src/a.cpp": "int  f( );\n", "src/b.cpp": "int f();\n"}
            for path, text in files.items():
                (Path(folder) / path).write_text(text)
            self.assertEqual(compiled.sources_are_formatted(files, folder, "clang-format-14"),
                             ["src/a.cpp:1: clang-format would change this"])

    def test_every_rule_is_a_test_of_its_own(self):
        lists = (Path(__file__).parent / "CMakeLists.txt").read_text()
        for rule in [*check.RULES, "headers_compile_alone", "sources_are_formatted"]:
            self.assertIn(f" {rule}", lists)


if __name__ == "__main__":
    unittest.main()
