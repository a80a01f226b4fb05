# SPDX-License-Identifier: Apache-2.0
"""Beam search as transformers' generate() does it: over made-up tables, tiny models, the real model.

    python tools/make_beam_fixtures.py tests/data [--real_model D]

Writes <data>/beam/{table,models}.json and, from D, what make_real_model_fixtures.py --save_dir
kept, real_model.json (see <data>/beam/README.md). A minute without D, ten with it.
"""

import argparse
import json
import random
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import (AutoModelForCausalLM, GenerationConfig, GenerationMixin, LogitsProcessor,
                          LogitsProcessorList, PreTrainedConfig, PreTrainedModel)
from transformers.modeling_outputs import CausalLMOutput
from transformers.utils import logging

TABLE_CASES = 260
TABLE_NOISE = 1e-5
MODEL_NOISE = 1e-3
END_TOKEN = 2
MASK = (1 << 64) - 1


def hashed(seed: int, before: int, last: int, token: int) -> int:
    """64 bits by splitmix64; tests/runtime/beam_search_test.cpp has the same."""
    x = seed << 48 | before << 32 | last << 16 | token
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


class TableModel(PreTrainedModel, GenerationMixin):
    """Logits that depend on the last two tokens alone."""

    config_class = PreTrainedConfig
    main_input_name = "input_ids"

    def __init__(self, case: dict):
        super().__init__(PreTrainedConfig(vocab_size=case["vocab"]))
        self.case, self.rows = case, {}
        self.unused = torch.nn.Parameter(torch.zeros(1))  # has a device and a dtype

    def row(self, before: int, last: int) -> list[float]:
        case = self.case
        if (before, last) not in self.rows:
            self.rows[before, last] = [
                (hashed(case["seed"], before, last, t) >> 40) / (1 << 24) * case["scale"]
                + (case["end_bonus"] if t in case["end_ids"] else 0) for t in range(case["vocab"])]
        return self.rows[before, last]

    def forward(self, input_ids, **_) -> CausalLMOutput:
        rows = [self.row(*ids[-2:]) for ids in input_ids.tolist()]
        return CausalLMOutput(logits=torch.tensor(rows)[:, None])


class Noise(LogitsProcessor):
    """Tells whether a result hangs on the last digits: it is another with them changed."""

    def __init__(self, size: float, seed: int):
        self.size, self.generator = size, torch.Generator().manual_seed(seed)

    def __call__(self, input_ids, scores):
        noise = torch.rand(scores.shape, generator=self.generator) * 2 - 1
        return scores + noise * self.size


def generate(model, case: dict, noise: Noise | None = None) -> list[dict]:
    """The n best beams: ids of the output and score."""
    model.generation_config = GenerationConfig()
    stopping = {1: True, 0: False, -1: "never"}[case["early_stopping"]]
    ends = case["end_ids"]
    config = GenerationConfig(
        num_beams=case["beam_width"], num_return_sequences=case["n"], do_sample=False,
        length_penalty=case["length_penalty"], early_stopping=stopping,
        max_new_tokens=case["max_tokens"], eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else None, return_dict_in_generate=True, output_scores=True,
        output_logits=True, use_cache=not isinstance(model, TableModel))
    prompt = torch.tensor([case["prompt_ids"]])
    out = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config,
                         logits_processor=LogitsProcessorList([noise] if noise else []))
    lengths = (out.beam_indices >= 0).sum(-1).tolist()
    begin = prompt.shape[1]
    return [{"ids": ids[begin:begin + length].tolist(), "score": round(score, 6)}
            for ids, length, score in zip(out.sequences, lengths, out.sequences_scores.tolist())]


def is_stable(model, case: dict, noise: float, runs: int = 1) -> bool:
    scores = [beam["score"] for beam in case["beams"]]
    if any(a - b < TABLE_NOISE for a, b in zip(scores, scores[1:])):
        return False  # two ways through a table may use the same entries
    ids = [beam["ids"] for beam in case["beams"]]
    return all([b["ids"] for b in generate(model, case, Noise(noise, run))] == ids
               for run in range(runs))


def random_case(seed: int) -> dict:
    pick = random.Random(seed)
    width, vocab = pick.randint(2, 5), pick.choice([8, 12, 24])
    return {"seed": seed, "vocab": vocab, "scale": pick.choice([2, 4, 8]),
            "end_bonus": pick.choice([-2, 0, 1]), "beam_width": width, "n": pick.randint(1, width),
            "length_penalty": pick.choice([0, 0.5, 1, 2, -0.5]),
            "early_stopping": pick.choice([1, 0, -1]), "max_tokens": pick.randint(1, 20),
            "end_ids": sorted(pick.sample(range(vocab), pick.randint(0, 3))),
            "prompt_ids": [pick.randrange(vocab) for _ in range(pick.randint(2, 4))]}


def table_cases() -> list[dict]:
    """Any case for the first half; for the second, those where early_stopping is what decides."""
    cases, seed = [], 0
    while len(cases) < TABLE_CASES:
        seed += 1
        case = random_case(seed)
        model = TableModel(case)
        beams = {value: generate(model, case | {"early_stopping": value}) for value in (1, 0, -1)}
        case["beams"] = beams[case["early_stopping"]]
        telling = any(other != case["beams"] for other in beams.values())
        if len(cases) >= TABLE_CASES // 2 and not telling:
            continue
        if is_stable(model, case, TABLE_NOISE, runs=3):
            cases.append(case)
    print(f"{len(cases)} tables of {seed}")
    return cases


def model_cases(data: Path) -> list[dict]:
    cases = []
    for name, ends in (("llama_gqa", [2, 5]), ("llama_text", [2]), ("mistral_window", [2]),
                       ("qwen2_bias", [2])):
        model = AutoModelForCausalLM.from_pretrained(
            data / "models" / name, dtype=torch.float32, attn_implementation="eager").eval()
        prompt = load_file(data / "models" / f"{name}.expected.safetensors")["input_ids"].tolist()
        for width, penalty, stopping in ((2, 0, 1), (3, 1, 0), (4, 2, -1), (5, -0.5, 0)):
            case = {"model": name, "beam_width": width, "n": width, "length_penalty": penalty,
                    "early_stopping": stopping, "max_tokens": 12, "end_ids": ends,
                    "prompt_ids": prompt}
            case["beams"] = generate(model, case)
            if is_stable(model, case, MODEL_NOISE):
                cases.append(case)
    print(f"{len(cases)} of 16 cases of tiny models")
    return cases


def real_model_cases(data: Path, directory: Path) -> list[dict]:
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    cases = []
    for entry in json.loads((data / "real_model" / "greedy.json").read_text()):
        for penalty, stopping in ((1, 0), (0, 1)):
            case = {"beam_width": 4, "n": 4, "length_penalty": penalty, "early_stopping": stopping,
                    "max_tokens": 24, "end_ids": [END_TOKEN], "prompt_ids": entry["prompt_ids"]}
            case["beams"] = generate(model, case)
            assert is_stable(model, case, MODEL_NOISE), "choose another prompt"
            cases.append(case)
            print([len(b["ids"]) for b in case["beams"]], flush=True)
    return cases


def write(path: Path, cases: list[dict]) -> None:
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f"[\n{lines}\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--real_model", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(2)
    logging.set_verbosity_error()
    out = args.data / "beam"
    out.mkdir(exist_ok=True)
    with torch.no_grad():
        write(out / "table.json", table_cases())
        write(out / "models.json", model_cases(args.data))
        if args.real_model:
            write(out / "real_model.json", real_model_cases(args.data, args.real_model))


if __name__ == "__main__":
    main()
