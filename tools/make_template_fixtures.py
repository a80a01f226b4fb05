#!/usr/bin/env python3
# Makes tests/data/templates/*.json: small templates with the output, or the fault, of jinja2.
# SPDX-License-Identifier: Apache-2.0
"""Needs jinja2 (3.1); run by hand, results are committed:
    python3 tools/make_template_fixtures.py [--gguf model.gguf]
--gguf adds the chat template found in a GGUF file (key tokenizer.chat_template)."""

import argparse
import copy
import datetime
import json
import os
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from template_cases import GROUPS  # noqa: E402
from template_models import INPUTS, TEMPLATES  # noqa: E402

NOW = 1721990400  # 2024-07-26 10:40:00 UTC
os.environ["TZ"] = "UTC"


class Generation(jinja2.ext.Extension):
    """The generation tag: marks the assistant's text, prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    def strftime_now(form):
        return datetime.datetime.fromtimestamp(NOW).strftime(form)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def run(template, given):
    variables = {"messages": [], "tools": None, "documents": None,
                 "add_generation_prompt": False, "bos_token": "<s>", "eos_token": "</s>"}
    variables.update(copy.deepcopy(given))  # some filters of jinja2 change lists in place
    try:
        return {"expected": environment().from_string(template).render(**variables)}
    except Exception as fault:  # whatever Python raises is an error there, and so it is here
        result = {"error": type(fault).__name__}
        if isinstance(fault, jinja2.exceptions.UndefinedError) or type(
                fault) is jinja2.exceptions.TemplateError:
            result["message"] = str(fault)
        return result


def make(template, number, inputs):
    case = {"template": template, "input": number}
    case.update(run(template, inputs[number]))
    return case


def write(folder, name, templates, inputs):
    cases = [make(t, i, inputs) for t in templates for i in range(len(inputs))]
    # An address in memory is nothing to compare with.
    cases = [case for case in cases if " at 0x" not in case.get("expected", "")]
    lines = [json.dumps(case, ensure_ascii=False) for case in cases]
    text = '{"now": %d, "inputs": %s, "cases": [\n%s\n]}\n' % (
        NOW, json.dumps(inputs, ensure_ascii=False), ",\n".join(lines))
    assert len(text.encode()) < 500_000, name
    (folder / name).write_text(text, encoding="utf-8")
    faults = sum("error" in case for case in cases)
    print(f"{name}: {len(cases)} cases, {faults} of them errors, {len(text.encode())} bytes")


def template_of_gguf(path):
    """The string behind the key, found by its length prefix; no GGUF library needed."""
    data = pathlib.Path(path).read_bytes()[: 64 << 20]
    key = b"tokenizer.chat_template"
    at = data.index(key) + len(key)
    assert data[at:at + 4] == b"\x08\0\0\0", "expected a string value"
    length = int.from_bytes(data[at + 4:at + 12], "little")
    return data[at + 12:at + 12 + length].decode("utf-8")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--gguf")
    arguments = options.parse_args()
    folder = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (given, templates) in GROUPS.items():
        write(folder, f"{name}.json", templates, [given])
    write(folder, "models.json", TEMPLATES, INPUTS)
    if arguments.gguf:
        write(folder, "smollm2.json", [template_of_gguf(arguments.gguf)], INPUTS)


main()
