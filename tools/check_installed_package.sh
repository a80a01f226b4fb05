#!/usr/bin/env bash
# Installs a build into a scratch prefix, and uses it as a stranger would: find_package(tenon), the
# examples compiled and run on a tiny model, nothing exported but tenon's names.
#   tools/check_installed_package.sh BUILD_DIR
# SPDX-License-Identifier: Apache-2.0
# shellcheck source=tools/shell/common.sh
source "$(dirname "$0")/shell/common.sh"

build=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/moved
library=

install_package() {
  say "Installing $build into a scratch prefix"
  cmake --install "$build" --prefix "$scratch/prefix" >"$scratch/install.log" || fail "cmake --install failed"
  mv "$scratch/prefix" "$prefix"  # a package must not remember where it was installed
  library=$(find "$prefix" -name 'libtenon.so' | head -n 1)
  [ -n "$library" ] || fail "no libtenon.so in the prefix"
}

check_library() {
  local soname strangers
  soname=$(readelf -d "$library" | sed -nE 's/.*\(SONAME\).*\[(.*)\]/\1/p')
  [[ $soname == libtenon.so.* ]] || fail "libtenon.so has the soname '$soname', expected libtenon.so.N"
  if readelf -d "$library" | grep -E 'R(UN)?PATH'; then fail "libtenon.so holds a path of its build"; fi
  strangers=$(nm -DC --defined-only "$library" | cut -d ' ' -f 3- |
    grep -vE '^(typeinfo (name )?for |vtable for )?tenon::' || true)
  [ -z "$strangers" ] || fail "libtenon.so exports names that are not tenon's: $(head -n 5 <<<"$strangers")"
  note "$soname exports $(nm -D --defined-only "$library" | wc -l) names, all of namespace tenon"
}

build_consumer() {
  if ! { cmake -S tests/consumer -B "$scratch/consumer" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_PREFIX_PATH="$prefix" && cmake --build "$scratch/consumer"; } >"$scratch/consumer.log" 2>&1; then
    cat "$scratch/consumer.log" >&2
    fail "a project that uses the installed package does not build"
  fi
}

run_consumer() {
  local model=$TENON_ROOT/tests/data/models/llama_text
  (cd "$scratch" && consumer/generate "$model" >answer.txt) || fail "the example ended with an error"
  grep -q '^A mortise and tenon joint is' "$scratch/answer.txt" || fail "the example printed no answer"
  # Cancelling asks: on a busy machine 64 tokens of a tiny model may be there before.
  for _ in 1 2 3 4 5; do
    (cd "$scratch" && consumer/executor "$model" >executor.txt) || fail "the executor's example ended with an error"
    ! grep -q '^cancelled: cancelled' "$scratch/executor.txt" || break
  done
  grep -q '^cancelled: cancelled' "$scratch/executor.txt" || fail "the executor's example cancelled nothing: $(cat "$scratch/executor.txt")"
  note "the example answered: $(head -c 120 "$scratch/answer.txt" | tr -c '[:print:]' ' ')"
}

check_program() {
  "$prefix/bin/tenon" --version || fail "the installed program does not start"
}

install_package
check_library
build_consumer
run_consumer
check_program
note "the installed package works"
