#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where the time of a step goes, by kernel.

  kernel_profile.py COUNTERS.csv [--bandwidth 4.65]
      What `ncu --csv` measured of launches, each alone: launches, microseconds in all, share of all
      kernels' time, terabytes a second and their share of the memory's, the share of the
      multiprocessors' peak (mean weighted by time).
  kernel_profile.py COUNTERS.csv --trace TRACE.csv [--longest] [--step-ends sample_kernel]
      A step as it ran (a file of benchmarks/kernel_trace.cpp): the kind of step that came most
      often, or the one that took longest; of its runs the median. Time: what a launch adds to the
      step, from the end of the one before it to its own; a launch that begins early adds less than
      it takes. Floor: the larger of its bytes at the memory's speed and its share of the
      multiprocessors' peak, by the counters. Gaps: no kernel ran.
"""
import argparse
import collections
import csv
import re
import statistics
import sys

DURATION = "gpu__time_duration.sum"
BYTES = "dram__bytes.sum"
COMPUTE = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
UNITS = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3,
         "s": 1.0, "second": 1.0, "byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9, "%": 1.0}


def short(name):
    """A kernel's name without return type, arguments, namespaces, and the types of numbers among
    its template arguments, of which two demanglers write different ones."""
    name = re.sub(r"\(anonymous namespace\)::|<?unnamed>::", "", name)
    name = re.sub(r"\([\w: ]+\)(?=-?\d)", "", name)  # (int)8
    name = re.sub(r"\btrue\b", "1", re.sub(r"\bfalse\b", "0", name)).replace("> >", ">>")
    depth = 0
    for at, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0:
            name = name[:at]
            break
    return re.sub(r"\w+::", "", re.sub(r"^void ", "", name)).strip()[:72]


def read_counters(lines):
    """{kernel: {"launches", "seconds", "bytes", "compute"}}; compute is percent times seconds."""
    rows = csv.DictReader(line for line in lines if line.startswith('"'))
    launches = {}
    for row in rows:
        metric = row.get("Metric Name")
        if metric not in (DURATION, BYTES, COMPUTE):
            continue
        value = float(row["Metric Value"].replace(",", "")) * UNITS.get(row["Metric Unit"], 1.0)
        launches.setdefault((row["ID"], row["Kernel Name"]), {})[metric] = value
    kernels = {}
    for (_, name), found in launches.items():
        sums = kernels.setdefault(short(name), {"launches": 0, "seconds": 0.0, "bytes": 0.0, "compute": 0.0})
        seconds = found.get(DURATION, 0.0)
        sums["launches"] += 1
        sums["seconds"] += seconds
        sums["bytes"] += found.get(BYTES, 0.0)
        sums["compute"] += found.get(COMPUTE, 0.0) * seconds
    return kernels


def print_counters(kernels, bandwidth):
    total = sum(sums["seconds"] for sums in kernels.values())
    print(f"{'kernel':<72} {'n':>5} {'us':>9} {'time':>6} {'TB/s':>6} {'memory':>7} {'compute':>8}")
    for name, sums in sorted(kernels.items(), key=lambda item: -item[1]["seconds"]):
        seconds = sums["seconds"] or 1e-30
        rate = sums["bytes"] / seconds / 1e12
        print(f"{name:<72} {sums['launches']:>5} {seconds * 1e6:>9.1f} {100 * seconds / total:>5.1f}% "
              f"{rate:>6.2f} {100 * rate / bandwidth:>6.1f}% {sums['compute'] / seconds:>7.1f}%")
    print(f"{'all':<72} {sum(s['launches'] for s in kernels.values()):>5} {total * 1e6:>9.1f}")


def floor_of(sums, bandwidth):
    """Seconds of one launch."""
    return max(sums["bytes"] / (bandwidth * 1e12), sums["compute"] / 100) / sums["launches"]


def read_steps(lines, step_ends):
    """Steps as lists of (kernel, microseconds it took, it added, of gap before it)."""
    launches = sorted((int(row["begin_ns"]), int(row["end_ns"]), short(row["kernel"]))
                      for row in csv.DictReader(lines))
    steps, step, latest = [], [], None
    for i, (begin, end, name) in enumerate(launches):
        latest = begin if latest is None else latest
        added = max(0, end - max(begin, latest))
        step.append((name, (end - begin) / 1e3, added / 1e3, max(0, begin - latest) / 1e3))
        latest = max(latest, end)
        last = i + 1 == len(launches) or step_ends not in launches[i + 1][2]
        if step_ends in name and last:
            steps.append(step)
            step = []
    return steps


def print_step(steps, longest, kernels, bandwidth):
    kinds = collections.defaultdict(list)
    for step in steps[1:]:  # the first one's gap is the load
        kinds[tuple(launch[0] for launch in step)].append(step)

    def length(step):
        return sum(added + gap for _, _, added, gap in step)

    def rank(runs):
        return statistics.median(map(length, runs)) if longest else len(runs)

    runs = sorted(max(kinds.values(), key=rank), key=length)
    step = runs[len(runs) // 2]
    rows = collections.defaultdict(lambda: [0, 0.0, 0.0, 0.0])
    for name, took, added, gap in step:
        for at, value in enumerate((1, took, added, gap)):
            rows[name][at] += value
    total, gaps = length(step), sum(launch[3] for launch in step)
    floors = 0.0
    print(f"{'kernel':<72} {'n':>5} {'us':>9} {'time':>6} {'alone':>9} {'floor':>8}")
    for name, (count, took, added, _) in sorted(rows.items(), key=lambda row: -row[1][2]):
        floor = count * floor_of(kernels[name], bandwidth) * 1e6 if name in kernels else float("nan")
        floors += 0 if floor != floor else floor
        print(f"{name:<72} {count:>5} {added:>9.1f} {100 * added / total:>5.1f}% {took:>9.1f} {floor:>8.1f}")
    print(f"{'gaps: ' + str(sum(launch[3] > 0 for launch in step)) + ', the largest ' + format(max(l[3] for l in step), '.1f') + ' us':<72} "
          f"{'':>5} {gaps:>9.1f} {100 * gaps / total:>5.1f}%")
    print(f"{'the step, median of ' + str(len(runs)):<72} {len(step):>5} {total:>9.1f} {'':>6} {'':>9} {floors:>8.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counters")
    parser.add_argument("--bandwidth", type=float, default=4.65, help="TB/s of the memory")
    parser.add_argument("--trace")
    parser.add_argument("--longest", action="store_true")
    parser.add_argument("--step-ends", default="sample_kernel", help="in the name of a step's last kernel")
    options = parser.parse_args()
    with open(options.counters) as file:
        kernels = read_counters(file)
    if not kernels:
        sys.exit(f"{options.counters}: no launch in it; expected the output of ncu --csv")
    if not options.trace:
        print_counters(kernels, options.bandwidth)
        return
    with open(options.trace) as file:
        steps = read_steps(file, options.step_ends)
    if len(steps) < 2:
        sys.exit(f"{options.trace}: {len(steps)} steps in it, expected two or more that end with a "
                 f"kernel named ...{options.step_ends}...")
    print_step(steps, options.longest, kernels, options.bandwidth)


if __name__ == "__main__":
    main()
