# SPDX-License-Identifier: Apache-2.0
"""Tiny seeded models of each family in Hugging Face form, and what transformers makes of them.

    python tools/make_model_fixtures.py tests/data/models

Writes <out>/<name>/ (config.json, generation_config.json, weights) and, beside it,
<out>/<name>.expected.safetensors: input_ids, logits, greedy, greedy_gap (see <out>/README.md).
Every config.json is written here by hand: transformers' own form changes between versions, and
the old and the present form are both wanted. What is expected is computed from the files written.
"""

import copy
import json
import shutil
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM

PROMPT_LENGTH = 40
GREEDY_LENGTH = 16

COMMON = {
    "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 96,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2, "attention_dropout": 0.0, "initializer_range": 0.02,
    "use_cache": True,
}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False,
         "mlp_bias": False, "pretraining_tp": 1, **COMMON}
MISTRAL = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", **COMMON,
           "num_key_value_heads": 2}
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **COMMON,
         "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "use_sliding_window": False,
         "sliding_window": 32768, "max_window_layers": 21}
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
PLAIN_ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}


def old_form(theta: float = 10000.0, scaling: dict | None = None, dtype: str = "float32") -> dict:
    """The rope and dtype keys of config.json before transformers 5."""
    return {"rope_theta": theta, "rope_scaling": scaling, "torch_dtype": dtype,
            "transformers_version": "4.44.2"}


def new_form(theta: float = 10000.0, scaling: dict | None = None, dtype: str = "float32") -> dict:
    """The same in the present form."""
    return {"rope_parameters": {"rope_type": "default", **(scaling or {}), "rope_theta": theta},
            "dtype": dtype, "transformers_version": "5.23.0"}


@dataclass
class Case:
    name: str
    about: str
    config: dict
    without: dict = field(default_factory=dict)  # config keys that switch the tested feature off
    files: str = "safetensors"  # safetensors | sharded | bin | bin_sharded
    seed: str = ""  # the name if empty; cases of one seed have the same weights and prompt
    generation: dict = field(default_factory=dict)
    consistent: bool = True  # token by token gives what one prefill gives
    old_buffers: bool = False  # rotary_emb.inv_freq is among the tensors, as in files of 2023
    text: str = ""  # has a tokenizer; the prompt is this text


LONG = [1.0 + 0.9 * i for i in range(4)]
SHORT = [1.0 + 0.1 * i for i in range(4)]
LONGROPE = {"rope_type": "longrope", "factor": 4.0, "short_factor": SHORT, "long_factor": LONG}
WINDOW8 = {"use_sliding_window": True, "sliding_window": 8}

CASES = [
    Case("llama_mha", "heads = kv_heads, untied, no head_dim key", LLAMA | old_form()),
    Case("llama_gqa", "4 heads on 2; eos_token_id is a list; head_dim null; sampling defaults",
         LLAMA | new_form() | {"num_key_value_heads": 2, "head_dim": None, "eos_token_id": [2, 5]},
         generation={"eos_token_id": [2, 5], "do_sample": True, "temperature": 0.6, "top_p": 0.9,
                     "top_k": 50, "repetition_penalty": 1.1}),
    Case("llama_mqa", "4 heads on 1", LLAMA | old_form() | {"num_key_value_heads": 1}),
    Case("llama_head_dim", "head_dim 12, not hidden/heads; odd vocabulary of 99",
         LLAMA | old_form(100000.0) | {"head_dim": 12, "num_key_value_heads": 2, "vocab_size": 99}),
    Case("llama_tied", "tied head, no lm_head tensor in the file",
         LLAMA | new_form() | {"tie_word_embeddings": True, "num_key_value_heads": 2}),
    Case("llama_untied", "untied; tie_word_embeddings absent (false for Llama); 3 layers",
         {k: v for k, v in (LLAMA | new_form()).items() if k != "tie_word_embeddings"}
         | {"num_hidden_layers": 3, "num_key_value_heads": 2}),
    Case("llama_bias", "attention_bias and mlp_bias",
         LLAMA | new_form() | {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 2}),
    Case("llama_gelu", "hidden_act gelu_pytorch_tanh",
         LLAMA | new_form() | {"hidden_act": "gelu_pytorch_tanh", "num_key_value_heads": 2},
         without={"hidden_act": "silu"}, seed="gelu tanh"),
    Case("llama3_rope", "llama3 scaling; head_dim 16 so that each of its three bands is met",
         LLAMA | new_form(scaling=LLAMA3_ROPE) | {"head_dim": 16, "num_key_value_heads": 2},
         without=PLAIN_ROPE),
    Case("llama_linear_rope", "linear scaling in its oldest spelling, {\"type\", \"factor\"}",
         LLAMA | old_form(scaling={"type": "linear", "factor": 2.5}), without=PLAIN_ROPE),
    Case("llama_dynamic_rope", "dynamic NTK within max_position_embeddings: same as default",
         LLAMA | old_form(scaling={"type": "dynamic", "factor": 4.0})
         | {"max_position_embeddings": 64}, seed="dynamic+"),
    Case("llama_dynamic_rope_long", "dynamic NTK, prompt 40 > 24: defined for one prefill only",
         LLAMA | new_form(scaling={"rope_type": "dynamic", "factor": 4.0})
         | {"max_position_embeddings": 24}, without=PLAIN_ROPE, consistent=False),
    Case("llama_yarn", "yarn, betas such that the ramp is met",
         LLAMA | new_form(scaling={"rope_type": "yarn", "factor": 4.0, "beta_fast": 4.0,
                                   "beta_slow": 1.0, "original_max_position_embeddings": 32})
         | {"head_dim": 16, "num_key_value_heads": 2}, without=PLAIN_ROPE),
    Case("llama_longrope", "longrope, prompt within the original length: short factors",
         LLAMA | new_form(scaling=LONGROPE | {"original_max_position_embeddings": 64})
         | {"max_position_embeddings": 256}, without=PLAIN_ROPE),
    Case("llama_longrope_long", "longrope, prompt 40 > 24: long factors in one prefill",
         LLAMA | new_form(scaling=LONGROPE | {"original_max_position_embeddings": 24})
         | {"max_position_embeddings": 96}, without=PLAIN_ROPE, consistent=False),
    Case("llama_sharded", "three safetensors files and an index",
         LLAMA | new_form() | {"num_key_value_heads": 2}, files="sharded", seed="shards"),
    Case("llama_bin", "pytorch_model.bin only; tied, both names on one storage",
         LLAMA | old_form() | {"tie_word_embeddings": True, "num_key_value_heads": 2}, files="bin"),
    Case("llama_bin_sharded", "two .bin files; views with offsets, a transposed one, a Parameter",
         LLAMA | old_form() | {"num_key_value_heads": 2}, files="bin_sharded"),
    Case("llama_fp16", "weights stored in float16; expected in fp32 from these",
         LLAMA | old_form(dtype="float16") | {"num_key_value_heads": 2}),
    Case("llama_bf16", "weights stored in bfloat16; expected in fp32 from these",
         LLAMA | new_form(dtype="bfloat16") | {"num_key_value_heads": 2}),
    Case("llama_old_config", "llama3 scaling in the old form; rotary_emb.inv_freq in the file",
         LLAMA | old_form(500000.0, LLAMA3_ROPE) | {"num_key_value_heads": 2}, without=PLAIN_ROPE,
         seed="old and new+", old_buffers=True),
    Case("llama_new_config", "the same model in the present form",
         LLAMA | new_form(500000.0, LLAMA3_ROPE) | {"num_key_value_heads": 2, "head_dim": 8},
         without=PLAIN_ROPE, seed="old and new+"),
    Case("llama_three_kv", "9 heads on 3, head_dim 16, tied; SmolLM2's harmless extra keys",
         LLAMA | old_form(100000.0) | {
             "hidden_size": 36, "intermediate_size": 60, "num_attention_heads": 9,
             "num_key_value_heads": 3, "head_dim": 16, "tie_word_embeddings": True,
             "is_llama_config": True, "rope_interleaved": False,
             "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}}}),
    Case("llama_two_kv_tp4", "8 heads on 2: tp 4 duplicates KV heads",
         LLAMA | new_form() | {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 8}),
    Case("llama_text", "byte-level BPE tokenizer and chat template; the prompt is a text",
         LLAMA | new_form() | {"num_key_value_heads": 2, "vocab_size": 290, "bos_token_id": 0,
                               "eos_token_id": 2, "tie_word_embeddings": True},
         text="The joint holds: 12 tenons, naïve façades, 木工."),
    Case("mistral_window", "sliding_window 8, prompt 40",
         MISTRAL | old_form() | {"sliding_window": 8}, without={"sliding_window": None}),
    Case("mistral_nowindow", "sliding_window null; head_dim 12, not hidden/heads, as Nemo has",
         MISTRAL | new_form(1000000.0) | {"sliding_window": None, "head_dim": 12}),
    Case("qwen2_bias", "QKV bias, tied; sliding_window set but use_sliding_window false",
         QWEN2 | old_form(1000000.0) | {"tie_word_embeddings": True, "sliding_window": 8,
                                        "max_window_layers": 0}),
    Case("qwen2_untied", "untied, 3 layers", QWEN2 | new_form(1000000.0)
         | {"sliding_window": None, "num_hidden_layers": 3}),
    Case("qwen2_window", "3 layers, those from max_window_layers 1 on slide with 8",
         QWEN2 | old_form() | WINDOW8 | {"num_hidden_layers": 3, "max_window_layers": 1},
         without={"use_sliding_window": False}, seed="window"),
    Case("qwen2_layer_types", "the same asked for by layer_types: sliding, full, sliding",
         QWEN2 | new_form() | WINDOW8 | {
             "num_hidden_layers": 3, "max_window_layers": 3,
             "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
         without={"layer_types": ["full_attention"] * 3}),
    Case("qwen2_rope_by_kind", "rope_parameters per kind of layer: sliding plain, full yarn",
         QWEN2 | new_form() | WINDOW8 | {
             "num_hidden_layers": 3, "max_window_layers": 3,
             "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
             "rope_parameters": {
                 "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                 "full_attention": {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
                                    "beta_fast": 4.0, "beta_slow": 1.0,
                                    "original_max_position_embeddings": 32}}},
         without={"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}),
    Case("qwen2_yarn", "yarn as Qwen 2.5's card writes it",
         QWEN2 | old_form(1000000.0, {"type": "yarn", "factor": 4.0,
                                      "original_max_position_embeddings": 32}),
         without=PLAIN_ROPE),
]

TEXT = ("A tenon is the tongue of a joint, a mortise the hole that takes it. The joiner cuts the "
        "mortise first and then the tenon to fit. 1 2 3 10 20 30. ") * 4
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def random_weight(name: str, shape: torch.Size, seed: str) -> torch.Tensor:
    """Large enough that attention is sharp and every position matters."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
    noise = torch.randn(shape, generator=generator)
    if "norm" in name:
        return 1.0 + 0.2 * noise
    return noise * 0.2


def make_weights(config: dict, case: Case) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    dtype = getattr(torch, case.config.get("torch_dtype") or case.config["dtype"])
    seed = case.seed or case.name
    tensors = {name: random_weight(name, value.shape, seed).to(dtype)
               for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    return tensors


def write_shards(directory: Path, shards: list[dict], stem: str, suffix: str, save) -> None:
    weight_map, total = {}, 0
    for i, shard in enumerate(shards):
        file = f"{stem}-{i + 1:05}-of-{len(shards):05}{suffix}"
        save(shard, directory / file)
        weight_map |= dict.fromkeys(shard, file)
        total += sum(t.numel() * t.element_size() for t in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / f"{stem}{suffix}.index.json").write_text(json.dumps(index, indent=1) + "\n")


def pickled_oddly(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same values as views into shared storages, transposed views and Parameters."""
    odd = dict(tensors)
    for prefix in {n.rsplit(".self_attn", 1)[0] for n in odd if "self_attn" in n}:
        names = [f"{prefix}.self_attn.{p}_proj.weight" for p in "qkv"]
        merged = torch.cat([odd[n] for n in names])
        for name, part in zip(names, merged.split([len(odd[n]) for n in names])):
            odd[name] = part
        odd[f"{prefix}.mlp.down_proj.weight"] = (
            odd[f"{prefix}.mlp.down_proj.weight"].t().contiguous().t())
    odd["model.norm.weight"] = torch.nn.Parameter(odd["model.norm.weight"])
    return odd


def write_weights(directory: Path, case: Case, tensors: dict[str, torch.Tensor]) -> None:
    def save_tensors(shard: dict, path: Path) -> None:
        save_file(shard, path, {"format": "pt"})

    names = sorted(tensors)
    if case.files == "bin":
        torch.save(tensors, directory / "pytorch_model.bin")
    elif case.files == "bin_sharded":
        odd = pickled_oddly(tensors)
        shards = [{n: odd[n] for n in names[i * len(names) // 2:(i + 1) * len(names) // 2]}
                  for i in range(2)]
        write_shards(directory, shards, "pytorch_model", ".bin", torch.save)
    else:
        if case.config.get("tie_word_embeddings"):
            names.remove("lm_head.weight")
        if case.files == "sharded":
            shards = [{n: tensors[n] for n in names[i::3]} for i in range(3)]
            write_shards(directory, shards, "model", ".safetensors", save_tensors)
        else:
            save_tensors({n: tensors[n] for n in names}, directory / "model.safetensors")


def write_tokenizer(directory: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    assert tokenizer.get_vocab_size() == 290
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "model_max_length": 128,
        "clean_up_tokenization_spaces": False, "chat_template": TEMPLATE}, indent=1) + "\n")
    return tokenizer


def without_feature(case: Case):
    changed = case.config | case.without
    if "rope_parameters" in case.without:
        changed.pop("rope_scaling", None)
    return AutoConfig.for_model(**changed)


def read_config(directory: Path):
    """The config, and rope_parameters where they are nested by kind of layer.

    Qwen 2 in transformers reads one flat set: the config returned has that of full attention.
    """
    config = AutoConfig.from_pretrained(directory)
    by_kind = config.rope_parameters if "full_attention" in config.rope_parameters else None
    if by_kind:
        config.rope_parameters = dict(by_kind["full_attention"])
    return config, by_kind


def own_rotation(model, by_kind: dict) -> None:
    """Gives each layer the rotary embedding of its kind.

    transformers' Qwen 2 computes one for all layers and hands it down. Here every layer gets a
    module of the same class, made from the same config with the entry of its kind for
    rope_parameters, whose sines and cosines replace what is handed down.
    """
    def replace(layer, args, kwargs):
        kwargs["position_embeddings"] = layer.own_rotary(args[0], kwargs["position_ids"])
        return args, kwargs

    for layer, kind in zip(model.model.layers, model.config.layer_types, strict=True):
        config = copy.deepcopy(model.config)
        config.rope_parameters = dict(by_kind[kind])
        layer.own_rotary = type(model.model.rotary_emb)(config)
        layer.register_forward_pre_hook(replace, with_kwargs=True)


def load(directory: Path, config=None):
    by_kind = None
    if config is None:
        config, by_kind = read_config(directory)
    model, report = AutoModelForCausalLM.from_pretrained(
        directory, config=config, dtype=torch.float32, attn_implementation="eager",
        output_loading_info=True)
    assert not report["missing_keys"] and not report["mismatched_keys"], report
    assert all(key.endswith("inv_freq") for key in report["unexpected_keys"]), report
    if by_kind:
        own_rotation(model, by_kind)
    return model.eval()


def all_logits(model, ids: torch.Tensor) -> torch.Tensor:
    return model(ids[None], use_cache=False).logits[0]


def stepwise(model, ids: torch.Tensor, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Greedy ids after a prompt by way of the KV cache, and all logits, token by token."""
    cache, rows, greedy = None, [], []
    for i in range(len(ids) + steps):
        token = ids[i] if i < len(ids) else rows[-1].argmax()
        if i >= len(ids):
            greedy.append(token)
        out = model(token.reshape(1, 1), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        rows.append(out.logits[0, -1])
    return torch.stack(greedy), torch.stack(rows[:-1])


def expect(directory: Path, case: Case, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    model = load(directory)
    logits = all_logits(model, ids)
    expected = {"input_ids": ids, "logits": logits}
    report = [f"{case.name:24} |logit| {logits.abs().max():5.1f}"]
    if case.consistent:
        greedy, steps = stepwise(model, ids, GREEDY_LENGTH)
        whole = all_logits(model, torch.cat([ids, greedy]))[:-1]
        top = whole[len(ids) - 1:].topk(2).values
        expected |= {"greedy": greedy, "greedy_gap": top[:, 0] - top[:, 1]}
        noise = (steps - whole).abs().max()
        assert noise < 3e-5, noise
        assert torch.equal(whole[len(ids) - 1:].argmax(-1), greedy)
        assert expected["greedy_gap"].min() > 4e-3, "choose another seed"
        report.append(f"token by token {noise:.1e}, {len(set(greedy.tolist()))} different tokens, "
                      f"least gap {expected['greedy_gap'].min():.3f}")
    double = (all_logits(model.double(), ids) - logits).abs().max()
    assert double < 3e-5, double
    report.append(f"fp64 {double:.1e}")
    if case.without:
        difference = (all_logits(load(directory, without_feature(case)), ids) - logits).abs().max()
        assert difference > 1e-2, difference
        report.append(f"without the feature {difference:.2f}")
    print(", ".join(report))
    return expected


def make(out: Path, case: Case) -> None:
    directory = out / case.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(case.config, indent=2) + "\n")
    generation = {"bos_token_id": case.config["bos_token_id"],
                  "eos_token_id": case.config["eos_token_id"]} | case.generation
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    config, _ = read_config(directory)
    tensors = make_weights(config, case)
    if case.old_buffers:
        for i in range(config.num_hidden_layers):
            tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    write_weights(directory, case, tensors)
    metadata = {"about": case.about}
    if case.text:
        ids = torch.tensor(write_tokenizer(directory).encode(case.text).ids)
        metadata = {"prompt": case.text}  # one key: the order of several is not fixed
    else:
        generator = torch.Generator().manual_seed(zlib.crc32((case.seed or case.name).encode()))
        ids = torch.randint(3, case.config["vocab_size"], (PROMPT_LENGTH,), generator=generator)
    expected = {k: v.contiguous() for k, v in expect(directory, case, ids).items()}
    save_file(expected, out / f"{case.name}.expected.safetensors", metadata)


def write_readme(out: Path) -> None:
    rows = "\n".join(f"| {c.name} | {c.about} | {c.files} |" for c in CASES)
    (out / "README.md").write_text(f"""# Tiny models

Made by tools/make_model_fixtures.py (which writes this file too) with
transformers {transformers.__version__}, torch {torch.__version__}; weights are random and ours.
`<name>/` is a Hugging Face directory; `<name>.expected.safetensors` lies beside it, so that no
reader takes it for weights:

- `input_ids` int64 [n]: the prompt (of llama_text: metadata "prompt", encoded)
- `logits` float32 [n, vocab]: one prefill, fp32, eager attention. Token by token gives the same
  within 3e-5, and so does fp64.
- `greedy` int64 [{GREEDY_LENGTH}]: greedy continuation by way of the KV cache; an end token does
  not stop it
- `greedy_gap` float32 [{GREEDY_LENGTH}]: logit of the token chosen less that of the second

The last two are absent where the rope frequencies depend on the length (llama_dynamic_rope_long,
llama_longrope_long): there `logits` are those of one prefill over the whole prompt, and keys
cached before the length was reached would differ. The fp16 and bf16 models are run in fp32.
Where a feature could be lost in silence (rope kind, window, activation) the script has made sure
that the logits without it differ by more than 1e-2.

| name | what | files |
|---|---|---|
{rows}
""")


def main() -> None:
    out = Path(sys.argv[1])
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    with torch.no_grad():
        for case in CASES:
            make(out, case)
    write_readme(out)


if __name__ == "__main__":
    main()
