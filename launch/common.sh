# SPDX-License-Identifier: Apache-2.0
# Sourced by the other scripts: where things are, packages, and an environment in which mpirun works on one machine.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\n== %s\n' "$*"; }

# install_packages KIND...: installs what is missing of the kinds in launch/packages.txt. Without root it lists what is
# missing and ends with exit code 2; if nothing is, it goes on. No daemon of a new package is started: the tests start their
# own.
install_packages() {
  command -v dpkg-query >/dev/null || { echo "this is no Debian system: see launch/packages.txt for what is needed"; return 0; }
  local kind name missing=()
  while read -r kind name; do
    [[ " $* " == *" $kind "* ]] || continue
    dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$name")
  done < <(grep -v '^#' launch/packages.txt)
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    echo "these Debian packages are missing, and only root may install them:"
    echo "  apt-get install --no-install-recommends ${missing[*]}"
    exit 2
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  without_daemons apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# without_daemons COMMAND...: Debian asks /usr/sbin/policy-rc.d, if there is one, whether a package may start its daemon.
without_daemons() (
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  "$@"
)

# build PRESET [TARGET...]: configures once, builds what changed.
build() {
  local preset=$1
  shift
  [ -f "build/$preset/build.ninja" ] || cmake --preset "$preset"
  cmake --build --preset "$preset" ${*:+--target "$@"}
}

# Open MPI on one machine: root is fine, ranks may share cores, and a rank that waits yields its core.
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
