#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Encoding and decoding speed of Hugging Face tokenizers 0.23.3, one thread, CPU time: the figures
to set beside those of benchmarks/tokenizer_bench.

    python3 tools/bench_tokenizers.py tokenizer.json TEXT...
"""
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer  # noqa: E402  (after the thread settings)


def best_of(runs, work):
    best = float("inf")
    for _ in range(runs):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1])
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        size = len(text.encode())
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        encode = best_of(3, lambda: tokenizer.encode(text, add_special_tokens=False))
        decode = best_of(3, lambda: tokenizer.decode(ids, skip_special_tokens=False))
        print(f"{path}: {size} bytes, {len(ids)} ids, encode {size / encode / 1e6:.2f} MB/s, "
              f"decode {size / decode / 1e6:.2f} MB/s")


main()
