#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps figures of benchmarks as JSON, and compares two such files.

  bench_results.py record [--runs N] FILE NAME -- COMMAND...
      Runs COMMAND (tenon bench, or a program of benchmarks/) with `--json` N times (3), and puts the
      median of each figure into FILE under NAME, with date, commit, device and command. What FILE
      holds under other names stays.
  bench_results.py compare BEFORE AFTER [--percent P] [--only TEXT]
      Prints every figure that both have, and the change. Ends with 1 where one that says how good
      something is became worse by more than P percent (3).
  bench_results.py show FILE [--only TEXT]
"""
import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

# Endings of figures' names: whether more or less of them is better. Others are facts of the run.
MORE_IS_BETTER = ("per_second", "share", "hit_rate")
LESS_IS_BETTER = ("_us", "_ms", "us", "ms", "seconds", "per_step", "p50", "p90", "p99", "kl")
FACTS = ("floor_ms", "cublaslt_us", "memory_bytes_per_second", "sequences_per_step")


def direction(figure):
    """1: more is better, -1: less is, 0: neither."""
    last = figure.rsplit(".", 1)[-1]
    if last in FACTS:
        return 0
    if last.endswith(MORE_IS_BETTER):
        return 1
    return -1 if last.endswith(LESS_IS_BETTER) else 0


def flatten(value, prefix=""):
    """Every number of a report as "name.name": lists (one row a request, a run) are left out."""
    if isinstance(value, bool) or isinstance(value, list):
        return {}
    if isinstance(value, (int, float)):
        return {prefix: value}
    if not isinstance(value, dict):
        return {}
    figures = {}
    for name, part in value.items():
        if name == "settings" and not prefix:
            continue
        inner = name if not prefix or prefix == "cases" else f"{prefix}.{name}"
        figures.update(flatten(part, inner))
    return figures


def medians(reports):
    return {name: statistics.median([r[name] for r in reports if name in r]) for name in reports[0]}


def device_name():
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True)
        if found.returncode == 0 and found.stdout.strip():
            return found.stdout.strip().splitlines()[0]
    try:
        with open("/proc/cpuinfo") as cpus:
            for line in cpus:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip() + f", {os.cpu_count()} cores"
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit():
    """TENON_COMMIT says it where the program runs without its repository."""
    if os.environ.get("TENON_COMMIT"):
        return os.environ["TENON_COMMIT"]
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    found = subprocess.run(["git", "-C", root, "rev-parse", "--short=12", "HEAD"],
                           capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def read(path):
    with open(path) as file:
        try:
            content = json.load(file)
        except json.JSONDecodeError as error:
            sys.exit(f"{path}: {error}")
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        sys.exit(f"{path}: expected an object with \"results\", as `record` writes it")
    return content


def record(options):
    reports = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "figures.json")
            ran = subprocess.run(options.command + ["--json", out])
            if ran.returncode != 0:
                sys.exit(f"{options.name}: {options.command[0]} ended with {ran.returncode}; "
                         "nothing was recorded")
            with open(out) as file:
                reports.append(flatten(json.load(file)))
    content = read(options.file) if os.path.exists(options.file) else {"results": {}}
    content["results"][options.name] = {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "device": device_name(),
        "command": " ".join([os.path.basename(options.command[0])] + options.command[1:]),
        "runs": options.runs,
        "figures": medians(reports),
    }
    with open(options.file + ".partial", "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    os.replace(options.file + ".partial", options.file)


def compare(options):
    before, after = read(options.before)["results"], read(options.after)["results"]
    common = [name for name in before if name in after]
    worse = 0
    for name in common:
        if before[name].get("device") != after[name].get("device"):
            print(f"{name}: different devices ({before[name].get('device')}, "
                  f"{after[name].get('device')}): the figures say nothing of the code")
        for figure, old in before[name]["figures"].items():
            new = after[name]["figures"].get(figure)
            full = f"{name}: {figure}"
            if new is None or options.only not in full or direction(figure) == 0:
                continue
            change = 100 * (new - old) / abs(old) if old else (0.0 if new == old else float("inf"))
            bad = -direction(figure) * change > options.percent
            worse += bad
            print(f"{full:<64} {old:>12.5g} {new:>12.5g} {change:>+8.1f} %{'  WORSE' if bad else ''}")
    for name in before.keys() ^ after.keys():
        print(f"{name}: only in {options.before if name in before else options.after}")
    if not common:
        sys.exit("nothing in common")
    print(f"{worse} worse by more than {options.percent:g} %")
    return 1 if worse else 0


def show(options):
    for name, result in read(options.file)["results"].items():
        facts = [str(result.get(key)) for key in ("date", "commit", "device", "command")]
        print(f"{name}: {', '.join(facts)}, median of {result.get('runs')}")
        for figure, value in result["figures"].items():
            if options.only in f"{name}: {figure}" and direction(figure) != 0:
                print(f"  {figure:<62} {value:>12.5g}")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("record")
    one.add_argument("file")
    one.add_argument("name")
    one.add_argument("--runs", type=int, default=3)
    two = verbs.add_parser("compare")
    two.add_argument("before")
    two.add_argument("after")
    two.add_argument("--percent", type=float, default=3.0)
    two.add_argument("--only", default="")
    three = verbs.add_parser("show")
    three.add_argument("file")
    three.add_argument("--only", default="")
    own = sys.argv[1:]
    end = own.index("--") if "--" in own else len(own)
    options = parser.parse_args(own[:end])
    options.command = own[end + 1:]
    if options.verb == "record" and (not options.command or options.runs < 1):
        parser.error("record: give a command after --, and at least one run")
    try:
        return {"record": record, "compare": compare, "show": show}[options.verb](options)
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(main())
