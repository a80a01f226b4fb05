#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up what `ncu --csv` measured of each launch, by kernel.

  kernel_profile.py FILE.csv [--bandwidth 4.65]

One line a kernel: launches, microseconds in all, its share of all kernels' time, terabytes a second and
their share of the memory's, the share of the multiprocessors' peak (mean weighted by time).
"""
import argparse
import csv
import re
import sys

DURATION = "gpu__time_duration.sum"
BYTES = "dram__bytes.sum"
COMPUTE = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
UNITS = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3,
         "s": 1.0, "second": 1.0, "byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9, "%": 1.0}


def short(name):
    """A kernel's name without its return type, its arguments and the namespaces."""
    name = re.sub(r"\(anonymous namespace\)::|<unnamed>::", "", name)
    return re.sub(r"\w+::", "", re.sub(r"^void ", "", name.split("(")[0]))[:72]


def read(lines):
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--bandwidth", type=float, default=4.65, help="TB/s of the memory")
    options = parser.parse_args()
    with open(options.file) as file:
        kernels = read(file)
    if not kernels:
        sys.exit(f"{options.file}: no launch in it; expected the output of ncu --csv")
    total = sum(sums["seconds"] for sums in kernels.values())
    print(f"{'kernel':<72} {'n':>5} {'us':>9} {'time':>6} {'TB/s':>6} {'memory':>7} {'compute':>8}")
    for name, sums in sorted(kernels.items(), key=lambda item: -item[1]["seconds"]):
        seconds = sums["seconds"] or 1e-30
        rate = sums["bytes"] / seconds / 1e12
        print(f"{name:<72} {sums['launches']:>5} {seconds * 1e6:>9.1f} {100 * seconds / total:>5.1f}% "
              f"{rate:>6.2f} {100 * rate / options.bandwidth:>6.1f}% {sums['compute'] / seconds:>7.1f}%")
    print(f"{'all':<72} {sum(s['launches'] for s in kernels.values()):>5} {total * 1e6:>9.1f}")


if __name__ == "__main__":
    main()
