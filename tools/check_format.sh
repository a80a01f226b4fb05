#!/usr/bin/env bash
# clang-format over every C++ and CUDA file, in the one version that .clang-format is written for.
#   tools/check_format.sh [fix]
# SPDX-License-Identifier: Apache-2.0
# shellcheck source=tools/shell/common.sh
source "$(dirname "$0")/shell/common.sh"
# shellcheck source=tools/shell/packages.sh
source tools/shell/packages.sh

VERSION=18.1.8

# Distributions have other versions, which format otherwise: this one comes from PyPI, unpacked once.
install_packages format
folder=$(cache_folder)/clang-format-$VERSION
clang_format=$folder/clang_format/data/bin/clang-format
if [ ! -x "$clang_format" ]; then
  make_folder "$folder"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$scratch" \
    "clang-format==$VERSION" || fail "pip could not download clang-format $VERSION" \
    "No network? python3 -m pip download clang-format==$VERSION must work."
  python3 -m zipfile -e "$scratch"/clang_format-*.whl "$folder"
  chmod +x "$clang_format"
fi

# Generated tables are as their script writes them.
mapfile -t files < <(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | grep -v '^src/text/unicode_data\.cpp$')
if [ "${1:-}" = fix ]; then
  "$clang_format" -i "${files[@]}"
  note "formatted ${#files[@]} files"
elif faults=$("$clang_format" --dry-run --Werror "${files[@]}" 2>&1); then
  note "formatting: ${#files[@]} files are as clang-format $VERSION writes them"
else
  printf '%s\n' "$faults" | sed -nE 's/^([^:]+):[0-9]+:[0-9]+: error:.*/\1/p' | sort | uniq -c
  fail "the files above are not formatted (count of places)" "./check format fix"
fi
