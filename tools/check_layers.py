#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the includes of include/ and src/ to the house table of docs/architecture.md.

    python3 tools/check_layers.py [ROOT]      lists each include that the table does not allow

A folder may include itself, core, what its row names, and the plain-value headers of the public
API. The table stands here as data; docs/architecture.md shows it, and is compared with it.
"""

import re
import sys
from pathlib import Path

# What each folder of src/ may include, besides itself, core and PLAIN_VALUES. A name with a slash is
# one header, not a folder.
MAY_INCLUDE = {
    "core": [],
    "ops": [],
    "quant": [],
    "graph": ["ops", "quant"],
    "checkpoint": ["graph", "quant"],
    "layers": ["graph", "ops"],
    "models": ["layers", "checkpoint", "graph", "ops"],
    "backends": ["ops", "quant"],
    "engine": ["graph", "checkpoint", "backends", "distributed", "ops", "quant"],
    "distributed": ["backends"],
    "text": [],
    "runtime": ["engine", "backends/batch.h"],
}
BELOW_API = list(MAY_INCLUDE)
MAY_INCLUDE["api"] = [*BELOW_API, "tenon"]
MAY_INCLUDE["server"] = [*BELOW_API, "api", "tenon"]
MAY_INCLUDE["cli"] = [*BELOW_API, "api", "server", "tenon"]

# Headers of include/tenon that are plain values: any folder may include them.
PLAIN_VALUES = {"chat.h", "config.h", "error.h", "executor_config.h", "export.h", "kv_cache.h", "request.h", "sampling.h", "scheduling.h", "statistics.h", "types.h", "version.h"}

# Foreign headers, and the folders that may see them: each stays behind a few files.
FOREIGN = {
    "nlohmann/": {"core"},
    "xxhash.h": {"core"},
    "pcre2.h": {"text"},
    "utf8proc.h": {"text"},
    "CLI/": {"cli"},
    "histedit.h": {"cli"},
    "boost/": {"server"},
}
CUDA = re.compile(r"(cuda|cublas|cudnn|cutlass|cute/|nccl|nvtx|driver_types|\.cuh$)")
CUDA_HOME = Path("src/backends/cuda")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = {".h", ".cpp", ".cu", ".cuh", ".inc"}
DOCUMENT = Path("docs/architecture.md")


def allowed_inside(folder: str, target: str) -> bool:
    """Whether src/<folder> may include "target", a path below src/ or include/."""
    top, _, rest = target.partition("/")
    if not rest:
        return False  # a bare name hides which folder it belongs to
    if top == "tenon" and rest in PLAIN_VALUES:
        return True
    return top in {folder, "core"} or top in MAY_INCLUDE[folder] or target in MAY_INCLUDE[folder]


def fault_in_source(path: Path, quoted: bool, target: str) -> str:
    """Why src/… may not include the target, or nothing."""
    folder = path.parts[1]
    if CUDA.search(target) and not quoted and not path.is_relative_to(CUDA_HOME):
        return f"a CUDA header outside {CUDA_HOME}"
    if not quoted:
        for prefix, homes in FOREIGN.items():
            if target.startswith(prefix) and folder not in homes:
                return f"only {', '.join(sorted(homes))} may see it"
        return ""
    if allowed_inside(folder, target):
        return ""
    row = ", ".join(MAY_INCLUDE[folder]) or "nothing else"
    return f"{folder} may include itself, core, plain values of tenon/ and: {row}"


def fault_in_public(quoted: bool, target: str) -> str:
    """Why include/tenon/… may not include the target, or nothing."""
    if quoted:
        return "" if target.startswith("tenon/") else 'public headers include only "tenon/…"'
    standard = "/" not in target and not target.endswith(".h")
    return "" if standard else "public headers include nothing foreign"


def check_includes(root: Path) -> list[str]:
    faults = []
    for path in sorted([*root.glob("include/**/*"), *root.glob("src/**/*")]):
        if path.suffix not in SOURCES:
            continue
        inside = path.relative_to(root)
        public = inside.parts[0] == "include"
        if not public and inside.parts[1] not in MAY_INCLUDE:
            faults.append(f"{inside}: the house table has no row for src/{inside.parts[1]}")
            continue
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            quoted, target = match[1] == '"', match[2]
            why = fault_in_public(quoted, target) if public else fault_in_source(inside, quoted, target)
            if why:
                line = text.count("\n", 0, match.start(2)) + 1
                faults.append(f"{inside}:{line}: includes {target}: {why}")
    return faults


def document_rows(root: Path) -> dict[str, set[str]]:
    """Rows "| src/graph/ | … | ops quant |" of the document, by folder; "`" and "," do not count."""
    rows = {}
    for line in (root / DOCUMENT).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and (match := re.fullmatch(r"`?src/(\w+)/`?", cells[0])):
            words = set(re.sub(r"[`,]", " ", cells[2]).split())
            rows[match[1]] = set() if words == {"-"} else words
    return rows


def check_document(root: Path) -> list[str]:
    """The document's table says what this script says ("all above" for api, server, cli)."""
    if not (root / DOCUMENT).exists():
        return [f"{DOCUMENT} is missing"]
    shown = document_rows(root)
    faults = [f"{DOCUMENT}: no row for src/{name}/" for name in MAY_INCLUDE if name not in shown]
    for name in BELOW_API:
        if name in shown and shown[name] != set(MAY_INCLUDE[name]):
            faults.append(f"{DOCUMENT}: row src/{name}/ says {sorted(shown[name])}, "
                          f"tools/check_layers.py says {sorted(MAY_INCLUDE[name])}")
    return faults


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    faults = check_includes(root) + check_document(root)
    for fault in faults:
        print(fault)
    print(f"layers: {len(faults)} faults" if faults else "layers: every include keeps to the house table")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
