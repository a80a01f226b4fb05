// Plots of a benchmark as SVG: two histograms and a curve, one above the other.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "cli/bench_report.h"

namespace tenon::cli {
namespace {

constexpr double kWidth = 720;
constexpr double kHeight = 200;  // of one plot
constexpr double kLeft = 60;
constexpr double kTop = 30;
constexpr double kBottom = 36;
constexpr std::size_t kBins = 40;
constexpr std::size_t kParts = 60;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

/// Bars of equal width over [low, high], with both axes' ends.
std::string bars(double y, const std::string& title, const std::vector<double>& heights, double low,
                 double high, const std::string& unit) {
  const double base = y + kHeight - kBottom;
  const double room = base - y - kTop;
  const double wide = (kWidth - kLeft - 20) / static_cast<double>(heights.size());
  const double highest = std::max(*std::max_element(heights.begin(), heights.end()), 1e-12);
  std::string svg = fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"title\">{}</text>\n",
                                kLeft, y + 18, escaped(title));
  for (std::size_t i = 0; i < heights.size(); ++i) {
    const double tall = room * heights[i] / highest;
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"><title>{:.6g}</title>"
        "</rect>\n",
        kLeft + wide * static_cast<double>(i), base - tall, wide * 0.9, tall, heights[i]);
  }
  svg += fmt::format("<path d=\"M{0:.0f} {1:.0f}V{2:.0f}H{3:.0f}\"/>\n", kLeft, y + kTop, base,
                     kWidth - 20);
  svg += fmt::format(
      "<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"end\">{:.4g}</text>\n"
      "<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"end\">0</text>\n"
      "<text x=\"{:.0f}\" y=\"{:.0f}\">{:.4g}</text>\n"
      "<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"end\">{:.4g} {}</text>\n",
      kLeft - 6, y + kTop + 8, highest, kLeft - 6, base, kLeft, base + 16, low, kWidth - 20,
      base + 16, high, unit);
  return svg;
}

std::string histogram(double y, const std::string& name, std::vector<double> seconds) {
  if (seconds.empty()) seconds.push_back(0);
  for (double& value : seconds) value *= 1e3;
  const auto [least, most] = std::minmax_element(seconds.begin(), seconds.end());
  const double low = *least;
  const double width = std::max((*most - low) / static_cast<double>(kBins), 1e-9);
  std::vector<double> counts(kBins, 0.0);
  for (const double value : seconds)
    counts[std::min(static_cast<std::size_t>((value - low) / width), kBins - 1)] += 1;
  return bars(y, name, counts, low, low + width * static_cast<double>(kBins), "ms");
}

}  // namespace

std::string as_svg(const BenchOutcome& outcome) {
  double width = 0;
  const std::vector<double> rates = output_rate_over_time(outcome.run, kParts, width);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\">\n"
      "<style>text{{font:12px sans-serif}}.title{{font-weight:bold}}.end{{text-anchor:end}}"
      "rect{{fill:#4477aa}}path{{stroke:#444;fill:none}}</style>\n"
      "<text x=\"10\" y=\"20\" class=\"title\">tenon bench {2} {3}</text>\n",
      kWidth, 30 + 3 * kHeight, escaped(outcome.mode), escaped(outcome.model));
  svg += histogram(30, "time to first token: requests", first_token_times(outcome.run));
  svg += histogram(30 + kHeight, "time between tokens: tokens", inter_token_times(outcome.run));
  svg += bars(30 + 2 * kHeight, "output tokens a second over time", rates, 0,
              width * static_cast<double>(kParts), "s");
  return svg + "</svg>\n";
}

std::string as_html(const BenchOutcome& outcome) {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>tenon bench " +
         escaped(outcome.model) + "</title></head><body>\n" + as_svg(outcome) + "<pre>" +
         escaped(as_table(outcome)) + "</pre>\n</body></html>\n";
}

}  // namespace tenon::cli
