# SPDX-License-Identifier: Apache-2.0
"""GGUF blocks with what the gguf package makes of them, tiny GGUF models, metadata of every type.

    python tools/make_gguf_fixtures.py tests/data/models tests/data/gguf

Reads the models of make_model_fixtures.py, whose expected logits also hold for their GGUF form;
the model of mixed types has its own. See <out>/README.md.
"""

import json
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from gguf import (GGML_QUANT_SIZES, MODEL_ARCH, GGMLQuantizationType, GGUFValueType, GGUFWriter,
                  TokenType, dequantize, get_tensor_name_map, quantize)
from make_model_fixtures import LLAMA, Case, expect, new_form
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

T = GGMLQuantizationType
RANDOM = np.random.default_rng(20260101)

# Where the fp16 scale is in a block; where the fp16 minimum is (None: there is none); and the
# minimum, in units of the scale, that centres the values when the codes are random.
SCALES = {T.Q4_0: (0, None, 0), T.Q4_1: (0, 2, -7.5), T.Q5_0: (0, None, 0), T.Q5_1: (0, 2, -15.5),
          T.Q8_0: (0, None, 0), T.Q2_K: (80, 82, 1.5), T.Q3_K: (108, None, 0),
          T.Q4_K: (0, 2, 7.5), T.Q5_K: (0, 2, 15.5), T.Q6_K: (208, None, 0),
          T.IQ4_NL: (0, None, 0)}
PLAIN = [T.F32, T.F16, T.BF16]
EDGE_SCALES = [0.0, -0.0, 2.0 ** -24, -(2.0 ** -24), 65504.0, -65504.0, 1.0]


def put(blocks: np.ndarray, offset: int, values: np.ndarray) -> None:
    blocks[:, offset:offset + 2] = values.astype(np.float16).reshape(-1, 1).view(np.uint8)


def random_blocks(qtype: T, count: int, deviation: float) -> np.ndarray:
    """Random codes, sub-scales and sub-minima; scales of both signs; values of that deviation."""
    blocks = RANDOM.integers(0, 256, (count, GGML_QUANT_SIZES[qtype][1]), dtype=np.uint8)
    scale_at, minimum_at, centre = SCALES[qtype]
    unit = np.ones(count)
    put(blocks, scale_at, unit)
    if minimum_at is not None:
        put(blocks, minimum_at, centre * unit)
    scales = deviation / dequantize(blocks, qtype).std() * RANDOM.uniform(0.5, 1.5, count)
    scales *= RANDOM.choice([-1, 1], count)
    put(blocks, scale_at, scales)
    if minimum_at is not None:
        put(blocks, minimum_at, centre * scales * RANDOM.uniform(0.9, 1.1, count))
    return blocks


def edge_blocks(qtype: T) -> np.ndarray:
    """Scales that are zero, subnormal or the largest; codes that are all zero or all ones."""
    blocks = random_blocks(qtype, len(EDGE_SCALES) + 2, 1.0)
    blocks[-2], blocks[-1] = 0x00, 0xFF
    scale_at, minimum_at, _ = SCALES[qtype]
    put(blocks, scale_at, np.array(EDGE_SCALES + [1.0, -1.5]))
    if minimum_at is not None:
        put(blocks, minimum_at, np.array(EDGE_SCALES[::-1] + [-2.0, 0.75]))
    return blocks


def make_blocks(out: Path) -> None:
    tensors = {}
    for qtype in SCALES:
        parts = [random_blocks(qtype, 8, 0.1), edge_blocks(qtype)]
        try:
            gaussian = RANDOM.standard_normal((8, GGML_QUANT_SIZES[qtype][0]), dtype=np.float32)
            parts.append(quantize(gaussian, qtype))
        except NotImplementedError:
            parts.append(random_blocks(qtype, 8, 1.0))  # the package cannot quantize to it
        blocks = np.concatenate(parts)
        values = dequantize(blocks, qtype)
        assert np.isfinite(values).all()
        tensors |= {f"{qtype.name}.bytes": blocks, f"{qtype.name}.values": values}
    for qtype in PLAIN:
        values = RANDOM.standard_normal((8, 32), dtype=np.float32)
        values[0, :6] = [0.0, -0.0, 6e-8, -3e-6, 65504.0, -1.0]
        data = quantize(values, qtype)
        tensors |= {f"{qtype.name}.bytes": data.view(np.uint8),
                    f"{qtype.name}.values": dequantize(data, qtype)}
    save_file({k: torch.from_numpy(v.copy()) for k, v in tensors.items()},
              out / "blocks.safetensors")


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """From halves (Hugging Face) to neighbouring pairs, as llama.cpp's converter does for Q, K."""
    parts = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return parts.swapaxes(1, 2).reshape(weight.shape)


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    parts = weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return parts.swapaxes(1, 2).reshape(weight.shape)


def heads_of(name: str, config: dict) -> int:
    """How many heads the rows of a tensor are permuted in; 0 if they are not."""
    if config["model_type"] != "llama":
        return 0
    if "q_proj" in name:
        return config["num_attention_heads"]
    return config["num_key_value_heads"] if "k_proj" in name else 0


def rope_of(config: dict) -> dict:
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope = {"rope_type": scaling.get("type", "default"), **scaling}
    rope.setdefault("rope_theta", config.get("rope_theta"))
    return rope


def add_config(writer: GGUFWriter, config: dict) -> None:
    rope = rope_of(config)
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_name(f"tiny {config['model_type']}")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    if config["model_type"] == "llama":
        writer.add_rope_dimension_count(head_dim)
    if config.get("head_dim"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if rope["rope_type"] == "linear":
        writer.add_string("llama.rope.scaling.type", "linear")
        writer.add_float32("llama.rope.scaling.factor", rope["factor"])
    elif rope["rope_type"] == "yarn":
        writer.add_string("llama.rope.scaling.type", "yarn")
        writer.add_float32("llama.rope.scaling.factor", rope["factor"])
        writer.add_uint32("llama.rope.scaling.original_context_length",
                          rope["original_max_position_embeddings"])
        writer.add_float32("llama.rope.scaling.yarn_beta_fast", rope["beta_fast"])
        writer.add_float32("llama.rope.scaling.yarn_beta_slow", rope["beta_slow"])
    elif rope["rope_type"] == "llama3":  # llama.cpp divides the frequencies by this tensor
        plain = {"rope_type": "default", "rope_theta": rope["rope_theta"]}
        frequencies = [inv_freq(config, parameters) for parameters in (plain, rope)]
        writer.add_tensor("rope_freqs.weight", frequencies[0] / frequencies[1])


def inv_freq(config: dict, rope: dict) -> np.ndarray:
    without_old = {k: v for k, v in config.items() if not k.startswith("rope_")}
    full = transformers.LlamaConfig(**without_old, rope_parameters=dict(rope))
    return LlamaRotaryEmbedding(full).inv_freq.numpy().astype(np.float32)


def add_tokenizer(writer: GGUFWriter, directory: Path) -> None:
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    tokens = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    special = set(tokenizer.get_added_tokens_decoder())
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if i in special else TokenType.NORMAL
                            for i in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokenizer.token_to_id(settings["bos_token"]))
    writer.add_eos_token_id(tokenizer.token_to_id(settings["eos_token"]))
    writer.add_add_bos_token(False)
    writer.add_chat_template(settings["chat_template"])


def write_model(path: Path, config: dict, tensors: dict, tokenizer: Path | None, **split) -> None:
    """tensors: GGUF name to (data, type), in the order of the file."""
    writer = GGUFWriter(path, config["model_type"], **split)
    writer.add_quantization_version(2)
    add_config(writer, config)
    if tokenizer:
        add_tokenizer(writer, tokenizer)
    else:
        writer.add_tokenizer_model("none")  # llama.cpp refuses a file without the key
    for name, (data, qtype) in tensors.items():
        writer.add_tensor(name, data, raw_dtype=qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str, config: dict) -> str:
    arch = {"llama": MODEL_ARCH.LLAMA, "qwen2": MODEL_ARCH.QWEN2}[config["model_type"]]
    names = get_tensor_name_map(arch, config["num_hidden_layers"])
    return names.get_name(name, try_suffixes=(".weight", ".bias"))


def read_model(directory: Path) -> tuple[dict, dict]:
    config = json.loads((directory / "config.json").read_text())
    tensors = {}
    for name, value in load_file(directory / "model.safetensors").items():
        data, heads = value.numpy(), heads_of(name, config)
        tensors[gguf_name(name, config)] = (permute(data, heads) if heads else data, T.F32)
    return config, tensors


def check(path: Path, config: dict, ids: torch.Tensor, logits: torch.Tensor) -> None:
    """transformers' own reading of the tensors gives the same logits.

    The config is given to it: it takes neither rope scaling nor biases from a GGUF."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager",
        config=transformers.AutoConfig.for_model(**config))
    difference = (model(ids[None]).logits[0] - logits).abs().max().item()
    print(f"{path.name:28} {path.stat().st_size:7} bytes, transformers from the GGUF: "
          f"{difference:.1e}")
    assert difference == 0.0


def convert_models(models: Path, out: Path) -> None:
    for name in ("llama_text", "llama_bias", "llama_head_dim", "llama3_rope", "llama_linear_rope",
                 "llama_yarn", "qwen2_bias", "qwen2_untied"):
        config, tensors = read_model(models / name)
        tokenizer = models / name if name == "llama_text" else None
        write_model(out / f"{name}.gguf", config, tensors, tokenizer)
        expected = load_file(models / f"{name}.expected.safetensors")
        check(out / f"{name}.gguf", config, expected["input_ids"], expected["logits"])
    config, tensors = read_model(models / "llama_text")
    write_model(out / "llama_split.gguf", config, tensors, models / "llama_text",
                split_max_tensors=8)
    data = bytearray((out / "llama_text.gguf").read_bytes())
    data[4:8] = struct.pack("<I", 2)  # differs from version 3 by this number only
    (out / "llama_v2.gguf").write_bytes(data)


MIXED = LLAMA | new_form() | {
    "hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 8,
    "num_key_value_heads": 2, "vocab_size": 290, "bos_token_id": 0}
MIXED_TYPES = {
    "token_embd": T.Q6_K, "output": T.Q8_0,
    "blk.0.attn_q": T.Q4_K, "blk.0.attn_k": T.Q5_0, "blk.0.attn_v": T.Q6_K,
    "blk.0.attn_output": T.Q3_K, "blk.0.ffn_gate": T.Q2_K, "blk.0.ffn_up": T.Q3_K,
    "blk.0.ffn_down": T.Q5_K,
    "blk.1.attn_q": T.Q4_0, "blk.1.attn_k": T.Q4_1, "blk.1.attn_v": T.Q5_1,
    "blk.1.attn_output": T.IQ4_NL, "blk.1.ffn_gate": T.Q8_0, "blk.1.ffn_up": T.F16,
    "blk.1.ffn_down": T.BF16}


def random_tensor(shape: torch.Size, qtype: T) -> np.ndarray:
    if qtype in PLAIN:
        data = RANDOM.standard_normal(tuple(shape), dtype=np.float32)
        return quantize(1 + 0.2 * data if len(shape) == 1 else 0.07 * data, qtype)
    count = shape.numel() // GGML_QUANT_SIZES[qtype][0]
    return random_blocks(qtype, count, 0.07).reshape(shape[0], -1)


def make_mixed(models: Path, out: Path) -> None:
    """A model with a matrix of every type; transformers runs the dequantized weights."""
    with torch.device("meta"):
        config = transformers.LlamaConfig(**{k: v for k, v in MIXED.items() if k != "dtype"})
        shapes = transformers.LlamaForCausalLM(config).state_dict()
    packed, plain = {}, {}
    for name, value in shapes.items():
        target = gguf_name(name, MIXED)
        qtype = MIXED_TYPES.get(target.removesuffix(".weight"), T.F32)
        data = random_tensor(value.shape, qtype)
        packed[target] = (data, qtype)
        weight, heads = dequantize(data, qtype), heads_of(name, MIXED)
        plain[name] = torch.from_numpy(unpermute(weight, heads) if heads else weight).contiguous()
    path = out / "llama_mixed.gguf"
    write_model(path, MIXED, packed, models / "llama_text")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "config.json").write_text(json.dumps(MIXED))
        save_file(plain, directory / "model.safetensors", {"format": "pt"})
        ids = torch.from_numpy(RANDOM.integers(3, MIXED["vocab_size"], 40))
        expected = expect(directory, Case("llama_mixed", "", MIXED), ids)
    save_file({k: v.contiguous() for k, v in expected.items()},
              out / "llama_mixed.expected.safetensors")
    check(path, MIXED, ids, expected["logits"])


SCALARS = {"uint8": ("UINT8", 200), "int8": ("INT8", -100), "uint16": ("UINT16", 60000),
           "int16": ("INT16", -30000), "uint32": ("UINT32", 4000000000),
           "int32": ("INT32", -2000000000), "uint64": ("UINT64", 2 ** 64 - 1),
           "int64": ("INT64", -(2 ** 63)), "float32": ("FLOAT32", 0.15625),
           "float64": ("FLOAT64", 0.1), "bool": ("BOOL", True), "string": ("STRING", "zapfen: 榫")}


def pack_array(kind: GGUFValueType, items: list) -> bytes:
    """What follows the value type ARRAY; items that are lists hold (kind, items) themselves."""
    body = b"".join(pack_array(*item) if kind == GGUFValueType.ARRAY else
                    GGUFWriter._pack_val(GGUFWriter(None, "x"), item, kind, add_vtype=False)
                    for item in items)
    return struct.pack("<IQ", kind, len(items)) + body


def make_metadata(out: Path) -> None:
    """Every value type, alone and in arrays; odd tensors; an alignment of 64."""
    V = GGUFValueType
    values = {key: (V[kind], value) for key, (kind, value) in SCALARS.items()}
    arrays = {f"array.{key}": (V[kind], [value, value] if key != "bool" else [True, False, True])
              for key, (kind, value) in SCALARS.items()}
    nested = (V.ARRAY, [(V.INT32, [1, 2, 3]), (V.STRING, ["a", ""]), (V.ARRAY, [(V.UINT8, [7])])])
    special = {"array.empty": (V.UINT32, []), "array.nested": nested}
    writer = GGUFWriter(out / "metadata.gguf", "test")
    writer.add_custom_alignment(64)
    for key, (kind, value) in values.items():
        writer.add_key_value(key, value, kind)
    writer.add_key_value("empty_string", "", V.STRING)
    writer.add_tensor("f64", np.array([[0.5, -1.5, 2.5]]))
    for bits in (8, 16, 32, 64):
        writer.add_tensor(f"i{bits}", np.arange(-2, 3, dtype=f"int{bits}"))
    writer.add_tensor("four_dims", np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    for key, (kind, items) in (arrays | special).items():  # the writer refuses some of these
        name = key.encode()
        writer.fout[0].write(struct.pack("<Q", len(name)) + name + struct.pack("<I", V.ARRAY)
                             + pack_array(kind, items))
    writer.write_tensors_to_file()
    writer.close()
    path = out / "metadata.gguf"
    data = bytearray(path.read_bytes())
    (count,) = struct.unpack_from("<Q", data, 16)
    struct.pack_into("<Q", data, 16, count + len(arrays) + len(special))
    path.write_bytes(data)

    def plain(kind, value):
        return [plain(*item) for item in value] if kind == V.ARRAY else value

    document = {"general.architecture": "test", "general.alignment": 64, "empty_string": ""}
    document |= {key: plain(*pair) for key, pair in (values | arrays | special).items()}
    (out / "metadata.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def main() -> None:
    models, out = Path(sys.argv[1]), Path(sys.argv[2])
    for old in out.glob("*.gguf"):
        old.unlink()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    make_blocks(out)
    make_metadata(out)
    with torch.no_grad():
        make_mixed(models, out)
        convert_models(models, out)


if __name__ == "__main__":
    main()
