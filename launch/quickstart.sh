#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a bare clone to a trained network: installs, builds, imports Fashion-MNIST, trains on 2 ranks, evaluates, predicts.
# What is done already is not done again.
#
# usage: launch/quickstart.sh [--ranks N] [any option of `phalanx train`, such as --epochs 1]
#
# environment, all optional:
#   PHALANX_BINARY   a program that is built already; nothing is installed or built then
#   PHALANX_IMAGES   folder with the four files of Fashion-MNIST
#   PHALANX_DATA     data set that is made of them
#   PHALANX_OUTPUT   folder of the run
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ranks=2
if [ "${1:-}" = "--ranks" ]; then ranks=$2; shift 2; fi
started=$SECONDS
images=${PHALANX_IMAGES:-/usr/share/datasets/fashion-mnist}
data=${PHALANX_DATA:-data/cache/fashion_mnist.h5}
output=${PHALANX_OUTPUT:-runs/fashion_cnn}

phalanx=${PHALANX_BINARY:-build/release/bin/phalanx}
if [ -z "${PHALANX_BINARY:-}" ]; then
  install_packages build quickstart
  say "building"
  build release phalanx
fi

say "importing Fashion-MNIST"
"$phalanx" data import idx "$images" --output "$data" \
  --class-names T-shirt --class-names Trouser --class-names Pullover --class-names Dress --class-names Coat \
  --class-names Sandal --class-names Shirt --class-names Sneaker --class-names Bag --class-names "Ankle boot"

say "training on $ranks ranks: mpirun -n $ranks phalanx train configs/fashion_cnn.cfg"
mpirun -n "$ranks" "$phalanx" train configs/fashion_cnn.cfg --data "$data" --output "$output" "$@"

say "evaluating the best checkpoint on the same $ranks ranks"
mpirun -n "$ranks" "$phalanx" evaluate --checkpoint "$output/checkpoints/best.h5" --data "$data"

say "predicting the test images on the same $ranks ranks"
mpirun -n "$ranks" "$phalanx" predict --checkpoint "$output/checkpoints/best.h5" --data "$data" --output "$output/predictions"

say "all done in $((SECONDS - started)) s"
