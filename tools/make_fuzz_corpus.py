# SPDX-License-Identifier: Apache-2.0
"""Seed inputs for the fuzz targets: small, valid files of each format. Needs only python3.

    python3 tools/make_fuzz_corpus.py build/fuzz/corpus

Writes <out>/<target>/<seed> for each target of fuzz/CMakeLists.txt that has seeds here; the small
files of tests/data that fit are copied beside them.
"""

import collections
import io
import json
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


SEEDS = {"gguf": gguf_seeds, "jinja": jinja_seeds, "json": json_seeds, "quant_spec": quant_spec_seeds,
         "safetensors": safetensors_seeds, "torch_pickle": torch_pickle_seeds}

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
