// Text in, text out: a model becomes an engine, the engine answers. README.md shows this file.
// SPDX-License-Identifier: Apache-2.0
#include <tenon/tenon.h>
#include <iostream>

int main(int argc, char** argv) {
  // A Hugging Face directory (or the id of one in its cache), a .gguf file, or a checkpoint.
  auto model =
      tenon::PretrainedModel::from_pretrained(argc > 1 ? argv[1] : "SmolLM2-135M-Instruct");
  auto engine = tenon::build(model, {.max_batch_size = 16});
  engine.save("./example-engine");

  tenon::LLM llm("./example-engine");
  auto outputs = llm.generate({"A mortise and tenon joint is", "The capital of France is"},
                              {.temperature = 0.8F, .top_p = 0.95F, .max_tokens = 48});
  for (const auto& output : outputs) std::cout << output.prompt << output.outputs[0].text << "\n\n";
}
