#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The C++ in README.md is the text of examples/generate.cpp, which is compiled and run.

    python3 tools/check_examples.py [ROOT]
"""

import re
import sys
from pathlib import Path


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    blocks = re.findall(r"```cpp\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    example = (root / "examples/generate.cpp").read_text(encoding="utf-8")
    code = re.sub(r"\A(//[^\n]*\n)+\n*", "", example)  # without the file's own header
    if blocks == [code]:
        print("examples: README.md shows examples/generate.cpp")
        return 0
    print("README.md must have one ```cpp block, the text of examples/generate.cpp below its header")
    return 1


if __name__ == "__main__":
    sys.exit(main())
