#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the tests need, builds, and runs every test; then the sanitizer builds run the tests that they are for.
#
# usage: launch/test.sh [--quick | --fuzz] [any option of ctest, such as -R Plan]
#   --quick   without the sanitizer builds
#   --fuzz    one minute of libFuzzer for every parser of foreign bytes, instead of the tests; needs clang
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

quick=no
if [ "${1:-}" = "--quick" ]; then quick=yes; shift; fi
install_packages build quickstart test

if [ "${1:-}" = "--fuzz" ]; then
  build fuzz fuzzers
  for target in build/fuzz/bin/fuzz_*; do
    say "fuzzing: $(basename "$target")"
    "$target" -max_total_time="${PHALANX_FUZZ_SECONDS:-60}" -timeout=20 -len_control=0 -print_final_stats=1
  done
  exit
fi

# TensorBoard is not a Debian package. Without it one test is skipped, aloud.
tools=build/python
if [ ! -x "$tools/bin/tensorboard" ]; then
  say "installing TensorBoard into $tools"
  /usr/bin/python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --disable-pip-version-check tensorboard ||
    say "TensorBoard could not be installed; its test will be skipped"
fi
# So are clients of the Open Inference Protocol. perf_analyzer starts where the system's C library is not older than its own.
if [ ! -x "$tools/bin/python" ] || ! "$tools/bin/python" -c "import tritonclient.http" 2>/dev/null; then
  say "installing clients of the Open Inference Protocol into $tools"
  /usr/bin/python3 -m venv "$tools" &&
    "$tools/bin/pip" install --quiet --disable-pip-version-check "tritonclient[http]" perf-analyzer ||
    say "clients could not be installed; their tests will be skipped"
fi
if [ -x "$tools/bin/python" ]; then export PHALANX_CLIENTS_PYTHON=$PWD/$tools/bin/python; fi
if [ -x "$tools/bin/tensorboard" ]; then export PHALANX_TENSORBOARD_PYTHON=$PWD/$tools/bin/python; fi

say "building"
build release
say "testing"
ctest --preset release "$@"

if [ "$quick" = no ] && [ $# -eq 0 ]; then
  say "AddressSanitizer and UBSan: unit tests, operators, emulated CUDA"
  build asan unit_tests serve_tests thread_tests operators_test fuzzers simt_tests emulated_test gpu_comm_tests
  ctest --preset asan
  say "ThreadSanitizer: what uses threads, emulated CUDA"
  build tsan thread_tests simt_tests
  ctest --preset tsan
fi
