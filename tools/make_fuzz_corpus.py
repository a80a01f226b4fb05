# SPDX-License-Identifier: Apache-2.0
"""Seed inputs for the fuzz targets: small, valid files of each format. Needs only python3.

    python3 tools/make_fuzz_corpus.py build/fuzz/corpus

Writes <out>/<target>/<seed> for each target of fuzz/CMakeLists.txt that has seeds here; the small
files of tests/data that fit are copied beside them.
"""

import collections
import io
import json
import math
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
LARGEST_COPY = 1 << 17  # libFuzzer is slow on large seeds


def json_seeds():
    yield "small", b'{"a": [1, -2.5e3, true, null, "\\u00e9\\ud83d\\ude00"], "b": {}}'
    yield "nested", b"[" * 100 + b"]" * 100
    yield "numbers", b"[0, -0, 9223372036854775807, 18446744073709551616, 1e308, 1e-400]"
    for path in sorted(DATA.glob("models/*/config.json"))[:3]:
        yield path.parent.name, path.read_bytes()


def quant_spec_seeds():
    for i, text in enumerate([
            "float16", "int8", "int4 group 32 scale float16 offset 8", "int8 group row scale float32",
            "int2 group 16 scale float16 minimum super 256 sub 4 phase 32",
            "int6 group 16 scale float16 offset 32 super 256 sub 8 signed",
            "codebook4 group 32 scale bfloat16"]):
        yield f"spec{i}", text.encode()


def safetensors(tensors, metadata=None):
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def safetensors_seeds():
    yield "empty", safetensors({})
    yield "two", safetensors({"a": ("F32", [2, 3], bytes(24)), "b": ("BF16", [4], bytes(8))},
                             {"format": "pt"})
    yield "types", safetensors({dtype: (dtype, [1, 2], bytes(2 * size)) for dtype, size in [
        ("F64", 8), ("F16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1), ("I8", 1), ("U16", 2), ("I64", 8),
        ("BOOL", 1)]})
    yield "scalar", safetensors({"s": ("U8", [], b"x"), "none": ("F32", [0, 5], b"")})


def gguf_string(text):
    return struct.pack("<Q", len(text)) + text


def gguf(members, tensors, version=3, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(members))
    for key, kind, content in members:
        out += gguf_string(key) + struct.pack("<I", kind) + content
    data = b""
    for name, shape, kind, content in tensors:
        out += gguf_string(name) + struct.pack("<I", len(shape))
        out += struct.pack(f"<{len(shape)}QIQ", *shape, kind, len(data))
        data += content + bytes(-len(content) % alignment)
    return out + bytes(-len(out) % alignment) + data


def gguf_seeds():
    array = struct.pack("<IQ", 8, 2) + gguf_string(b"a") + gguf_string(b"\xff")
    nested = struct.pack("<IQIQ3H", 9, 1, 2, 3, 1, 2, 3)
    members = [(b"general.architecture", 8, gguf_string(b"llama")), (b"u8", 0, b"\x01"),
               (b"f32", 6, struct.pack("<f", 1.5)), (b"bool", 7, b"\x01"),
               (b"i64", 11, struct.pack("<q", -5)), (b"f64", 12, struct.pack("<d", 0.1)),
               (b"strings", 9, array), (b"nested", 9, nested),
               (b"split.count", 2, struct.pack("<H", 1))]
    yield "empty", gguf([], [])
    yield "metadata", gguf(members, [])
    yield "version2", gguf(members[:3], [(b"t", [4], 0, bytes(16))], version=2)
    blocks = {2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
              11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18)}
    for kind, (columns, size) in blocks.items():
        yield f"type{kind}", gguf([], [(b"t", [columns, 2], kind, bytes(range(size)) * 2)])
    yield "aligned", gguf([(b"general.alignment", 4, struct.pack("<I", 64))],
                          [(b"a", [3], 24, b"abc"), (b"b", [2, 2], 1, bytes(8))], alignment=64)
    for path in [DATA / "gguf" / "metadata.gguf"]:
        if path.exists():
            yield path.stem, path.read_bytes()


def stand_ins():
    """Classes that pickle under PyTorch's names, without PyTorch."""
    def module(name, **members):
        made = types.ModuleType(name)
        for key, value in members.items():
            value.__module__, value.__qualname__ = name, key
            setattr(made, key, value)
        sys.modules[name] = made
        return made

    def rebuild(*arguments):
        raise NotImplementedError

    storage = type("FloatStorage", (), {})
    half = type("HalfStorage", (), {})
    rebuild.__name__ = "_rebuild_tensor_v2"
    module("torch", FloatStorage=storage, HalfStorage=half)
    return module("torch._utils", _rebuild_tensor_v2=rebuild)._rebuild_tensor_v2, storage, half


def torch_pickle_seeds():
    rebuild, storage, half = stand_ins()

    class Tensor:
        def __init__(self, key, kind, count, offset, shape, strides):
            self.arguments = ((key, kind, count), offset, shape, strides, False,
                              collections.OrderedDict())

        def __reduce__(self):
            key, kind, count = self.arguments[0]
            return rebuild, (Storage(key, kind, count), *self.arguments[1:])

    class Storage:
        def __init__(self, key, kind, count):
            self.id = ("storage", kind, key, "cpu", count)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.id if isinstance(value, Storage) else None

    def dump(value, protocol=2):
        out = io.BytesIO()
        Pickler(out, protocol).dump(value)
        return out.getvalue()

    def archive(text):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
            file.writestr("archive/data.pkl", text)
            file.writestr("archive/byteorder", "little")
            file.writestr("archive/data/0", bytes(48))
            file.writestr("archive/data/1", bytes(8))
        return out.getvalue()

    state = collections.OrderedDict(
        a=Tensor("0", storage, 12, 0, (3, 4), (4, 1)), b=Tensor("0", storage, 12, 0, (4, 3), (1, 4)),
        c=Tensor("1", half, 4, 1, (3,), (1,)))
    for name, value in [("flat", state), ("wrapped", {"state_dict": state, "epoch": 3, "lr": 0.1}),
                        ("lists", {"x": [state["a"], (state["c"], None, True)], "text": "é"})]:
        yield name, dump(value)
        yield f"{name}_protocol4", dump(value, 4)
        yield f"{name}.zip", archive(dump(value))


def templates_of(value):
    """Every text under a key "template", at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "template" and isinstance(inner, str):
                yield inner
            else:
                yield from templates_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from templates_of(inner)


def jinja_seeds():
    for path in sorted(DATA.glob("templates/*.json")):
        for i, text in enumerate(templates_of(json.loads(path.read_text(encoding="utf-8")))):
            yield f"{path.stem}-{i}", text.encode()


def files(**parts):
    """The files of one input of the targets *_directory: letter (digits as d1, d2 …) = content."""
    return b"".join(b"@@" + letter[-1].encode() + (part if isinstance(part, bytes) else
                                                   part.encode() if isinstance(part, str) else
                                                   json.dumps(part).encode())
                    for letter, part in parts.items())


def header_of(path):
    """A safetensors file's header without offsets, which fuzz/fuzz_directory.h gives anew."""
    content = path.read_bytes()
    header = json.loads(content[8:8 + struct.unpack_from("<Q", content)[0]])
    for row in header.values():
        row.pop("data_offsets", None)
    return header


def model_directory_seeds():
    for folder in sorted(path for path in (DATA / "models").iterdir() if path.is_dir()):
        if not (folder / "model.safetensors").exists():
            continue
        texts = {letter: (folder / name).read_bytes() for letter, name in [
            ("C", "config.json"), ("G", "generation_config.json")] if (folder / name).exists()}
        header = header_of(folder / "model.safetensors")
        yield folder.name, files(**texts, S=header)
        names = sorted(header.keys() - {"__metadata__"})
        shards = [{name: header[name] for name in names[half::2]} for half in (0, 1)]
        index = {"weight_map": {name: f"model-0000{names.index(name) % 2 + 1}-of-00002.safetensors"
                                for name in names}}
        yield f"{folder.name}_sharded", files(**texts, I=index, d1=shards[0], d2=shards[1])
    archives = [content for name, content in torch_pickle_seeds() if name.endswith(".zip")]
    index = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin",
                            "x.0": "pytorch_model-00002-of-00002.bin"}}
    yield "torch", files(b=archives[0])
    yield "torch_sharded", files(P=index, d3=archives[0], d4=archives[2])
    for name, first, second in gguf_model_seeds():
        yield name, files(d5=first, **({"d6": second} if second else {}))
    yield "hub", files(R=b"a\n", r={})
    yield "hub_newest", files(r={})


def gguf_model_seeds():
    """A Llama of one layer with the tokenizer of each kind, whole; one of them in two parts."""
    def text(value):
        return 8, gguf_string(value)

    def number(value):
        return 4, struct.pack("<I", value)

    def real(value):
        return 6, struct.pack("<f", value)

    def array(kind, values):
        packed = [gguf_string(value) if kind == 8 else
                  struct.pack("<f" if kind == 6 else "<i", value) for value in values]
        return 9, struct.pack("<IQ", kind, len(values)) + b"".join(packed)

    def sizes(width):
        return {"general.architecture": text(b"llama"), "llama.block_count": number(1),
                "llama.context_length": number(32), "llama.embedding_length": number(width),
                "llama.feed_forward_length": number(width), "llama.attention.head_count": number(2),
                "llama.attention.head_count_kv": number(1),
                "llama.rope.dimension_count": number(width // 2),
                "llama.attention.layer_norm_rms_epsilon": real(1e-5)}

    tokens = [b"<unk>", b"<s>", b"</s>", b"H", b"e", b"l", b"o", b"He"]
    words = {"tokenizer.ggml.tokens": array(8, tokens),
             "tokenizer.ggml.scores": array(6, [-float(i) for i in range(8)]),
             "tokenizer.ggml.token_type": array(5, [2, 3, 3, 1, 1, 1, 1, 1]),
             "tokenizer.ggml.bos_token_id": number(1), "tokenizer.ggml.eos_token_id": number(2),
             "tokenizer.ggml.add_bos_token": (7, b"\x01"),
             "tokenizer.chat_template": text(b"{{ messages[0].content }}")}
    def shapes(width):
        found = {"token_embd.weight": [width, 8], "output_norm.weight": [width],
                 "output.weight": [width, 8]}
        for name, rows in [("attn_norm", 0), ("attn_q", width), ("attn_k", width // 2),
                           ("attn_v", width // 2), ("attn_output", width), ("ffn_norm", 0),
                           ("ffn_gate", width), ("ffn_up", width), ("ffn_down", width)]:
            found[f"blk.0.{name}.weight"] = [width, rows] if rows else [width]
        return found

    def file(metadata, found, matrix=0, vector=0):  # 0: float32; 2: Q4_0, blocks of 32 in 18 bytes
        tensors = []
        for name, shape in found.items():
            kind = matrix if len(shape) == 2 else vector
            size = math.prod(shape) * 4 if kind == 0 else math.prod(shape) // 32 * 18
            tensors.append((name.encode(), shape, kind, bytes(size)))
        return gguf([(key.encode(), *value) for key, value in metadata.items()], tensors)

    kinds = {"llama": {}, "t5": {}, "bert": {}, "gpt2": {
        "tokenizer.ggml.pre": text(b"qwen2"), "tokenizer.ggml.merges": array(8, [b"H e"])}}
    for kind, extra in kinds.items():
        metadata = {**sizes(8), **words, **extra, "tokenizer.ggml.model": text(kind.encode())}
        yield f"gguf_{kind}", file(metadata, shapes(8)), None
    biases = {"blk.0.attn_q.bias": [64], "blk.0.attn_k.bias": [32], "blk.0.attn_v.bias": [32]}
    yield "gguf_blocks", file(sizes(64), {**shapes(64), **biases}, 2), None
    yield "gguf_block_biases", file(sizes(64), {**shapes(64), **biases}, 2, 2), None
    split = [{"split.count": (2, struct.pack("<H", 2)), "split.no": (2, struct.pack("<H", i)),
              "split.tensors.count": (5, struct.pack("<i", 12))} for i in (0, 1)]
    rows = list(shapes(8).items())
    yield "gguf_split", file({**sizes(8), **split[0]}, dict(rows[:5])), file(split[1], dict(rows[5:]))


def engine_directory_seeds():
    open_row = {"bytes": None, "header": None, "tensors": None}
    cases = {"float": ("float32", "F32", [4, 8], {}),
             "int4": ("int4 group 4 scale float16 offset 8", "U8", [4, 4],
                      {".scale": ("F16", [4, 2])}),
             "int8": ("int8 group row scale float32", "U8", [4, 8], {".scale": ("F32", [4, 1])}),
             "codebook": ("codebook4 group 4 scale bfloat16", "U8", [4, 4],
                          {".scale": ("BF16", [4, 2]), ".codebook": ("I8", [16])}),
             "two_level": ("int2 group 4 scale float16 minimum super 8 sub 4", "U8", [4, 2],
                           {".scale": ("F16", [4, 1]), ".sub_scale": ("U8", [4, 1]),
                            ".minimum": ("F16", [4, 1]), ".sub_minimum": ("U8", [4, 1])})}

    def rank(spec, kind, shape, more, whole, begin):
        header = {"w" if spec == "float32" else "w.codes": {"dtype": kind, "shape": shape}}
        for suffix, (dtype, its_shape) in more.items():
            header["w" + suffix] = {"dtype": dtype, "shape": its_shape}
        parts = {"w": {"spec": spec, "shape": whole, "begin": begin}}
        return {"__metadata__": {"tenon.parts": json.dumps(parts)}, **header}

    def manifest(kind, names, rows):
        return {"format": f"tenon-{kind}", "version": 1, "made_by": "tenon 0.1.0",
                "files": {**{name: {"bytes": None, "hash": None} for name in names},
                          **{f"rank{i}.safetensors": open_row for i in range(rows)}}}

    config = {"architecture": "LlamaForCausalLM", "dtype": "float32", "vocab_size": 96,
              "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
              "num_key_value_heads": 2, "head_size": 8, "intermediate_size": 48,
              "max_position_embeddings": 128, "position_embedding_type": "rope_gpt_neox"}
    checkpoint = {"M": manifest("checkpoint", ["config.json"], 1), "C": config}
    two = {"M": manifest("checkpoint", ["config.json"], 2), "C": config}
    for name, (spec, kind, shape, more) in cases.items():
        yield name, files(**checkpoint, d0=rank(spec, kind, shape, more, [4, 8], [0, 0]))
        yield f"{name}_rows", files(**two, d0=rank(spec, kind, shape, more, [8, 8], [0, 0]),
                                    d1=rank(spec, kind, shape, more, [8, 8], [4, 0]))
        yield f"{name}_columns", files(**two, d0=rank(spec, kind, shape, more, [4, 16], [0, 0]),
                                       d1=rank(spec, kind, shape, more, [4, 16], [0, 8]))
    yield "huge", files(**checkpoint, d0=rank(cases["int8"][0], "U8", [0, 1 << 60],
                                              {".scale": ("F32", [0, 1])}, [0, 1 << 60], [0, 0]))
    yield "cube", files(**two, d0=rank("float32", "F32", [2, 2, 2], {}, [4, 2, 2], [0, 0, 0]),
                        d1=rank("float32", "F32", [2, 2, 2], {}, [4, 2, 2], [2, 0, 0]))
    yield "vector", files(**two, d0=rank("float32", "F32", [4], {}, [8], [0]),
                          d1=rank("float32", "F32", [4], {}, [8], [4]))
    graph = json.loads((DATA / "graphs" / "qwen2_window.json").read_text(encoding="utf-8"))
    weights = {row["name"]: row["shape"] for row in graph["programs"]["decoder"]["weights"]}
    parts = {name: {"spec": "float32", "shape": shape, "begin": [0] * len(shape)}
             for name, shape in weights.items()}
    header = {"__metadata__": {"tenon.parts": json.dumps(parts)},
              **{name: {"dtype": "F32", "shape": shape} for name, shape in weights.items()}}
    yield "engine", files(M=manifest("engine", ["config.json", "graph.json"], 1),
                          C={"version": "0.1.0", "pretrained_config": config, "build_config": {}},
                          G=graph, d0=header)


def text_directory_seeds():
    folder = DATA / "models" / "llama_text"
    tokenizer = (folder / "tokenizer.json").read_bytes()
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = config.pop("chat_template")
    yield "plain", files(T=tokenizer, C={**config, "chat_template": template})
    named = [{"name": "default", "template": template}, {"name": "tool_use", "template": "{{ 1 }}"}]
    yield "named", files(T=tokenizer, C={**config, "chat_template": named}, M={"bos_token": {
        "content": "<|im_end|>", "lstrip": False}})
    yield "flags", files(T=tokenizer, J=template, U="{{ tools }}", C={
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<|im_end|>", "add_bos_token": True,
        "add_eos_token": False})
    yield "carrier", files(K={"chat_template": template}, G={"eos_token_id": [1, 2]})
    yield "generation", files(G={
        "do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.05,
        "repetition_penalty": 1.1, "eos_token_id": 2})
    words = {"version": 1, "tokens": ["<unk>", "<s>", "</s>", "H", "e", "l", "o", "He"],
             "scores": [-float(i) for i in range(8)], "token_type": [2, 3, 3, 1, 1, 1, 1, 4],
             "bos_token_id": 1, "eos_token_id": 2, "add_bos_token": True,
             "add_space_prefix": False}
    for kind in ("llama", "t5", "bert"):
        yield f"gguf_{kind}", files(Q={**words, "model": kind})
    yield "gguf_gpt2", files(Q={**words, "model": "gpt2", "pre": "qwen2", "merges": ["H e"]})
    for path in sorted(DATA.glob("tokenizers/*.model")):
        if path.stat().st_size < 1 << 15:
            yield path.stem, files(S=path.read_bytes(), C={
                "tokenizer_class": "T5Tokenizer", "add_bos_token": True, "bos_token": "<s>"})


def npy(descr, shape, content, order="False"):
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def input_file_seeds():
    for kind, name, content in [
            (0, "jsonl", b'"a"\n\n{"prompt": "b"}\r\n{"text": "c"}\n{"input_text": "d"}\n'),
            (0, "jsonl_ids", b'{"input_ids": [1, 2]}\n{"input_ids": []}\n'),
            (1, "csv", b"1, 2,3\n\n4\r\n"),
            (2, "npy_rows", npy("<i4", (2, 2), struct.pack("<4i", 1, 2, 3, 4))),
            (2, "npy_vector", npy("<u8", (2,), struct.pack("<2Q", 1, 2))),
            (2, "npy_fortran", npy("<i8", (1, 1), bytes(8), "True")),
            (3, "txt", b"one\ntwo"),
            (4, "chat", b'{"messages": [{"role": "system", "content": "s"}, '
                        b'{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'),
            (4, "chat_bare", b'[{"role": "user", "content": "a"}]')]:
        yield name, bytes([kind]) + content


def worker_messages_seeds():
    for kind, name in enumerate(["load", "batch", "late", "description", "result", "tensor",
                                 "failure"]):
        yield name, bytes([kind])  # a whole message, without edits
    yield "failure_bytes", bytes([8 + 6]) + struct.pack("<iQ", 2, 3) + b"why" + b"\0"
    yield "result_bytes", bytes([8 + 4]) + struct.pack("<QQiQfQ", 1, 1, 5, 1, -0.5, 0)

    def packet(kind, content):
        return struct.pack("<IIQ", 0x6e6e6574, kind, len(content)) + content
    for piece in (0, 1, 255):
        yield f"channel{piece}", bytes([7, piece]) + packet(5, b"abc") + packet(4, b"") + packet(
            7, bytes(70))
    yield "channel_cut", bytes([7, 2]) + packet(5, b"abc")[:-1]


SEEDS = {"engine_directory": engine_directory_seeds, "gguf": gguf_seeds, "input_file": input_file_seeds,
         "jinja": jinja_seeds, "json": json_seeds, "model_directory": model_directory_seeds,
         "quant_spec": quant_spec_seeds, "safetensors": safetensors_seeds,
         "text_directory": text_directory_seeds, "torch_pickle": torch_pickle_seeds,
         "worker_messages": worker_messages_seeds}

# Targets whose seeds are files of the tests: target, patterns below tests/data.
COPIES = {"model_config": ["models/*/config.json"],
          "engine_graph": ["graphs/*.json"],
          "safetensors": ["models/*/model.safetensors"], "gguf": ["gguf/*.gguf"],
          "torch_pickle": ["models/*/pytorch_model*.bin"],
          "tokenizer_json": ["models/*/tokenizer.json", "tokenizers/**/*.json"],
          "sentencepiece": ["tokenizers/**/*.model"]}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    for target in sorted(SEEDS.keys() | COPIES.keys()):
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        seeds = list(SEEDS[target]()) if target in SEEDS else []
        for pattern in COPIES.get(target, []):
            for path in sorted(DATA.glob(pattern)):
                if path.is_file() and path.stat().st_size <= LARGEST_COPY:
                    name = "-".join(path.relative_to(DATA).parts)
                    seeds.append((name, path.read_bytes()))
        for name, content in seeds:
            (folder / name).write_bytes(content)
        print(f"{target}: {len(seeds)} seeds")


if __name__ == "__main__":
    main()
