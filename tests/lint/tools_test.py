# SPDX-License-Identifier: Apache-2.0
"""The tools that keep and compare figures: what they add up, and when they call something worse."""
import contextlib
import importlib.util
import io
import json
import os
import sys
import tempfile
import types
import unittest

TOOLS = os.path.join(sys.argv.pop(1), "tools")


def load(name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(TOOLS, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


results = load("bench_results")
profile = load("kernel_profile")
docs = load("check_docs")


class BenchResults(unittest.TestCase):
    def compared(self, before, after, percent=3.0):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for figures in (before, after):
                paths.append(os.path.join(folder, f"{len(paths)}.json"))
                with open(paths[-1], "w") as file:
                    json.dump({"results": {"case": {"device": "d", "figures": figures}}}, file)
            options = types.SimpleNamespace(before=paths[0], after=paths[1], percent=percent, only="")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                return results.compare(options), out.getvalue()

    def test_flattens_numbers_and_leaves_rows_and_settings_out(self):
        report = {"seconds": 2.0, "ttft": {"p50": 1.0}, "requests": [{"sent": 0}], "mode": "latency",
                  "settings": {"threads": 2}, "cases": {"a b": {"us": 3.5}}}
        self.assertEqual(results.flatten(report), {"seconds": 2.0, "ttft.p50": 1.0, "a b.us": 3.5})

    def test_median_of_runs(self):
        self.assertEqual(results.medians([{"us": 3}, {"us": 1}, {"us": 2}]), {"us": 2})

    def test_slower_is_worse_and_faster_is_not(self):
        self.assertEqual(self.compared({"output_tokens_per_second": 100}, {"output_tokens_per_second": 96})[0], 1)
        self.assertEqual(self.compared({"output_tokens_per_second": 100}, {"output_tokens_per_second": 120})[0], 0)
        self.assertEqual(self.compared({"ttft.p50": 1.0}, {"ttft.p50": 1.1})[0], 1)
        self.assertEqual(self.compared({"ttft.p50": 1.0}, {"ttft.p50": 1.02})[0], 0)
        self.assertEqual(self.compared({"roof_share": 0.5}, {"roof_share": 0.4})[0], 1)

    def test_facts_are_not_compared(self):
        self.assertEqual(self.compared({"steps": 10, "floor_ms": 1}, {"steps": 99, "floor_ms": 9}),
                         (0, "0 worse by more than 3 %\n"))


class PublicHeaders(unittest.TestCase):
    def test_finds_what_nothing_describes(self):
        header = """// The head says what Box is.
class Box {
 public:
  explicit Box(int size);
  ~Box();
  Box& operator=(const Box&);
  /// Its size.
  int size() const;
  int weight() const;
  /// Counts.
  long many(int of,
            int lines);
  bool other(
      int x);

  Kind kind = Kind::kNone;
  int edge = 0;  ///< in metres
  enum class Kind {
    kNone,
    kRound,  ///< no corners
  };

 private:
  int hidden_;
};
void open(Box& box);
"""
        found = [line for number, line in docs.undocumented(header)]
        self.assertEqual(found, ["int weight() const;", "bool other(", "kNone,", "void open(Box& box);"])


class KernelProfile(unittest.TestCase):
    def test_adds_up_by_kernel(self):
        head = '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"\n'
        rows = ['"0","void tenon::cuda::(anonymous namespace)::gemv<int, 4>(Args)","gpu__time_duration.sum","us","1,000"\n',
                '"0","void tenon::cuda::(anonymous namespace)::gemv<int, 4>(Args)","dram__bytes.sum","Mbyte","2"\n',
                '"1","void tenon::cuda::(anonymous namespace)::gemv<int, 4>(Args)","gpu__time_duration.sum","ns","500"\n',
                '"2","norm","gpu__time_duration.sum","us","2"\n']
        kernels = profile.read_counters(["==PROF== noise\n", head] + rows)
        self.assertEqual(set(kernels), {"gemv<int, 4>", "norm"})
        gemv = kernels["gemv<int, 4>"]
        self.assertEqual(gemv["launches"], 2)
        self.assertAlmostEqual(gemv["seconds"], 1000.5e-6)
        self.assertEqual(gemv["bytes"], 2e6)
        self.assertEqual(kernels["norm"]["launches"], 1)

    def test_two_demanglers_give_one_name(self):
        mine = "void tenon::cuda::(anonymous namespace)::decode<tenon::cuda::D<__half, 8, false>, (tenon::Kind)3>(Args)"
        for other in ("void tenon::<unnamed>::decode<D<__half, 8, 0>, (tenon::Kind)3>(Args)",
                      "void unnamed>::decode<cuda::D<__half, (int)8, (bool)0>, 3>(Args)",
                      "void tenon::cuda::(anonymous namespace)::decode<tenon::cuda::D<__half, 8, false> , (tenon::Kind)3>(Args)"):
            self.assertEqual(profile.short(mine).replace(" ", ""), profile.short(other).replace(" ", ""))

    def test_a_launch_adds_what_the_one_before_left(self):
        trace = ["kernel,begin_ns,end_ns,stream\n"]
        for step in range(3):
            at = 100000 * step
            trace += [f'"fill()",{at},{at + 2000},7\n', f'"norm()",{at + 1000},{at + 5000},7\n',
                      f'"sample_kernel(A)",{at + 6000},{at + 9000},7\n']
        steps = profile.read_steps(trace, "sample_kernel")
        self.assertEqual(len(steps), 3)
        self.assertEqual(steps[1], [("fill", 2.0, 2.0, 91.0), ("norm", 4.0, 3.0, 0.0), ("sample_kernel", 3.0, 3.0, 1.0)])


if __name__ == "__main__":
    unittest.main()
