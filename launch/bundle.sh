#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the relocatable bundle, says how large it is, and tests it where nothing else of this machine is.
#
# usage: launch/bundle.sh [--check [ROOT...]]
#   --check   unpacks it, read-only and for a user who is not root, into a system that has no libraries: a shell and the usual
#             commands of a static busybox. With ROOT, a folder with another distribution (debootstrap makes some), into that
#             instead. Then ./run_tests.sh of the bundle; PHALANX_CHECK="cpu emulated" chooses what of it.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

check=no
if [ "${1:-}" = "--check" ]; then check=yes; shift; fi
[ $# -eq 0 ] || [ $check = yes ] || { sed -n 's/^# \{0,1\}//p' "$0" | sed 1d; exit 2; }
kinds=(build test)
if [ $check = yes ]; then kinds+=(bundle); fi
install_packages "${kinds[@]}"

say "building and packing"
[ -f build/portable/build.ninja ] || cmake --preset portable
cpack --preset portable
packed=$(ls build/portable/phalanx-*-linux-x86_64.tar.gz)
size=$(stat -c %s "$packed")
say "$packed: $((size / 1048576)) MiB"
if [ "$size" -gt $((60 * 1048576)) ]; then
  echo "that is more than 60 MiB, which the bundle is to stay below"
  exit 1
fi
[ $check = yes ] || exit 0

# A link into the build tree or into this machine would work here and nowhere else.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar xf "$packed" -C "$work"
bundle=$(echo "$work"/phalanx-*)
if strays=$(grep -rlF "$root" "$bundle"); then
  echo "files of the bundle that name $root:"
  echo "$strays"
  exit 1
fi

# A system of nothing but busybox.
bare=$work/bare
mkdir -p "$bare/bin" "$bare/etc"
cp "$(command -v busybox)" "$bare/bin/busybox"
for name in $("$bare/bin/busybox" --list); do [ "$name" = busybox ] || ln -s busybox "$bare/bin/$name"; done
echo 'tester:x:1234:1234::/tmp:/bin/sh' >"$bare/etc/passwd"

for system in "${@:-$bare}"; do
  say "testing it in $(sed -n 's/^PRETTY_NAME=//p' "$system/etc/os-release" 2>/dev/null || echo 'a system of busybox only')"
  mounts=()
  for entry in "$system"/*; do
    case ${entry##*/} in
      proc | dev | sys | tmp | mnt) ;;
      *) if [ -L "$entry" ]; then mounts+=(--symlink "$(readlink "$entry")"); else mounts+=(--ro-bind "$entry"); fi
         mounts+=("/${entry##*/}") ;;
    esac
  done
  # shellcheck disable=SC2086
  bwrap "${mounts[@]}" --proc /proc --dev /dev --ro-bind /sys /sys --tmpfs /tmp --ro-bind "$bundle" "/mnt/a folder" --chdir / \
    --unshare-user --uid 1234 --gid 1234 --unshare-net --unshare-pid --die-with-parent --hostname node --unshare-uts \
    --clearenv --setenv PATH /usr/bin:/bin --setenv HOME /tmp ${OMP_NUM_THREADS:+--setenv OMP_NUM_THREADS "$OMP_NUM_THREADS"} \
    "/mnt/a folder/run_tests.sh" ${PHALANX_CHECK:-cpu emulated}
done
