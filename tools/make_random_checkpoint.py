#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of a Llama-shaped config.json with random bfloat16 weights, in sharded safetensors as
Hugging Face stores them: to time loading and building where the real one cannot be had.

  make_random_checkpoint.py SHAPE_DIR OUT      (SHAPE_DIR holds config.json; no tokenizer is made)
"""
import argparse
import json
import math
import os
import shutil
import struct
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

SHARD_BYTES = 5 << 30
BLOCK_BYTES = 64 << 20


def tensors(config):
    """[(name, shape)] in the order of the layers."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    kv = config["num_key_value_heads"] * config.get("head_dim", width // config["num_attention_heads"])
    out = [("model.embed_tokens.weight", (config["vocab_size"], width))]
    for layer in range(config["num_hidden_layers"]):
        out += [(f"model.layers.{layer}.{name}.weight", shape) for name, shape in (
            ("input_layernorm", (width,)), ("post_attention_layernorm", (width,)),
            ("self_attn.q_proj", (width, width)), ("self_attn.k_proj", (kv, width)),
            ("self_attn.v_proj", (kv, width)), ("self_attn.o_proj", (width, width)),
            ("mlp.gate_proj", (inner, width)), ("mlp.up_proj", (inner, width)),
            ("mlp.down_proj", (width, inner)))]
    out.append(("model.norm.weight", (width,)))
    if not config.get("tie_word_embeddings"):
        out.append(("lm_head.weight", (config["vocab_size"], width)))
    return out


def shards(config):
    out, size = [[]], 0
    for name, shape in tensors(config):
        count = 2 * math.prod(shape)
        if size + count > SHARD_BYTES and out[-1]:
            out.append([])
            size = 0
        out[-1].append((name, shape, count))
        size += count
    return out


def random_block():
    """bfloat16 of 0.0078 to 0.031, of both signs."""
    block = bytearray(BLOCK_BYTES)
    block[0::2] = os.urandom(BLOCK_BYTES // 2)
    block[1::2] = os.urandom(BLOCK_BYTES // 2).translate(bytes(0x3C if b < 128 else 0xBC for b in range(256)))
    return bytes(block)


def write_shard(path, listed):
    header, end = {}, 0
    for name, shape, count in listed:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + count]}
        end += count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = random_block()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for at in range(0, end, BLOCK_BYTES):
            file.write(block[: min(BLOCK_BYTES, end - at)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape_dir", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    config = json.loads((options.shape_dir / "config.json").read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copy(options.shape_dir / "config.json", options.out)
    listed = shards(config)
    names = [f"model-{i + 1:05d}-of-{len(listed):05d}.safetensors" for i in range(len(listed))]
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for done in [pool.submit(write_shard, options.out / n, s) for n, s in zip(names, listed)]:
            done.result()
    index = {tensor: name for name, shard in zip(names, listed) for tensor, _, _ in shard}
    size = sum(count for shard in listed for _, _, count in shard)
    (options.out / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": index}))
    print(f"{options.out}: {size / 2**30:.1f} GiB in {len(names)} files")


if __name__ == "__main__":
    main()
