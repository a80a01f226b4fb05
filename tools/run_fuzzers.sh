#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds every fuzz target in build/fuzz and runs each for SECONDS (default 30) from the seed corpus,
# one on each core. Fails where a target crashes, leaks, hangs, takes more than 2 GiB or does what C++
# leaves undefined; the input is then kept in build/fuzz/findings.
#   tools/run_fuzzers.sh [--seed N] [SECONDS [TARGET…]]
# N begins the mutations: 1 unless told, so that a change meets the inputs that the change before it
# met and answers for its own faults; 0 draws one, for a long search.
set -euo pipefail
cd "$(dirname "$0")/.."

seed=1
if [ "${1:-}" = --seed ]; then
  seed=${2:-}
  shift $(($# < 2 ? $# : 2))
fi
seconds=${1:-30}
shift || true
case $seed:$seconds in
  :* | *: | *[!0-9:]*)
    echo "usage: tools/run_fuzzers.sh [--seed N] [SECONDS [TARGET...]]" >&2
    exit 2
    ;;
esac
if ! command -v clang++-16 > /dev/null; then
  echo "run_fuzzers: clang++-16 is missing; install clang-16 and libclang-rt-16-dev" >&2
  exit 2
fi

build=build/fuzz
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for source in fuzz/*_fuzz.cpp; do
    name=$(basename "$source" _fuzz.cpp)
    grep -q "fuzz_target($name " fuzz/CMakeLists.txt || {
      echo "run_fuzzers: fuzz/CMakeLists.txt does not list $name" >&2
      exit 1
    }
    targets+=("$name")
  done
fi

mkdir -p build
cmake --preset fuzz > "$build.configure.log" 2>&1 || { cat "$build.configure.log" >&2; exit 1; }
cmake --build "$build" --target "${targets[@]/%/_fuzz}"
python3 tools/make_fuzz_corpus.py "$build/corpus"

# Targets that open paths make their files here: in memory where there is such a place.
scratch=/dev/shm
[ -w "$scratch" ] || scratch=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$scratch/tenon-fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 # else a finding is but a line in the log

# fuzz_one TARGET: its report in findings/TARGET.report.
fuzz_one() {
  local target=$1 log="$build/findings/$1.log" report="$build/findings/$1.report"
  mkdir -p "$build/corpus/$target" "$build/grown/$target"
  if "$build/bin/${target}_fuzz" -seed="$seed" -max_total_time="$seconds" -timeout=20 \
      -rss_limit_mb=2048 -malloc_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
      -artifact_prefix="$build/findings/$target-" \
      "$build/grown/$target" "$build/corpus/$target" > "$log" 2>&1; then
    grep -E "number_of_executed_units|peak_rss_mb" "$log" > "$report" || true
  else
    tail -n 60 "$log" > "$report"
    return 1
  fi
}

mkdir -p "$build/findings"
failed=()
side_by_side=$(nproc)
for ((first = 0; first < ${#targets[@]}; first += side_by_side)); do
  pids=()
  group=("${targets[@]:first:side_by_side}")
  for target in "${group[@]}"; do
    fuzz_one "$target" &
    pids+=($!)
  done
  for i in "${!group[@]}"; do
    wait "${pids[i]}" || failed+=("${group[i]}")
    echo "== ${group[i]}: $seconds s, seed $seed"
    cat "$build/findings/${group[i]}.report"
  done
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "run_fuzzers: failed: ${failed[*]} (inputs and logs in $build/findings)" >&2
  exit 1
fi
echo "run_fuzzers: ${#targets[@]} targets, no crash"
