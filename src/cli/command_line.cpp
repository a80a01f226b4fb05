// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <type_traits>

#include "core/check.h"
#include "core/nearest_name.h"

namespace tenon::cli {
namespace {

/// The parser would cut a number that does not fit to the largest that does.
template <class Number>
std::string check_number(const std::string& text) {
  Number value = 0;
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [last, error] = std::from_chars(begin, end, value);
  if (error == std::errc() && last == end) return "";
  const char* kind = std::is_integral_v<Number> ? "an integer" : "a number";
  if (error == std::errc::result_out_of_range && last == end)
    return "\"" + text + "\" is too large or too small for " + kind;
  return "\"" + text + "\" is not " + kind;
}

/// The parser's own words for a flag given twice speak of its table.
std::string in_plain_words(const std::string& message) {
  constexpr std::string_view kTwice = ": At Most 1 required but received ";
  const std::size_t at = message.find(kTwice);
  if (at == message.npos) return message;
  return message.substr(0, at) + ": given " + message.substr(at + kTwice.size()) +
         " times; give it once";
}

/// The library marks a flag that sets false in its name: "--no_a{false}".
class PlainFormatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    constexpr std::string_view kMark = "{false}";
    std::string name = CLI::Formatter::make_option_name(option, positional);
    for (std::size_t at = 0; (at = name.find(kMark, at)) != name.npos;)
      name.erase(at, kMark.size());
    return name;
  }
};

}  // namespace

struct CommandLine::Impl {
  CLI::App app;
  std::string group = "Options";
  std::vector<std::string> names = {"--help"};
  std::vector<std::string> unsupported;

  explicit Impl(const std::string& usage) : app(usage) {}

  template <class T>
  CLI::Option* add(const std::string& name, T& value, const std::string& help) {
    remember(name);
    return app.add_option(name, value, help)->group(group);
  }
  /// "--a,--b,!--no_a": each may be what a wrong flag was meant to be.
  void remember(const std::string& spellings) {
    for (std::size_t begin = 0; begin < spellings.size();) {
      const std::size_t end = std::min(spellings.find(',', begin), spellings.size());
      const std::size_t skip = spellings[begin] == '!' ? 1 : 0;
      names.push_back(spellings.substr(begin + skip, end - begin - skip));
      begin = end + 1;
    }
  }
};

namespace {

/// "--a-b=c" as "--a_b=c": both spellings mean one flag.
std::string with_underscores(const std::string& argument) {
  if (!argument.starts_with("--")) return argument;
  std::string spelled = argument;
  const auto end =
      spelled.begin() + static_cast<std::ptrdiff_t>(std::min(spelled.find('='), spelled.size()));
  std::replace(spelled.begin() + 2, end, '-', '_');
  return spelled;
}

std::string bare_flag(const std::string& argument) {
  return argument.substr(0, argument.find('='));
}

}  // namespace

CommandLine::CommandLine(std::string name, std::string usage)
    : impl_(std::make_unique<Impl>(usage)) {
  impl_->app.name("tenon " + name);
  impl_->app.formatter(std::make_shared<PlainFormatter>());
  impl_->app.get_formatter()->column_width(34);
}
CommandLine::~CommandLine() = default;

void CommandLine::flag(const std::string& name, bool& value, const std::string& help) {
  impl_->remember(name);
  impl_->app.add_flag(name, value, help)->group(impl_->group);
}
void CommandLine::option(const std::string& n, std::string& v, const std::string& h) {
  impl_->add(n, v, h);
}
void CommandLine::option(const std::string& n, std::int64_t& v, const std::string& h) {
  impl_->add(n, v, h)->check(check_number<std::int64_t>);
}
void CommandLine::option(const std::string& n, int& v, const std::string& h) {
  impl_->add(n, v, h)->check(check_number<int>);
}
void CommandLine::option(const std::string& n, double& v, const std::string& h) {
  impl_->add(n, v, h)->check(check_number<double>);
}
void CommandLine::option(const std::string& n, std::optional<std::int64_t>& v,
                         const std::string& h) {
  impl_->add(n, v, h)->check(check_number<std::int64_t>);
}
void CommandLine::option(const std::string& n, std::optional<double>& v, const std::string& h) {
  impl_->add(n, v, h)->check(check_number<double>);
}
void CommandLine::option(const std::string& n, std::vector<std::string>& v, const std::string& h) {
  impl_->add(n, v, h);
}

void CommandLine::positional(const std::string& name, std::string& value, const std::string& help) {
  impl_->app.add_option(name, value, help);
}

void CommandLine::required(const std::string& name) { impl_->app.get_option(name)->required(); }

void CommandLine::group(const std::string& title) { impl_->group = title; }

void CommandLine::unsupported(const std::string& name) { impl_->unsupported.push_back(name); }

void CommandLine::footer(const std::string& text) { impl_->app.footer(text); }

bool CommandLine::parse(const std::vector<std::string>& arguments) {
  std::vector<std::string> reversed;
  for (auto argument = arguments.rbegin(); argument != arguments.rend(); ++argument)
    reversed.push_back(with_underscores(*argument));
  for (const std::string& argument : reversed) {
    const std::string flag = bare_flag(argument);
    TENON_CHECK(std::find(impl_->unsupported.begin(), impl_->unsupported.end(), flag) ==
                    impl_->unsupported.end(),
                ErrorCode::kUnsupported, "{}: {} is not supported yet", impl_->app.get_name(),
                flag);
  }
  try {
    impl_->app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::fputs(impl_->app.help().c_str(), stdout);
    return false;
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> extras = impl_->app.remaining();
    const std::string flag = extras.empty() ? "" : bare_flag(extras.front());
    fail(ErrorCode::kInvalidArgument, "{}: unknown argument {}{}; see {} --help",
         impl_->app.get_name(), flag, did_you_mean(flag, impl_->names), impl_->app.get_name());
  } catch (const CLI::ParseError& error) {
    fail(ErrorCode::kInvalidArgument, "{}: {}; see {} --help", impl_->app.get_name(),
         in_plain_words(error.what()), impl_->app.get_name());
  }
  return true;
}

}  // namespace tenon::cli
