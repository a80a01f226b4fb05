#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Torch's attention on the shapes of attention_cuda_bench, for comparison: bfloat16, dense keys and
values (no paged cache), causal. Prints milliseconds and products or bytes a second of each backend.

    tools/bench_attention_torch.py
"""
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attention

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
# name, sequences, tokens of each, cached tokens, heads, key-value heads, head_dim
CASES = [
    ("context", 16, 1024, 0, 32, 8, 128),
    ("context", 4, 4096, 0, 32, 8, 128),
    ("context", 1, 16384, 0, 32, 8, 128),
    ("context", 4, 4096, 0, 32, 32, 128),
    ("context", 4, 4096, 0, 32, 8, 64),
    ("decode", 64, 1, 4095, 32, 8, 128),
    ("decode", 1, 1, 32767, 32, 8, 128),
]


def median_ms(run):
    for _ in range(3):
        run()
    times = []
    for _ in range(10):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def main():
    for name, sequences, fresh, cached, heads, kv_heads, width in CASES:
        keys = cached + fresh

        def random(count, tokens):
            return torch.randn(sequences, count, tokens, width, device="cuda", dtype=torch.bfloat16)

        q, k, v = random(heads, fresh), random(kv_heads, keys), random(kv_heads, keys)
        pairs = fresh * (fresh + 1) / 2 + fresh * cached
        flops = 4 * sequences * heads * width * pairs
        size = 2 * (k.numel() * 2 + q.numel() * 2)
        for label, backend in BACKENDS.items():
            with sdpa_kernel(backend):
                try:
                    ms = median_ms(
                        lambda: attention(q, k, v, is_causal=fresh > 1, enable_gqa=heads != kv_heads)
                    )
                except RuntimeError as error:
                    print(f"{name} {sequences} x {keys}: {label} {str(error).splitlines()[0]}")
                    continue
            print(
                f"{name} {sequences} x {keys}, heads {heads}/{kv_heads} of {width}: torch {label} "
                f"{ms:.4f} ms {flops / ms * 1e-9:.1f} TFLOP/s {size / ms * 1e-9:.2f} TB/s"
            )


if __name__ == "__main__":
    main()
