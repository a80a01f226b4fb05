#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of CUDA kernels and torch's figures for the same work, one after the other on one
device: each case of ops_cuda_bench and attention_cuda_bench that torch has an answer to, in
bfloat16, on random data, recorded in a CUDA graph.

  bench_beside_torch.py BIN_DIR [--only TEXT] [--json FILE]

BIN_DIR: where the benchmarks are. Prints microseconds of both and torch's over Tenon's. Torch
reads dense keys and values (no paged cache), by cuDNN and by its flash kernels; its sampling is
the usual chain of operations, its rope the one of transformers.
"""
import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

ROTATED = 512 << 20  # bytes of all operands in turn, so that no cache holds them
HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128


def microseconds(run, copies):
    """Of run(copy), the median of replays of a graph of several; nothing where it cannot be one."""
    launches = max(24 if copies > 1 else 4, copies)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run(0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(launches):
            run(i % copies)
    times = []
    for _ in range(12):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / launches)
    return statistics.median(times[1:])


def copies_of(size):
    return max(2, min(64, ROTATED // max(1, size)))


def random(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape, device="cuda", dtype=dtype)


def several(count, make):
    return [make() for _ in range(count)]


def norm(rows, width):
    copies = copies_of(4 * rows * width)
    x, gain = several(copies, lambda: random(rows, width)), random(width)
    return {"rms_norm": microseconds(lambda i: functional.rms_norm(x[i], (width,), gain), copies)}


def add_norm(rows, width):
    copies = copies_of(8 * rows * width)
    a, b = (several(copies, lambda: random(rows, width)) for _ in range(2))
    gain = random(width)

    def run(i):
        total = a[i] + b[i]
        return total, functional.rms_norm(total, (width,), gain)

    return {"add, rms_norm": microseconds(run, copies)}


def rope_cache_write(tokens):
    copies = copies_of(2 * tokens * (2 * HEADS + 4 * KV_HEADS) * HEAD_DIM)
    q = several(copies, lambda: random(tokens, HEADS, HEAD_DIM))
    k, v = (several(copies, lambda: random(tokens, KV_HEADS, HEAD_DIM)) for _ in range(2))
    angle = torch.rand(tokens, 1, HEAD_DIM // 2, device="cuda") * 100
    cos, sin = (torch.cat((f(angle), f(angle)), -1).to(torch.bfloat16) for f in (torch.cos, torch.sin))
    keys, values = (random(max(tokens, 4096), KV_HEADS, HEAD_DIM) for _ in range(2))
    places = torch.randperm(keys.shape[0], device="cuda")[:tokens]

    def rotated(x):
        half = HEAD_DIM // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin

    def run(i):
        keys.index_copy_(0, places, rotated(k[i]))
        values.index_copy_(0, places, v[i])
        return rotated(q[i])

    return {"rope, index_copy": microseconds(run, copies)}


def embedding(rows, vocabulary, width):
    copies = copies_of(2 * rows * width)
    table = random(vocabulary, width)
    ids = several(copies, lambda: torch.randint(vocabulary, (rows,), device="cuda"))
    return {"embedding": microseconds(lambda i: functional.embedding(ids[i], table), copies)}


def gated_activation(rows, width):
    copies = copies_of(6 * rows * width)
    gate, up = (several(copies, lambda: random(rows, width)) for _ in range(2))
    return {"silu, mul": microseconds(lambda i: functional.silu(gate[i]) * up[i], copies)}


def gather_rows(rows, of, width):
    copies = copies_of(2 * of * width)
    x = several(copies, lambda: random(of, width))
    index = several(copies, lambda: torch.randint(of, (rows,), device="cuda"))
    return {"index_select": microseconds(lambda i: x[i].index_select(0, index[i]), copies)}


def drawn(logits, top_k, top_p):
    if top_k:
        logits, tokens = logits.topk(top_k)
    elif top_p:
        logits, tokens = logits.sort(descending=True)
    chances = logits.softmax(-1)
    if top_p:
        chances = chances.masked_fill(chances.cumsum(-1) - chances > top_p, 0)
    drawn_at = chances.multinomial(1)
    return tokens.gather(-1, drawn_at) if top_k or top_p else drawn_at


def sample(what, rows, vocabulary):
    copies = copies_of(4 * rows * vocabulary)

    def row_like():
        x = random(rows, vocabulary, dtype=torch.float32)
        if "flat" in what:
            return x
        raised = torch.rand_like(x) < 40 / vocabulary
        return 1.5 * x + raised * (5 + 10 * torch.rand_like(x))

    logits = several(copies, row_like)
    if what == "greedy":
        return {"argmax": microseconds(lambda i: logits[i].argmax(-1), copies)}
    top_k = 50 if "top_k" in what else 0
    top_p = 0.9 if "top_p" in what else 0.0
    used = torch.randint(vocabulary, (rows, 1000), device="cuda")

    def run(i):
        x = logits[i]
        if "penalties" in what:
            found = x.gather(-1, used)
            x = x.scatter(-1, used, torch.where(found < 0, found * 1.1, found / 1.1))
        return drawn(x, top_k, top_p)

    first = "topk, " if top_k else "sort, " if top_p else ""
    return {first + "softmax, multinomial": microseconds(run, copies)}


def attention(sequences, fresh, keys, heads, kv_heads, width):
    copies = max(1, min(16, (200 << 20) // (4 * sequences * keys * kv_heads * width)))

    def tokens(count, length):
        return several(copies, lambda: random(sequences, count, length, width))

    q, k, v = tokens(heads, fresh), tokens(kv_heads, keys), tokens(kv_heads, keys)
    found = {}
    for name, backend in (("flash", SDPBackend.FLASH_ATTENTION), ("cuDNN", SDPBackend.CUDNN_ATTENTION)):
        with sdpa_kernel(backend):
            found[name] = microseconds(
                lambda i: functional.scaled_dot_product_attention(
                    q[i], k[i], v[i], is_causal=fresh > 1, enable_gqa=heads != kv_heads), copies)
    return found


def rivals(case):
    """{what of torch: microseconds} of a case by its name; nothing where torch has no such thing."""
    for pattern, run in (
        (r"norm (\d+) x (\d+)", norm),
        (r"add_norm (\d+) x (\d+)", add_norm),
        (r"rope_cache_write (\d+) tokens, bfloat16", rope_cache_write),
        (r"embedding (\d+) of (\d+) x (\d+)", embedding),
        (r"gated_activation (\d+) x (\d+)", gated_activation),
        (r"gather_rows (\d+) of (\d+) x (\d+)", gather_rows),
    ):
        if match := re.fullmatch(pattern, case):
            return run(*map(int, match.groups()))
    if match := re.fullmatch(r"sample (.*), (\d+) x (\d+)", case):
        return sample(match[1], int(match[2]), int(match[3]))
    # "context 4 x 4096[, what is told by the numbers] HEADSxKV_HEADSxHEAD_DIM KERNEL"
    pattern = r"(context|decode) (\d+) x (\d+)(?:, heads of \d+|, own keys for each head)? (\d+)x(\d+)x(\d+) \w+"
    if match := re.fullmatch(pattern, case):
        sequences, keys, *sizes = map(int, match.groups()[1:])
        return attention(sequences, keys if match[1] == "context" else 1, keys, *sizes)
    return {}


def tenon_figures(program, only):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        subprocess.run([program, only, "--json", file] if only else [program, "--json", file],
                       check=True, stdout=subprocess.DEVNULL)
        return json.loads(file.read_text())["cases"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin_dir", type=Path)
    parser.add_argument("--only", default="", help="cases of ops_cuda_bench, kernels of attention_cuda_bench")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = {}
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"{'case':<64} {'us':>10} {'of the roof':>11}  torch, us (over Tenon's)")
    for name in ("ops_cuda_bench", "attention_cuda_bench"):
        program = options.bin_dir / name
        if not program.exists():
            sys.exit(f"{program}: not there; build with -DTENON_BENCH=ON")
        for case, figures in tenon_figures(program, options.only).items():
            us = figures["us"] if "us" in figures else figures["ms"] * 1e3
            try:
                found = rivals(case)
            except RuntimeError as error:
                torch.cuda.synchronize()
                found = {}
                print(f"  torch: {str(error).splitlines()[0][:120]}")
            torch.cuda.empty_cache()
            rows[case] = {"us": us, "share": figures["share"]} | {f"torch {k} us": v for k, v in found.items()}
            beside = ", ".join(f"{label} {value:.1f} ({value / us:.2f})" for label, value in found.items())
            print(f"{case:<64} {us:>10.2f} {100 * figures['share']:>10.0f}%  {beside}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"device": torch.cuda.get_device_name(), "cases": rows}, indent=1))


if __name__ == "__main__":
    main()
