#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tests of a bundle: with what is in it, a shell, and data that they make themselves. The bundle itself is only read.
#
# usage: ./run_tests.sh [cpu] [emulated] [gpu]
#   cpu        training on one and two ranks, predicting, collectives, every operator
#   emulated   every operator, collectives and training on a GPU that the processor emulates
#   gpu        every operator, both networks, two ranks that share the GPU; on the node's first GPU
# Without an argument all three, gpu only where `bin/phalanx devices` finds one. PHALANX_TEST_FOLDER: where data, runs and
# logs go; kept if it is given, else a temporary folder that is removed if all passes.
set -u
for part in "$@"; do
  case $part in
    cpu | emulated | gpu) ;;
    *) sed -n '/^# The tests/,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
root=$(cd "$(dirname "$(readlink -f -- "$0")")" && pwd) || exit 1
if [ -n "${PHALANX_TEST_FOLDER:-}" ]; then
  folder=$PHALANX_TEST_FOLDER keep=yes
  mkdir -p "$folder" || exit 1
else
  folder=$(mktemp -d "${TMPDIR:-/tmp}/phalanx_tests_XXXXXX") keep=no
fi
cd "$folder" || exit 1
failed=0 passed=0
bin=$root/bin cuda=$root/lib/libphalanx_cuda.so emulated=$root/lib/libphalanx_emulated.so

export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OMP_WAIT_POLICY=passive
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

# check NAME COMMAND...: one test, its output in NAME.log.
check() {
  name=$1
  shift
  start=$(date +%s)
  if "$@" >"$name.log" 2>&1; then
    passed=$((passed + 1))
    echo "passed   $name ($(($(date +%s) - start)) s)"
  else
    echo "FAILED   $name (exit code $?): the end of $folder/$name.log:"
    failed=$((failed + 1))
    tail -n 15 "$name.log" | sed 's/^/         /'
  fi
}

# says TEXT COMMAND...: the command succeeds, and what it writes matches an extended regular expression.
says() {
  text=$1
  shift
  "$@" >answer 2>&1
  code=$?
  cat answer
  [ $code -eq 0 ] || return $code
  grep -Eq "$text" answer || { echo "expected a text that matches '$text'"; return 1; }
}

# losses RUN: of every step, as its metrics have them.
losses() { sed -n '/"gradient_norm"/s/.*"loss":\([^,}]*\).*/\1/p' "$1/metrics.jsonl"; }

equal_losses() {
  losses "$1" >one
  losses "$2" >two
  [ -s one ] || { echo "$1 has no losses"; return 1; }
  cmp one two && wc -l <one
}

byte_name() { printf '\\%03o' "$1"; }  # \012 for 10

# In each of ten classes a picture of its own, five sixths of which every sample of the class shows.
make_rows() {  # make_rows ROWS BYTES [LABELS]: with LABELS = yes each row begins with its label
  shown=$(($2 * 5 / 6))
  for label in 0 1 2 3 4 5 6 7 8 9; do
    { if [ "${3:-no}" = yes ]; then printf "$(byte_name $label)"; fi; cat "picture$label.$2"; } >"row$label"
  done
  row=0
  while [ $row -lt "$1" ]; do
    cat "row$((row % 10))"
    head -c $(($2 - shown)) /dev/urandom
    row=$((row + 1))
  done
}

make_pictures() {
  for label in 0 1 2 3 4 5 6 7 8 9; do head -c $(($1 * 5 / 6)) /dev/urandom >"picture$label.$1"; done
}

make_idx() {  # make_idx NAME ROWS, less than 256 times 256
  rows=$(byte_name $(($2 / 256)))$(byte_name $(($2 % 256)))
  { printf "\\000\\000\\010\\003\\000\\000$rows\\000\\000\\000\\034\\000\\000\\000\\034"; make_rows "$2" 784; } \
    >"idx/$1-images-idx3-ubyte"
  labels=""
  while [ ${#labels} -lt $(($2 * 4)) ]; do labels="$labels\\000\\001\\002\\003\\004\\005\\006\\007\\010\\011"; done
  printf "\\000\\000\\010\\001\\000\\000$rows$labels" >"idx/$1-labels-idx1-ubyte"
}

make_data() {
  [ ! -f fashion.h5 ] || return 0
  mkdir -p idx cifar
  make_pictures 784
  make_idx train 1280 && make_idx t10k 100 || return 1
  names=""
  for label in 0 1 2 3 4 5 6 7 8 9; do names="$names --class-names $label"; done
  "$bin/phalanx" data import idx idx --output fashion.h5 $names || return 1
  make_pictures 3072
  for batch in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
    make_rows 100 3072 yes >cifar/$batch.bin
  done
  echo "0 1 2 3 4 5 6 7 8 9" | tr ' ' '\n' >cifar/batches.meta.txt
  "$bin/phalanx" data import cifar10 cifar --output cifar10.h5 || return 1
  cat >small.cfg <<'END'
data = fashion.h5
layer = conv 4 3x3 pad 1
layer = batch_norm
layer = relu
layer = max_pool 4x4
layer = dense 10
optimizer = adam
batch-size = 16
max-steps = 4
log-every = 1
END
  cat >mlp.cfg <<'END'
data = fashion.h5
layer = dense 64
layer = relu
layer = dense 10
optimizer = adam
learning-rate = 0.001
batch-size = 64
epochs = 2
log-every = 1
END
}

train() { "$bin/phalanx" train "$@"; }
train_on_two() { "$bin/mpirun" -n 2 "$bin/phalanx" train "$@"; }
learns='test accuracy +(0\.9|1\.)'
small_cifar="--data cifar10.h5 --epochs 3 --optimizer adam --learning-rate 0.001"
small_fashion="--data fashion.h5 --epochs 2 --learning-rate 0.002 --warmup-epochs 0"

# same_on_two_ranks NAME CONFIG DEVICE: one and two ranks give the same losses, bit by bit.
same_on_two_ranks() {
  train "$2" --device "$3" --reproducible --output "$1_one" && train_on_two "$2" --device "$3" --reproducible \
    --output "$1_two" && equal_losses "$1_one" "$1_two"
}

# A node with a driver that is none: the CUDA half is found, and what it says of the node is handed on.
lacks_a_gpu() {
  mkdir -p driver && cp "$root/lib/libfake_nccl.so" driver/libcuda.so.1 || return 1
  says 'no GPU: (the backend .*libcu|CUDA driver)' env LD_LIBRARY_PATH="$PWD/driver" "$bin/phalanx" devices
}

predicts() {  # predicts RUN DEVICE
  "$bin/mpirun" -n 2 "$bin/phalanx" predict --checkpoint "$1/checkpoints/best.h5" --data fashion.h5 --device "$2" \
    --output "$1/predictions" && [ "$(wc -l <"$1/predictions/predictions.csv")" -eq 101 ]
}

test_cpu() {
  [ ! -f "$cuda" ] || check cpu.says_what_a_gpu_lacks lacks_a_gpu
  check cpu.every_operator "$bin/operators_test" --gtest_brief=1
  check cpu.trains_cifar10_cnn says "$learns" train "$root/configs/cifar10_cnn.cfg" $small_cifar --device cpu \
    --output cpu_cifar
  check cpu.trains_fashion_cnn says "$learns" train "$root/configs/fashion_cnn.cfg" $small_fashion --device cpu \
    --output cpu_fashion
  check cpu.trains_mlp_on_two_ranks says "$learns" train_on_two mlp.cfg --device cpu --output cpu_mlp
  check cpu.predicts_on_two_ranks predicts cpu_mlp cpu
  check cpu.losses_of_two_ranks_are_those_of_one same_on_two_ranks cpu_same small.cfg cpu
  for ranks in 1 2 4; do
    check cpu.training_is_the_same_on_$ranks "$bin/mpirun" -n $ranks "$bin/TrainingIsTheSameOnAnyNumberOfRanks"
  done
}

test_emulated() {
  check emulated.every_operator env PHALANX_TEST_BACKEND="$emulated" "$bin/operators_test" --gtest_brief=1
  check emulated.collectives "$bin/gpu_comm_tests" --gtest_brief=1
  check emulated.nccl_on_one_rank env PHALANX_TEST_BACKEND="$emulated" PHALANX_TEST_NCCL="$root/lib/libfake_nccl.so" \
    "$bin/nccl_on_gpu_test" --gtest_brief=1
  check emulated.sums_over_two_ranks "$bin/mpirun" -n 2 "$bin/SumsOnGpusMatchThoseOnTheHost"
  export PHALANX_BACKEND="$emulated"
  check emulated.devices says 'GPU 0: emulated' "$bin/phalanx" devices
  check emulated.losses_of_two_ranks_are_those_of_one same_on_two_ranks emulated_same small.cfg cuda
  unset PHALANX_BACKEND
}

test_gpu() {
  check gpu.devices says 'GPU 0' "$bin/phalanx" devices
  check gpu.every_operator env PHALANX_TEST_BACKEND="$cuda" "$bin/operators_test" --gtest_brief=1
  check gpu.trains_cifar10_cnn says "$learns" train "$root/configs/cifar10_cnn.cfg" $small_cifar --device cuda \
    --output gpu_cifar
  check gpu.trains_fashion_cnn says "$learns" train "$root/configs/fashion_cnn.cfg" $small_fashion --device cuda \
    --output gpu_fashion
  check gpu.two_ranks_share_it says "$learns" train_on_two "$root/configs/fashion_cnn.cfg" $small_fashion --device cuda \
    --output gpu_two
  check gpu.losses_of_two_ranks_are_those_of_one same_on_two_ranks gpu_same small.cfg cuda
  check gpu.nccl_on_one_rank env PHALANX_TEST_BACKEND="$cuda" "$bin/nccl_on_gpu_test" --gtest_brief=1
  check gpu.predicts_on_two_ranks predicts gpu_fashion cuda
}

check made_up_data make_data
[ $failed -eq 0 ] || exit 1
if [ $# -eq 0 ]; then
  set -- cpu emulated
  if "$bin/phalanx" devices 2>&1 | tee devices | grep -q 'GPU 0'; then
    set -- "$@" gpu
  else
    echo "skipped  gpu: $(sed -n 's/.*no GPU: //p' devices)"
  fi
fi
for part in "$@"; do "test_$part"; done
echo "$passed passed, $failed failed"
if [ $failed -gt 0 ]; then exit 1; fi
cd / && if [ $keep = no ]; then rm -rf "$folder"; fi
