# SPDX-License-Identifier: Apache-2.0
"""What transformers' logits processors and warpers make of random logits.

    python tools/make_sampling_fixtures.py tests/data/sampling/processors.json

"rows": logits. "cases": {"name", "row", "prompt", "outputs", "end_ids", "params" (names of
SamplingParams), "processed": the row after the processors (null: -infinity), "kept": [[token,
probability], ...] after temperature and the warpers}. In "beams" the row is log-softmaxed over the
temperature first and "processed" is what a beam search ranks. transformers builds the lists of
processors itself, out of a GenerationConfig, so their order is its own.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import GenerationConfig
from transformers.generation.utils import GenerationMixin

VOCABULARY = 40
END_IDS = [2, 7]
# Prompt and output of every case: few different tokens, so that runs come back.
PROMPT = [5, 9, 5, 9, 11, 30, 5, 9, 2]
OUTPUTS = [11, 5, 9, 11, 12, 11, 5, 9]

# name, parameters. Names are those of SamplingParams; NAMES says how transformers calls them.
CASES = [
    ("plain", {}),
    ("temperature", {"temperature": 0.55}),
    ("top_k", {"top_k": 6}),
    ("top_p", {"top_p": 0.7}),
    ("top_p_tiny", {"top_p": 0.01}),
    ("top_p_nearly_all", {"top_p": 0.995}),
    ("min_p", {"min_p": 0.15}),
    ("typical_half", {"typical_p": 0.5}),
    ("typical_tiny", {"typical_p": 0.02}),
    ("typical_most", {"typical_p": 0.95}),
    ("typical_hot", {"typical_p": 0.6, "temperature": 1.7}),
    ("typical_after_top_k", {"typical_p": 0.4, "top_k": 9}),
    ("typical_after_top_p", {"typical_p": 0.5, "top_p": 0.8, "temperature": 0.8}),
    ("typical_after_min_p", {"typical_p": 0.5, "min_p": 0.1}),
    ("all_warpers", {"temperature": 1.3, "top_k": 20, "top_p": 0.9, "min_p": 0.05,
                     "typical_p": 0.8}),
    ("repetition", {"repetition_penalty": 1.6}),
    ("repetition_reward", {"repetition_penalty": 0.7}),
    ("repetition_ignores_prompt", {"repetition_penalty": 1.6, "prompt_ignore_length": 9}),
    ("repetition_ignores_part", {"repetition_penalty": 1.6, "prompt_ignore_length": 6}),
    ("ngram_1", {"no_repeat_ngram_size": 1}),
    ("ngram_2", {"no_repeat_ngram_size": 2}),
    ("ngram_3", {"no_repeat_ngram_size": 3}),
    ("ngram_4", {"no_repeat_ngram_size": 4}),
    ("ngram_longer_than_all", {"no_repeat_ngram_size": 50}),
    ("bad_words", {"bad_words": [[3], [9, 4], [5, 9, 6], [11, 5, 9, 8], [9, 9, 1], [5, 13]]}),
    ("bad_words_over_the_prompt", {"bad_words": [[2] + OUTPUTS + [0], [5, 2] + OUTPUTS + [1]]}),
    ("bias", {"logit_bias": [[4, 3.5], [9, -2.25], [39, 12.0]]}),
    ("bias_then_penalty", {"logit_bias": [[9, -2.25], [11, 4.0]], "repetition_penalty": 2.0}),
    ("min_tokens", {"min_tokens": 9}),
    ("min_tokens_reached", {"min_tokens": 8}),
    ("everything", {"temperature": 0.9, "top_k": 25, "top_p": 0.95, "min_p": 0.01,
                    "typical_p": 0.9, "repetition_penalty": 1.2, "no_repeat_ngram_size": 3,
                    "bad_words": [[3], [9, 4]], "logit_bias": [[2, 5.0], [6, 1.5]],
                    "min_tokens": 20}),
]
BEAMS = [
    ("plain", {}),
    ("temperature", {"temperature": 1.8}),
    ("everything", {"temperature": 0.7, "repetition_penalty": 1.3, "no_repeat_ngram_size": 3,
                    "bad_words": [[3], [9, 4]], "logit_bias": [[6, 1.5]], "min_tokens": 20}),
]
NAMES = {"bad_words": "bad_words_ids", "min_tokens": "min_new_tokens"}
WARPERS = ["top_k", "top_p", "min_p", "typical_p"]


def processors(params: dict, sample: bool) -> list:
    """The processors of a call of generate(), warpers included where it samples."""
    given = {NAMES.get(name, name): value for name, value in params.items()}
    ignored = given.pop("prompt_ignore_length", 0)
    if bias := given.pop("logit_bias", None):
        given["sequence_bias"] = [[[token], value] for token, value in bias]
    given.setdefault("top_k", 0)
    config = GenerationConfig(do_sample=sample, **given)
    config._eos_token_tensor = torch.tensor(END_IDS)

    class Model(GenerationMixin):
        def __init__(self):
            self.config = type("Config", (), {
                "is_encoder_decoder": False,
                "get_text_config": lambda self: type("Text", (), {"vocab_size": VOCABULARY})})()

    made = Model()._get_logits_processor(config, input_ids_seq_length=len(PROMPT), device="cpu")
    if ignored:
        for processor in made:
            if type(processor).__name__ == "RepetitionPenaltyLogitsProcessor":
                processor.prompt_ignore_length = ignored
    return made


def apply(made: list, row: torch.Tensor) -> torch.Tensor:
    ids = torch.tensor([PROMPT + OUTPUTS])
    scores = row.unsqueeze(0).clone()
    for processor in made:
        scores = processor(ids, scores)
    return scores[0]


def numbers(row: torch.Tensor) -> list:
    return [None if x == float("-inf") else float(f"{x:.7g}") for x in row.tolist()]


def common(name: str, row: int, params: dict) -> dict:
    return {"name": f"{name}/{row}", "row": row, "prompt": PROMPT, "outputs": OUTPUTS,
            "end_ids": END_IDS, "params": params}


def make_case(name: str, params: dict, index: int, row: torch.Tensor) -> dict:
    processed = apply(processors(params, sample=False), row)
    kept = torch.softmax(apply(processors(params, sample=True), row), dim=-1)
    return {**common(name, index, params), "processed": numbers(processed),
            "kept": [[token, float(f"{p:.6g}")] for token, p in enumerate(kept.tolist()) if p > 0]}


def make_beam(name: str, params: dict, index: int, row: torch.Tensor) -> dict:
    rest = {key: value for key, value in params.items() if key != "temperature"}
    row = torch.log_softmax(row / params.get("temperature", 1.0), dim=-1)
    processed = apply(processors(rest, sample=False), row)
    return {**common(name, index, params), "processed": numbers(processed)}


def main() -> None:
    torch.manual_seed(11)
    rows = [(torch.randn(VOCABULARY) * deviation * 1e4).round() / 1e4 for deviation in (1.0, 3.0)]
    made = {"rows": [numbers(row) for row in rows],
            "cases": [make_case(name, params, i, row) for name, params in CASES
                      for i, row in enumerate(rows)],
            "beams": [make_beam(name, params, i, row) for name, params in BEAMS
                      for i, row in enumerate(rows)]}
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'"rows": {json.dumps(made["rows"])}']
    for key in ("cases", "beams"):
        lines.append(f'"{key}": [\n' + ",\n".join(json.dumps(case) for case in made[key]) + "\n]")
    out.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")
    print(f"{out}: {len(made['cases'])} cases, {len(made['beams'])} beams")


if __name__ == "__main__":
    main()
