// Hostile templates end in an error that names the template and the line.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "tenon/error.h"
#include "text/chat_template.h"

namespace tenon {
namespace {

std::string repeated(std::string_view text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

/// A tenth of what is allowed by default, so that many cases take little time under sanitizers.
jinja::Limits tenth() {
  jinja::Limits limits;
  limits.steps /= 10;
  limits.output_bytes /= 10;
  limits.memory_bytes /= 10;
  return limits;
}

void expect_fault(const std::string& source, ErrorCode code,
                  const jinja::Limits& limits = tenth()) {
  const std::string head = source.substr(0, 120);
  try {
    ChatTemplate::parse(source, "hostile")->render({}, limits);
    ADD_FAILURE() << "no error: " << head;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << head << ": " << error.what();
    EXPECT_NE(std::string(error.what()).find("hostile"), std::string::npos);
    EXPECT_LT(std::string(error.what()).size(), 2000U);
  }
}

void expect_exhausted(const std::string& source) {
  expect_fault(source, ErrorCode::kResourceExhausted);
}

TEST(JinjaLimits, EndlessWork) {
  expect_exhausted("{% for i in range(1000000000) %}{% endfor %}");
  expect_exhausted(
      "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}");
  expect_exhausted(
      "{% for i in range(99999) %}{% for j in range(99999) %}{{ loop.last }}{% endfor %}"
      "{% endfor %}");
  expect_exhausted("{% for i in range(99999) %}{% set x = range(99999)|list %}{% endfor %}");
  expect_exhausted(
      "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{{ 'x' in s }}{% endfor %}");
  expect_exhausted(
      "{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{% set x = s.rfind('b' ~ s) %}"
      "{% endfor %}");
  expect_exhausted(
      "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}");
}

TEST(JinjaLimits, TheDefaultsHoldToo) {
  expect_fault("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
               ErrorCode::kResourceExhausted, {});
  expect_fault(
      "{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}"
      "{% endfor %}",
      ErrorCode::kResourceExhausted, {});
}

TEST(JinjaLimits, DeepRecursion) {
  expect_exhausted("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  expect_exhausted("{% macro m(f) %}{{ f(f) }}{% endmacro %}{{ m(m) }}");
  expect_exhausted("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}");
  expect_exhausted(
      "{% macro m() %}{% call m() %}{{ caller }}{% endcall %}{{ caller }}{% endmacro %}{{ m() }}");
  expect_exhausted(
      "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}"
      "{{ ns.l }}");
  expect_exhausted(
      "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}"
      "{{ ns.l|tojson }}");
  expect_exhausted(
      "{% set ns = namespace(a=[], b=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}"
      "{% set ns.b = [ns.b] %}{% endfor %}{{ ns.a == ns.b }}{{ ns.a < ns.b }}");
  expect_exhausted("{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}");
  expect_exhausted(
      "{% set ns = namespace(l=()) %}{% for i in range(9999) %}{% set ns.l = (ns.l,) %}{% endfor %}"
      "{{ {ns.l: 1}|length }}");
}

TEST(JinjaLimits, DeepSyntax) {
  const auto deep = [](const std::string& source) { expect_fault(source, ErrorCode::kCorrupt); };
  deep("{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}");
  deep("{{ " + repeated("[", 100000));
  deep("{{ " + repeated("{1:", 100000));
  deep("{{ " + repeated("not ", 100000) + "1 }}");
  deep("{{ " + repeated("-", 100000) + "1 }}");
  deep("{{ 1" + repeated(" + 1", 100000) + " }}");
  deep("{{ 1" + repeated(" or 1", 100000) + " }}");
  deep("{{ x" + repeated(".a", 100000) + " }}");
  deep("{{ x" + repeated("|upper", 100000) + " }}");
  deep("{{ x" + repeated("()", 100000) + " }}");
  deep("{{ x" + repeated(" if x else x", 100000) + " }}");
  deep("{{ " + repeated("f(", 100000));
  deep("{{ 1" + repeated(" is eq x[1", 100000));
  deep(repeated("{% if x %}", 100000));
  deep(repeated("{% for x in y %}", 50000));
  deep(repeated("{% macro m() %}", 50000));
  deep("{% set " + repeated("(", 100000));
  deep(std::string(std::size_t{2} << 20, 'x'));
}

TEST(JinjaLimits, WideSyntaxIsFine) {
  const std::string wide = "{{ 'a'" + repeated(" ~ 'a'", 10000) + " }}";
  EXPECT_EQ(ChatTemplate::parse(wide, "wide")->render({}).size(), 10001U);
  const std::string branches =
      "{% if no %}" + repeated("{% elif no %}", 10000) + "{% else %}x{% endif %}";
  EXPECT_EQ(ChatTemplate::parse(branches, "wide")->render({}), "x");
  const std::string sum = "{{ 0" + repeated(" + 1", 150) + " }}";
  EXPECT_EQ(ChatTemplate::parse(sum, "wide")->render({}), "150");
}

TEST(JinjaLimits, HugeOutputAndMemory) {
  expect_exhausted("{{ 'x' * 1000000000 }}");
  expect_exhausted("{{ 'x' * 9223372036854775807 }}");
  expect_exhausted("{{ [1] * 9223372036854775807 }}");
  expect_exhausted("{{ ([1] * 100000000)|length }}");
  expect_exhausted(
      "{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}");
  expect_exhausted(
      "{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% "
      "endfor %}");
  expect_exhausted(
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}");
  expect_exhausted(
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% "
      "endfor %}{{ ns.s }}");
  expect_exhausted("{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}");
  expect_exhausted(
      "{% macro m(n) %}{% if n %}{{ m(n - 1) ~ m(n - 1) }}{% else %}xxxxxxxx{% endif %}{% endmacro "
      "%}{{ m(60) }}");
  expect_exhausted("{{ ('x' * 9999).replace('x', 'y' * 999999) }}");
  expect_exhausted("{{ ('x' * 9999)|replace('', 'y' * 999999) }}");
  expect_exhausted("{{ ('y' * 999999).join('x' * 9999) }}");
  expect_exhausted("{{ 'x'.center(9999999999) }}");
  expect_exhausted("{{ 'x'|center(9999999999) }}");
  expect_exhausted("{{ 'x'.zfill(9999999999) }}");
  expect_exhausted("{{ '\t'.expandtabs(9999999999) }}");
  expect_exhausted("{{ 'x'|indent(9999999999, true) }}");
  expect_exhausted("{{ [1]|batch(9999999999, 0)|list }}");
  expect_exhausted("{{ [1]|slice(9999999999)|list }}");
  expect_fault("{{ '%9999999999d' % 1 }}", ErrorCode::kInvalidArgument);
  expect_fault("{{ '{:9999999999}'.format(1) }}", ErrorCode::kInvalidArgument);
  expect_fault("{{ '%.9999999999f' % 1 }}", ErrorCode::kInvalidArgument);
  expect_fault("{{ [1]|tojson(indent=9999999999) }}", ErrorCode::kInvalidArgument);
  expect_fault("{{ strftime_now('%A' * 9999) }}", ErrorCode::kInvalidArgument);
}

TEST(JinjaLimits, HugeIntegers) {
  const auto refused = [](const std::string& source) {
    expect_fault(source, ErrorCode::kInvalidArgument);
  };
  refused("{{ 9223372036854775807 + 1 }}");
  refused("{{ -9223372036854775807 - 2 }}");
  refused("{{ 9223372036854775807 * 2 }}");
  refused("{{ 2 ** 64 }}");
  refused("{{ 10 ** 10 ** 10 }}");
  refused("{{ (-9223372036854775807 - 1) // -1 }}");
  refused("{{ -(-9223372036854775807 - 1) }}");
  refused("{{ (-9223372036854775807 - 1)|abs }}");
  refused("{{ '99999999999999999999'|int }}");
  refused("{{ 1e300|int }}");
  refused("{{ '%d' % 1e300 }}");
  refused("{{ 1e300|round(2, 'ceil') }}");
  expect_fault("{{ 99999999999999999999 }}", ErrorCode::kCorrupt);
  expect_exhausted("{{ range(-9223372036854775807, 9223372036854775807) }}");
  const auto odd = ChatTemplate::parse("{{ (-9223372036854775807 - 1) % -1 }}", "fine");
  EXPECT_EQ(odd->render({}), "0");
}

TEST(JinjaLimits, ErrorsNameTheLine) {
  const auto message = [](const std::string& source) {
    try {
      ChatTemplate::parse(source, "some.jinja")->render({});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message("a\nb\n{{ x.y }}"), "[chat template] some.jinja, line 3: 'x' is undefined");
  EXPECT_EQ(message("a\n{% if x"),
            "[chat template] some.jinja, line 2: expected '%}', got the end of the template");
  EXPECT_EQ(message("\n\n{% endfor %}").substr(0, 45),
            "[chat template] some.jinja, line 3: expected ");
  EXPECT_EQ(
      message("{% for x in [1] %}\n{{ x }}\n"),
      "[chat template] some.jinja, line 2: expected '{% endfor %}', got the end of the template");
  EXPECT_EQ(message("{% macro m() %}\n\n{{ raise_exception('no') }}{% endmacro %}\n\n{{ m() }}"),
            "[chat template] some.jinja, line 3: no");
}

TEST(JinjaLimits, OwnLimits) {
  const auto loop = ChatTemplate::parse("{% for i in range(100) %}x{% endfor %}", "limits");
  jinja::Limits limits;
  limits.output_bytes = 99;
  EXPECT_EQ(loop->render({}).size(), 100U);
  ChatTemplateInput input;
  input.messages = Json();
  EXPECT_NO_THROW(loop->render(input, limits));  // a share for the input comes on top
  limits.output_bytes = 0;
  limits.steps = 100;
  EXPECT_THROW(
      ChatTemplate::parse("{% for i in range(9999) %}x{% endfor %}", "limits")->render({}, limits),
      Error);
}

}  // namespace
}  // namespace tenon
