# SPDX-License-Identifier: Apache-2.0
"""Inverse frequencies of every rope kind, as transformers computes them.

    python tools/make_layer_fixtures.py tests/data/rope/inv_freq.json

The file is a list of cases: {"name", "head_dim", "max_position_embeddings", "rope_parameters",
"seq_len" (null unless the kind depends on it), "inv_freq" [head_dim / 2], "attention_factor"}.
Cosines and sines are those of position * inv_freq, both times attention_factor.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192, "rope_theta": 500000.0}
SHORT = [1.0 + 0.02 * i for i in range(16)]
LONG = [1.0 + 0.75 * i for i in range(16)]
LONGROPE = {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG,
            "original_max_position_embeddings": 4096, "rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "original_max_position_embeddings": 4096, "rope_theta": 10000.0}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}

# name, head_dim, max_position_embeddings, rope_parameters, seq_len
CASES = [
    ("default", 64, 2048, {"rope_type": "default", "rope_theta": 10000.0}, None),
    ("default_theta_1e6", 128, 32768, {"rope_type": "default", "rope_theta": 1000000.0}, None),
    ("default_head_dim_12", 12, 512, {"rope_type": "default", "rope_theta": 100000.0}, None),
    ("linear", 64, 8192, {"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0}, None),
    ("dynamic_short", 64, 2048, DYNAMIC, 100),
    ("dynamic_at_limit", 64, 2048, DYNAMIC, 2048),
    ("dynamic_over_by_one", 64, 2048, DYNAMIC, 2049),
    ("dynamic_long", 64, 2048, DYNAMIC, 8192),
    ("llama_3_1", 128, 131072, {**LLAMA3, "factor": 8.0}, None),
    ("llama_3_2", 64, 131072, {**LLAMA3, "factor": 32.0}, None),
    ("llama3_small", 16, 256, {**LLAMA3, "factor": 4.0, "original_max_position_embeddings": 32,
                               "rope_theta": 10000.0}, None),
    ("yarn", 64, 16384, {**YARN, "factor": 4.0}, None),
    ("yarn_qwen2_5", 128, 131072, {**YARN, "factor": 4.0, "rope_theta": 1000000.0,
                                   "original_max_position_embeddings": 32768}, None),
    ("yarn_attention_factor", 64, 16384, {**YARN, "factor": 4.0, "attention_factor": 0.7}, None),
    ("yarn_betas", 64, 32768, {**YARN, "factor": 8.0, "beta_fast": 16.0, "beta_slow": 2.0}, None),
    ("yarn_not_truncated", 64, 32768, {**YARN, "factor": 8.0, "truncate": False}, None),
    ("yarn_mscale", 64, 163840, {**YARN, "factor": 40.0, "mscale": 1.0, "mscale_all_dim": 0.8},
     None),
    ("yarn_mscale_equal", 64, 163840, {**YARN, "factor": 40.0, "mscale": 0.707,
                                       "mscale_all_dim": 0.707}, None),
    ("longrope_short", 32, 131072, {**LONGROPE, "factor": 32.0}, 4096),
    ("longrope_long", 32, 131072, {**LONGROPE, "factor": 32.0}, 4097),
    ("longrope_no_factor", 32, 131072, LONGROPE, 4097),
    ("longrope_attention_factor", 32, 131072, {**LONGROPE, "factor": 32.0,
                                               "attention_factor": 1.5}, 4097),
]


def make_case(name: str, head_dim: int, max_positions: int, rope: dict,
              seq_len: int | None) -> dict:
    config = LlamaConfig(hidden_size=2 * head_dim, num_attention_heads=2, head_dim=head_dim,
                         max_position_embeddings=max_positions, rope_parameters=dict(rope))
    if rope["rope_type"] == "default":
        inv_freq, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        # The models pass a tensor here, which makes dynamic NTK compute in float32.
        length = None if seq_len is None else torch.tensor(seq_len)
        inv_freq, factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, None, seq_len=length)
    return {"name": name, "head_dim": head_dim, "max_position_embeddings": max_positions,
            "rope_parameters": rope, "seq_len": seq_len, "inv_freq": inv_freq.tolist(),
            "attention_factor": float(factor)}


def main() -> None:
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    cases = [make_case(*case) for case in CASES]
    document = {"made_by": "tools/make_layer_fixtures.py",
                "transformers": transformers.__version__, "torch": torch.__version__,
                "cases": cases}
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    header = json.dumps({k: v for k, v in document.items() if k != "cases"})
    out.write_text(f'{header[:-1]}, "cases": [\n{lines}\n]}}\n')
    json.loads(out.read_text())


if __name__ == "__main__":
    main()
