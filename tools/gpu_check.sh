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
#   tools/gpu_check.sh speed OUT FILE     the speed table of docs/performance.md: Llama-3.1-8B's shape with
#                                         random weights, each row added to FILE (JSON, see
#                                         tools/bench_results.py). ROWS chooses by a pattern of case
#   tools/gpu_check.sh load OUT FILE       building and loading that shape in bfloat16 from the page
#                                         cache (48 GB in TMPDIR), three times each, to FILE
#   tools/gpu_check.sh profile OUT        time per kernel of decode steps and of context steps of that
#                                         shape: as they ran (kernel_trace), beside each kernel's floor
#                                         by ncu's counters. ROWS chooses by a pattern of name
#
# ONLY="tests sanitizer models benchmarks" chooses; FILTER is a gtest filter for the tests; PARTS runs
# the tests in as many processes at once (default: 1); LOGS a folder for the full output (default: a
# temporary one).
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
only=${ONLY:-tests sanitizer models benchmarks}
filter=${FILTER:-*}
logs=${LOGS:-$(mktemp -d)}
# Short and broad: one test of each kind of kernel.
sanitized='CudaOps.ConcatSliceGather:CudaOps.AddNorm:CudaLinear.SegmentsAndBias:CudaLinear.Gated:CudaTactics.EveryWayGivesTheSame:CudaAttention.RopeCacheWrite:CudaAttention.EveryCacheType:CudaAttentionFast.Windows:CudaSampler.Processors:CudaSampler.Masks:CudaSampler.BeamsTakeOverHistories:CudaBackend.GivesTheTokensOfTheCpu:CudaBackend.CopiesAndSwapsBlocks'
# initcheck does not see what cuBLASLt's bulk stores write, and blocks are copied whole, also where a
# sequence has not filled them.
not_for_initcheck='CudaTactics.EveryWayGivesTheSame:CudaBackend.CopiesAndSwapsBlocks'
# racecheck takes minutes where the others take seconds. It does not follow that one lane of a warp
# arrives at a barrier for all after a warp barrier: context attention over 8-bit caches, where such
# lanes write what others read, is left out (built with arrivals of every lane it finds nothing).
raced='CudaOps.AddNorm:CudaLinear.SegmentsAndBias:CudaLinear.Gated:CudaLinearWidening.*:CudaAttentionHopper.HeadsOf256:CudaSampler.Masks'

programs() { # of a build folder
  find "$1/bin" -maxdepth 1 -type f -executable \( -name cuda_test -o -name api_test -o -name real_model_test -o -name cuda_model_test -o -name tenon -o -name '*cuda*_bench' -o -name libkernel_trace.so \) 2>/dev/null
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

use_libraries() { # folders that come first
  local found
  found=$(cuda_libraries)
  export LD_LIBRARY_PATH=${1:+$1:}$found:${LD_LIBRARY_PATH:-}
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

# All tests of cuda_test, in PARTS processes side by side.
tests() {
  local part parts=${PARTS:-1} pids=() status=0
  for part in $(seq 0 $((parts - 1))); do
    GTEST_TOTAL_SHARDS=$parts GTEST_SHARD_INDEX=$part "$bin/cuda_test" --gtest_brief=1 --gtest_filter="$filter" &
    pids+=($!)
  done
  for part in "${pids[@]}"; do wait "$part" || status=1; done
  return $status
}

sanitize() { # tool, filter
  check "$1" timeout "${SANITIZER_SECONDS:-600}" compute-sanitizer --tool "$1" --error-exitcode 9 "$bin/cuda_test" \
    --gtest_brief=1 --gtest_filter="$2"
}

models() { # on the GPU: exact in float32, near in 16 bits
  export TENON_TEST_DATA_DIR=$root/tests/data
  "$bin/cuda_model_test" --gtest_brief=1 &&
    TENON_TEST_DEVICE=cuda "$bin/api_test" --gtest_brief=1 --gtest_filter='*Parity*:Llm*:Quantization.Logits*:Quantization.Float8*:Quantization.Random*'
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

# Quantized weights on the GPU with 16-bit activations, from the CPU's fp32 run of the same weights;
# with fp8 activations, from the model that is not quantized.
quantized() { # model, folder
  local form given weights=$2/quantized own=$2/own.safetensors
  local reference=$root/tests/data/real_model/logprobs.safetensors
  for form in int8 fp8 "int4 --group_size 64"; do
    given=${form%% *}
    rm -rf "$weights"
    # shellcheck disable=SC2086 # flags
    "$bin/tenon" convert --model_dir "$1" --output_dir "$weights" --use_weight_only --weight_only_precision $form \
      >"$logs/convert-$given.log" 2>&1
    "$bin/tenon" eval --model_dir "$weights" --no_cache --device cpu --activation_dtype float32 \
      --kv_cache_dtype float32 --reference_logprobs "$reference" --save_logprobs "$own" --worst 0 >"$logs/cpu-$given.log" 2>&1
    table+=("$(printf '%-25s %s' "$given, CPU, from exact" "$(grep KL "$logs/cpu-$given.log")")")
    check "$given-bfloat16" "$bin/tenon" eval --model_dir "$weights" --no_cache --device cuda --activation_dtype bfloat16 \
      --kv_cache_dtype bfloat16 --reference_logprobs "$own" --worst 0 --max_kl 1e-3
    [ "$given" = fp8 ] && check fp8-fp8-from-exact "$bin/tenon" eval --model_dir "$weights" --no_cache --device cuda \
      --activation_dtype float8_e4m3 --kv_cache_dtype bfloat16 --reference_logprobs "$reference" --worst 0 --max_kl 5e-2
  done
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
  quantized "$work/model.gguf" "$work"
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
      tests) check tests tests ;;
      sanitizer)
        if command -v compute-sanitizer >/dev/null; then
          sanitize memcheck "$sanitized"
          sanitize synccheck "$sanitized"
          sanitize initcheck "$sanitized:-$not_for_initcheck"
          sanitize racecheck "$raced"
        else
          table+=("sanitizer    NOT RUN: no compute-sanitizer")
        fi ;;
      models)
        if [ -x "$bin/api_test" ]; then check models models; else table+=("models       NOT RUN: no api_test here"); fi ;;
      benchmarks)
        for program in "$bin"/*cuda*_bench; do
          [ -x "$program" ] && check "$(basename "$program")" "$program"
        done
        if python3 -c 'import torch' 2>/dev/null; then
          check torch "$root/tools/bench_beside_torch.py" "$bin" --json "$logs/torch.json"
        else
          table+=("torch        NOT RUN: python3 has no torch")
        fi ;;
    esac
  done
  printf '%s\n' "${table[@]}"
  return $failed
}

shape=benchmarks/shapes/llama-3.1-8b # commands are kept as they are run: from the root

# speed_row FILE NAME MODE FLAGS...: median of three runs of `tenon bench`.
speed_row() {
  local file=$1 name=$2 mode=$3
  shift 3
  # shellcheck disable=SC2254 # a pattern on purpose
  case $name in ${ROWS:-*}) ;; *) return 0 ;; esac
  "$root/tools/bench_results.py" record --runs 1 "$file" "$name" -- "$bin/tenon" bench "$mode" "$shape" \
    --load_format dummy --device cuda --memory_bandwidth 4650 --tactics refresh --runs "${RUNS:-3}" "$@" >"$logs/$name.log" 2>&1 ||
    { failed=1; tail -5 "$logs/$name.log"; }
  table+=("$(printf '%-22s %s' "$name" "$(grep -E '^output |^decode step' "$logs/$name.log" | tr -s ' ' | tr '\n' ';')")")
}

speed() { # file
  local fp8=(--quantization FP8 --activation_dtype float8_e4m3)
  local one=(latency --num_requests 3 --input_mean 128 --output_mean 128 --max_num_tokens 2048)
  local short=(throughput --num_requests 1024 --input_mean 128 --output_mean 128 --max_batch_size 512
    --max_num_tokens 4096)
  local even=(throughput --num_requests 256 --input_mean 1000 --output_mean 1000 --max_batch_size 256
    --max_num_tokens 4096)
  local long=(throughput --num_requests 256 --input_mean 2048 --output_mean 128 --max_batch_size 256
    --max_num_tokens 4096)
  local together=(throughput --num_requests 64 --input_mean 128 --output_mean 128 --max_batch_size 64
    --max_num_tokens 2048)
  failed=0
  nvidia-smi -L && cd "$root" || return 1
  speed_row "$1" decode-1-bf16 "${one[@]}"
  speed_row "$1" decode-1-fp8 "${one[@]}" --quantization FP8
  speed_row "$1" decode-1-int8 "${one[@]}" --quantization W8A16
  speed_row "$1" decode-1-int4 "${one[@]}" --quantization W4A16
  speed_row "$1" decode-1-bf16-deterministic "${one[@]}" --deterministic
  speed_row "$1" together-64-bf16 "${together[@]}"
  speed_row "$1" together-64-bf16-deterministic "${together[@]}" --deterministic
  speed_row "$1" together-64-int4 "${together[@]}" --quantization W4A16
  speed_row "$1" 128-128-bf16 "${short[@]}"
  speed_row "$1" 128-128-fp8 "${short[@]}" "${fp8[@]}"
  speed_row "$1" 1000-1000-bf16 "${even[@]}"
  speed_row "$1" 1000-1000-fp8 "${even[@]}" "${fp8[@]}"
  speed_row "$1" 1000-1000-fp8-cache "${even[@]}" "${fp8[@]}" --kv_cache_dtype float8_e4m3
  speed_row "$1" 2048-128-bf16 "${long[@]}"
  speed_row "$1" 2048-128-fp8 "${long[@]}" "${fp8[@]}"
  printf '%s\n' "${table[@]}"
  return $failed
}

# `tenon build` and `tenon bench`, whole commands; the second says what of it is loading.
load() { # file
  local work run
  nvidia-smi -L && cd "$root" || return 1
  failed=0
  work=$(mktemp -d)
  "$root/tools/make_random_checkpoint.py" "$shape" "$work/checkpoint"
  for run in 1 2 3; do
    rm -rf "$work/engine"
    check "build-$run" "$bin/tenon" build --model_dir "$work/checkpoint" --output_dir "$work/engine"
    grep -h ' in .* s ' "$logs/build-$run.log"
  done
  check load "$root/tools/bench_results.py" record --runs 3 "$1" load-8b-bf16 -- "$bin/tenon" bench latency \
    --engine_dir "$work/engine" --device cuda --num_requests 1 --warmup 0 --input_mean 8 --output_mean 1 --tactics off
  "$root/tools/bench_results.py" show "$1" --only load
  rm -rf "$work"
  printf '%s\n' "${table[@]}"
  return $failed
}

# profiled NAME KIND SKIP COUNT FLAGS...: a step as it ran, beside floors by counters of COUNT launches
# after the first SKIP (of a run that measures no ways: their launches would come first). KIND: --longest (a step of context), or nothing: the step that came most often.
profiled() {
  local name=$1 kind=$2 skip=$3 count=$4 status=0
  shift 4
  # shellcheck disable=SC2254 # a pattern on purpose
  case $name in ${ROWS:-*}) ;; *) return 0 ;; esac
  local command=("$bin/tenon" bench throughput "$shape" --load_format dummy --device cuda --warmup 0
    --memory_bandwidth 4650 "$@")
  ncu --clock-control none --cache-control none --graph-profiling node --csv --launch-skip "$skip" --launch-count "$count" \
    --metrics gpu__time_duration.sum,dram__bytes.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed \
    "${command[@]}" --tactics off >"$logs/$name.csv" 2>"$logs/$name.log" || status=1
  CUDA_INJECTION64_PATH=$bin/libkernel_trace.so TENON_KERNEL_TRACE=$logs/$name.trace.csv \
    "${command[@]}" --tactics refresh >"$logs/$name.traced.log" 2>&1 || status=1
  echo "## $name: $(grep -E '^decode step' "$logs/$name.traced.log" | tr -s ' ') as traced"
  "$root/tools/kernel_profile.py" "$logs/$name.csv" --trace "$logs/$name.trace.csv" ${kind:+"$kind"} || status=1
  [ $status = 0 ] || tail -qn 3 "$logs/$name.log" "$logs/$name.traced.log"
  return $status
}

# A step of 32 layers is some 260 launches; the first steps are context and the recording of graphs.
profile() {
  nvidia-smi -L && command -v ncu && cd "$root" || return 1
  local one=(--num_requests 1 --input_mean 128 --output_mean 32)
  local many=(--num_requests 256 --input_mean 128 --output_mean 40 --max_batch_size 256 --max_num_tokens 4096)
  local prompts=(--num_requests 8 --input_mean 2048 --output_mean 1 --max_num_tokens 4096)
  local fp8=(--quantization FP8 --activation_dtype float8_e4m3)
  profiled decode-of-1-bf16 "" 2000 270 "${one[@]}"
  profiled decode-of-1-int4 "" 2000 270 "${one[@]}" --quantization W4A16
  profiled decode-of-256-fp8 "" 8000 400 "${many[@]}" "${fp8[@]}"
  profiled context-bf16 --longest 30 300 "${prompts[@]}"
  profiled context-fp8 --longest 30 300 "${prompts[@]}" "${fp8[@]}"
}

case ${1:-} in
  pack) pack "$2" "$3" ;;
  run)
    bin=$2/bin
    use_libraries "$2/lib"
    run_all ;;
  speed | profile | load)
    bin=$(realpath "$2")/bin
    use_libraries "$(realpath "$2")/lib"
    "$1" "${3:+$(realpath -m "$3")}" ;;
  real)
    bin=$2/bin
    use_libraries "$2/lib"
    shift 2
    real "$@" ;;
  *)
    bin=$root/${1:-build}/bin
    [ -d "$bin" ] || bin=${1:-build}/bin
    use_libraries
    run_all ;;
esac
