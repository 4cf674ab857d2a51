#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a bare clone to a served network: installs, builds, imports Fashion-MNIST, trains on 2 ranks, evaluates, predicts,
# serves.
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

say "publishing the best checkpoint, asking a server of it once"
"$phalanx" publish --checkpoint "$output/checkpoints/best.h5" --repository "$output/models" --name fashion
"$phalanx" data sample "$data" --row 0 --output "$output/sample.png"
"$phalanx" serve --repository "$output/models" --ranks "$ranks" --address 127.0.0.1 --port 0 --access-log "" \
  >"$output/serve.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
port=
for _ in $(seq 300); do
  port=$(sed -n 's|.* on http://127.0.0.1:\([0-9]*\);.*|\1|p' "$output/serve.log")
  grep -q "info ready" "$output/serve.log" && break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
curl --silent --show-error --fail --max-time 20 --data-binary "@$output/sample.png" \
  "http://127.0.0.1:$port/predict/fashion" || { cat "$output/serve.log"; exit 1; }
echo
kill "$server" && wait "$server"

say "all done in $((SECONDS - started)) s; what was just done, by hand:"
cat <<END
  $phalanx publish --checkpoint $output/checkpoints/best.h5 --repository $output/models --name fashion
  mpirun -n $ranks $phalanx serve --repository $output/models
  curl --data-binary @$output/sample.png http://localhost:8000/predict/fashion
END
