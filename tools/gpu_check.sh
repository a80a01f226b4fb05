#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a GPU: tests, a subset of them under compute-sanitizer, tiny models against
# what transformers gave for them, benchmarks. Prints a table last.
#
#   tools/gpu_check.sh [BUILD_DIR]        runs what was built there (default: build)
#   tools/gpu_check.sh pack BUILD_DIR OUT copies the programs and the few libraries that they need
#                                         to OUT, for a machine with a GPU and nothing else
#   tools/gpu_check.sh run OUT            runs what was packed
#   tools/gpu_check.sh real OUT PART...   runs what was packed over the real model (the one that
#                                         ./demo fetches): the PARTs, joined in order and
#                                         those named .gz unpacked, are its .gguf file. Divergence
#                                         from transformers for every precision of activations,
#                                         weights and cache, greedy continuations, beams, a chat,
#                                         figures of a benchmark
#
# ONLY="tests sanitizer models benchmarks" chooses; FILTER is a gtest filter for the tests; LOGS a
# folder for the full output (default: a temporary one).
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
only=${ONLY:-tests sanitizer models benchmarks}
filter=${FILTER:-*}
logs=${LOGS:-$(mktemp -d)}
# Short and broad: one test of each kind of kernel.
sanitized='CudaOps.ConcatSliceGather:CudaOps.AddNorm:CudaLinear.SegmentsAndBias:CudaLinear.Gated:CudaAttention.RopeCacheWrite:CudaSampler.Processors:CudaSampler.Masks:CudaSampler.BeamsTakeOverHistories:CudaBackend.GivesTheTokensOfTheCpu:CudaBackend.CopiesAndSwapsBlocks'

programs() { # of a build folder
  find "$1/bin" -maxdepth 1 -type f -executable \( -name cuda_test -o -name api_test -o -name real_model_test -o -name cuda_model_test -o -name tenon -o -name '*_cuda_bench' \) 2>/dev/null
}

pack() {
  local out=$2 program library
  mkdir -p "$out/bin" "$out/lib"
  for program in $(programs "$1"); do
    install -s "$program" "$out/bin/"
    # What a bare machine lacks; libc, libstdc++ and the loader are its own.
    for library in $(ldd "$program" | awk '/fmt|gtest|gmock|pcre2|utf8proc|xxhash|libedit|libbsd|libmd|tinfo|libtenon/ {print $3}'); do
      cp -Lu "$library" "$out/lib/"
    done
  done
  du -sh "$out" | cut -f1
}

# Libraries opened at run time may lie in the Python packages of a machine without a toolkit.
cuda_libraries() {
  find /usr/local/cuda/lib64 /usr/local/lib /usr/lib /opt -name 'libcublasLt.so.1[23]' 2>/dev/null |
    head -1 | xargs -r dirname
}

table=()
check() { # name, command …
  local name=$1 begin status=ok
  shift
  begin=$(date +%s)
  "$@" >"$logs/$name.log" 2>&1 || status="FAILED ($?)"
  local last
  last=$(grep -E '^\[  (PASSED|FAILED|SKIPPED)|ERROR SUMMARY|tokens/s|^same|GB/s|TFLOP|KL' "$logs/$name.log" | tail -3 | tr '\n' ' ')
  table+=("$(printf '%-12s %-12s %4ds  %s' "$name" "$status" $(($(date +%s) - begin)) "$last")")
  if [ "$status" != ok ]; then
    failed=1
    grep -E 'FAILED|Failure|Error|error|Invalid|terminate|what\(\)' -A4 "$logs/$name.log" | head -"${FAILURE_LINES:-60}"
  fi
}

models() { # on the GPU: exact in float32, near in 16 bits
  export TENON_TEST_DATA_DIR=$root/tests/data
  "$bin/cuda_model_test" --gtest_brief=1 &&
    TENON_TEST_DEVICE=cuda "$bin/api_test" --gtest_brief=1 --gtest_filter='*Parity*:Llm*'
}

join_parts() { # file, parts …
  local file=$1 part
  shift
  for part in "$@"; do
    case $part in
      *.gz) gzip -dc "$part" ;;
      *) cat "$part" ;;
    esac
  done >"$file"
}

divergence() { # name, largest allowed, model, activations, cache
  check "$1" "$bin/tenon" eval --model_dir "$3" --no_cache --device cuda --activation_dtype "$4" \
    --kv_cache_dtype "$5" --reference_logprobs "$root/tests/data/real_model/logprobs.safetensors" \
    --worst 0 --max_kl "$2"
}

real() { # parts …
  local work cache weights
  work=$(mktemp -d)
  failed=0
  nvidia-smi -L || return 1
  join_parts "$work/model.gguf" "$@"
  export TENON_TEST_DATA_DIR=$root/tests/data TENON_REAL_MODEL=$work/model.gguf TENON_TEST_DEVICE=cuda
  for cache in float32 float16 bfloat16 int8; do
    case $cache in
      float32) divergence "f32-$cache" 1e-6 "$work/model.gguf" float32 $cache ;;
      int8) divergence "f32-$cache" 1e-2 "$work/model.gguf" float32 $cache ;;
      *) divergence "f32-$cache" 1e-3 "$work/model.gguf" float32 $cache ;;
    esac
    divergence "q4_1-$cache" "$([ $cache = int8 ] && echo 1e-2 || echo 1e-3)" "$work/model.gguf" bfloat16 $cache
  done
  for weights in float16 bfloat16; do # activations of 16 bits are of the weights' type
    "$bin/tenon" convert --model_dir "$work/model.gguf" --output_dir "$work/$weights" --dtype $weights \
      >"$logs/convert-$weights.log" 2>&1
    for cache in float16 bfloat16; do
      divergence "$weights-$cache" 1e-3 "$work/$weights" bfloat16 $cache
    done
  done
  check greedy "$bin/real_model_test" --gtest_brief=1 \
    --gtest_filter='RealModel.LogProbabilitiesInFp32:RealModel.Greedy*:RealModel.BeamsOfTwentyPrompts'
  check chat "$bin/tenon" run --model_dir "$work/model.gguf" --no_cache --device cuda --chat \
    --input_text 'What is the capital of France?' --max_output_len 32 --temperature 0
  check bench "$bin/tenon" bench --model_dir "$work/model.gguf" --no_cache --device cuda
  tail -3 "$logs/chat.log"
  tail -30 "$logs/bench.log"
  printf '%s\n' "${table[@]}"
  rm -rf "$work"
  return $failed
}

run_all() {
  local program
  failed=0
  if ! nvidia-smi -L; then
    echo "no GPU here: nothing was checked"
    return 1
  fi
  for item in $only; do
    case $item in
      tests) check tests "$bin/cuda_test" --gtest_brief=1 --gtest_filter="$filter" ;;
      sanitizer)
        if command -v compute-sanitizer >/dev/null; then
          check sanitizer compute-sanitizer --tool memcheck --error-exitcode 9 "$bin/cuda_test" \
            --gtest_brief=1 --gtest_filter="$sanitized"
        else
          table+=("sanitizer    NOT RUN: no compute-sanitizer")
        fi ;;
      models)
        if [ -x "$bin/api_test" ]; then check models models; else table+=("models       NOT RUN: no api_test here"); fi ;;
      benchmarks)
        for program in "$bin"/*_cuda_bench; do
          [ -x "$program" ] && check "$(basename "$program")" "$program"
        done ;;
    esac
  done
  printf '%s\n' "${table[@]}"
  return $failed
}

case ${1:-} in
  pack) pack "$2" "$3" ;;
  run)
    bin=$2/bin
    export LD_LIBRARY_PATH=$2/lib:$(cuda_libraries):${LD_LIBRARY_PATH:-}
    run_all ;;
  real)
    bin=$2/bin
    export LD_LIBRARY_PATH=$2/lib:$(cuda_libraries):${LD_LIBRARY_PATH:-}
    shift 2
    real "$@" ;;
  *)
    bin=$root/${1:-build}/bin
    [ -d "$bin" ] || bin=${1:-build}/bin
    export LD_LIBRARY_PATH=$(cuda_libraries):${LD_LIBRARY_PATH:-}
    run_all ;;
esac
