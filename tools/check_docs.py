#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the documents to the tree: README.md shows examples/generate.cpp, and no link is dead.

    python3 tools/check_docs.py [ROOT]
"""

import re
import sys
from pathlib import Path


def check_example(root: Path) -> list[str]:
    """README.md's one block of C++ is the example's text below its header; it is compiled and run."""
    blocks = re.findall(r"```cpp\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    example = (root / "examples/generate.cpp").read_text(encoding="utf-8")
    if blocks == [re.sub(r"\A(//[^\n]*\n)+\n*", "", example)]:
        return []
    return ["README.md must have one ```cpp block, the text of examples/generate.cpp below its header"]


def documents(root: Path) -> list[Path]:
    return [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("src/**/*.md"),
            *root.glob("tests/**/*.md"), *root.glob("examples/**/*.md")]


def check_links(root: Path) -> list[str]:
    faults = []
    for document in sorted(documents(root)):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
            if "://" not in target and not (document.parent / target).exists():
                faults.append(f"{document.relative_to(root)}: nothing is at {target}")
    return faults


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    faults = check_example(root) + check_links(root)
    for fault in faults:
        print(fault)
    print(f"documents: {len(faults)} faults" if faults else "documents: the example and every link hold")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
