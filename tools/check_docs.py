#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the documents to the tree: README.md shows examples/generate.cpp, no link is dead, and the
public headers say of every field, enumerator and function what it is.

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


# What needs no word of its own: special members and operators, constructors of a documented class,
# and fields that are named after their type.
PLAIN = re.compile(r"operator\b|^~|^virtual ~|= delete|^friend |^using \w+::|^(explicit )?(\w+)\(|"
                   r"^(struct|class|enum|namespace)\b|^return |^const auto ")


def named_after_its_type(line: str) -> bool:
    field = re.match(r"(\w+) (\w+) = \1::", line)
    return bool(field) and field[2] == re.sub(r"(?<!^)([A-Z])", r"_\1", field[1]).lower()


def undocumented(text: str) -> list[tuple[int, str]]:
    """Lines (from 1) of the declarations that neither follow a /// nor have a ///<."""
    found = []
    documented = private = inside = False  # inside: the middle of a declaration
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if re.match(r"(public|protected|private):", line):
            private = not line.startswith("public")
        elif line.startswith("};"):
            private = False
        if not line or line.startswith(("//", "#", "}", "public:", "protected:", "private:")):
            documented = line.startswith("///")
            continue
        starts = not inside
        code = line.split("//")[0].rstrip()
        inside = code.count("(") > code.count(")") if starts else not code.endswith((";", "{", "}"))
        if starts and not (documented or private or "///<" in line or PLAIN.search(line) or
                           named_after_its_type(line)):
            found.append((number, line))
        documented = documented and inside
    return found


def check_public_headers(root: Path) -> list[str]:
    return [f"{header.relative_to(root)}:{number}: nothing says what this is: {line}"
            for header in sorted((root / "include").glob("**/*.h"))
            for number, line in undocumented(header.read_text(encoding="utf-8"))]


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    faults = check_example(root) + check_links(root) + check_public_headers(root)
    for fault in faults:
        print(fault)
    print(f"documents: {len(faults)} faults" if faults else "documents: the example, every link and the public headers hold")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
