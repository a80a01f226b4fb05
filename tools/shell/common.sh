# Shell functions that ./demo, ./check and .ci/run share: messages, space, jobs, quiet progress.
# Sourced by bash, after which the current folder is the root of the source tree.
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
TENON_ROOT=$PWD
export TENON_ROOT PIP_DISABLE_PIP_VERSION_CHECK=1

# What builds need, in MiB: measured, with a quarter to spare.
export RELEASE_MIB=400 RELEASE_TESTS_MIB=1200 DEBUG_MIB=4000  # on disk
export JOB_MIB=1000 DEBUG_JOB_MIB=1600                        # of memory, per compiler

say() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }

# fail WHAT REMEDY…: one line for the fault, one for each way out.
fail() {
  printf '\nerror: %s\n' "$1" >&2
  shift
  local remedy
  for remedy in "$@"; do printf '       %s\n' "$remedy" >&2; done
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# cache_folder: what is fetched once and kept (the model, clang-format).
cache_folder() { printf '%s\n' "${TENON_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/tenon}"; }

# make_folder DIR: created, and a clear message where it may not be.
make_folder() {
  if mkdir -p "$1" 2>/dev/null && [ -w "$1" ]; then return 0; fi
  fail "cannot write to $1" \
    "Make it writable for $(id -un), or work in a copy of the source tree that is." \
    "The cache folder can be moved: TENON_CACHE_DIR=/some/folder $0"
}

# require_space DIR MIB WHAT: stops before work that would fill the disk.
require_space() {
  local free
  free=$(df -Pm "$1" | awk 'NR == 2 {print $4}')
  [ "$free" -ge "$2" ] || fail "$3 needs about $2 MiB in $1, of which $free MiB are free" \
    "Free some space there (df -h $1), or put the source tree on a larger disk." \
    "Old builds of this tree are in $TENON_ROOT/build and may be removed."
}

# memory_mib: what is available, within the container's limit where there is one.
memory_mib() {
  local available limit=max
  available=$(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)
  [ -r /sys/fs/cgroup/memory.max ] && limit=$(cat /sys/fs/cgroup/memory.max)
  if [ "$limit" != max ] && [ $((limit / 1048576)) -lt "$available" ]; then
    available=$((limit / 1048576))
  fi
  echo "$available"
}

# build_jobs MIB: compilers at a time: the cores, but each with MIB of memory.
build_jobs() {
  local cores by_memory
  cores=$(nproc)
  by_memory=$(($(memory_mib) / $1))
  [ "$by_memory" -ge 1 ] || by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

# progress: passes lines on, but of ninja's and CTest's counters ("[12/300 …", " 12/300 Test …") only
# one in ten per cent or in twenty seconds, so that a log stays short. "***" marks a test that did
# not pass.
progress() {
  local line now step=-1 last=$SECONDS
  while IFS= read -r line; do
    line=${line//.....}  # CTest's dotted lines
    if [[ $line =~ ^\ +Start\ +[0-9]+: ]]; then continue; fi
    if [[ $line =~ ^[\ \[]*([0-9]+)/([0-9]+) && $line != *'***'* ]]; then
      now=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
      if [ "$now" -le "$step" ] && [ $((SECONDS - last)) -lt 20 ]; then continue; fi
      step=$now last=$SECONDS
    fi
    printf '%s\n' "$line"
  done
}

# build_preset PRESET MIB_PER_JOB [TARGET…]: configure and build; ninja's own status line on a
# terminal, a line now and then elsewhere.
build_preset() {
  local preset=$1 jobs log
  jobs=$(build_jobs "$2")
  shift 2
  local targets=()
  [ $# -eq 0 ] || targets=(--target "$@")
  make_folder build
  log=build/configure-$preset.log
  say "Configuring build/$preset"
  if ! cmake --preset "$preset" >"$log" 2>&1; then
    cat "$log" >&2
    fail "cmake could not configure build/$preset (its own message is above)" \
      "A package may be missing: tools/packages.txt lists them." \
      "If this tree was moved or copied: rm -rf build/$preset"
  fi
  say "Building $preset with $jobs jobs"
  export NINJA_STATUS='[%f/%t %es] '
  if [ -t 1 ]; then
    cmake --build --preset "$preset" -j "$jobs" "${targets[@]}"
  else
    cmake --build --preset "$preset" -j "$jobs" "${targets[@]}" 2>&1 | progress
  fi || fail "the build of $preset stopped (the compiler's own message is above)" \
    "Killed compilers mean too little memory: cmake --build --preset $preset -j 1"
}
