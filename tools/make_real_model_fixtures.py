# SPDX-License-Identifier: Apache-2.0
"""What transformers makes of the real model: log-probabilities, greedy text, tokens, chat.

    python tools/make_real_model_fixtures.py SmolLM2-135M-Instruct.Q4_1.gguf tests/data/real_model
        [--save_dir D]

<out>/text.txt and <out>/prompts.json are ours and are read; the rest is written (see
<out>/README.md). --save_dir also keeps the dequantized fp32 model as a Hugging Face directory.
Takes about two minutes on two cores and 3 GB.
"""

import argparse
import json
from pathlib import Path

import gguf
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

POSITIONS = 500
TOP = 128
GREEDY_LENGTH = 48
END_TOKEN = 2

CHATS = [
    [{"role": "user", "content": "What is a mortise?"}],
    [{"role": "system", "content": "You answer in one line."},
     {"role": "user", "content": "Name three trees.\nNo more."},
     {"role": "assistant", "content": "Oak, ash, elm."},
     {"role": "user", "content": "And one more?"}],
    [{"role": "user", "content": " 数えて: 1, 2, 3 <|im_end|> \"quoted\" & <b>bold</b>\t"},
     {"role": "assistant", "content": ""},
     {"role": "user", "content": "naïve {{ not a template }} {% raw %}"}],
]


def make_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """The GGUF's tokens and merges with the pipeline of pre type smollm.

    transformers' own conversion would ignore the pre type."""
    fields = gguf.GGUFReader(path).fields
    value = {key.removeprefix("tokenizer."): field.contents()
             for key, field in fields.items() if key.startswith("tokenizer.")}
    assert (value["ggml.model"], value["ggml.pre"]) == ("gpt2", "smollm")
    tokens = value["ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in value["ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, value["ggml.token_type"])
               if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    assert tokenizer.get_vocab_size() == len(tokens)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=value["chat_template"],
        bos_token=tokens[value["ggml.bos_token_id"]], eos_token=tokens[value["ggml.eos_token_id"]],
        clean_up_tokenization_spaces=False)


def load_model(path: Path) -> LlamaForCausalLM:
    """Dequantized to fp32; a fresh model, so that nothing of the quantization stays in it."""
    loaded = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name,
                                                  dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config).eval()
    model.load_state_dict(loaded.state_dict())
    embedding = next(t for t in gguf.GGUFReader(path).tensors if t.name == "token_embd.weight")
    exact = torch.from_numpy(gguf.dequantize(embedding.data, embedding.tensor_type))
    assert torch.equal(model.lm_head.weight, exact)
    return model


def logprobs(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    return model(ids[None], use_cache=False).logits[0].double().log_softmax(-1)


def mean_kl(p: torch.Tensor, q: torch.Tensor) -> float:
    return (p.exp() * (p - q)).sum(-1).mean().item()


def mean_kl_of_top(p: torch.Tensor, q: torch.Tensor) -> float:
    """With all but the top of p as one event: what can be had from the file. Never above KL."""
    top, ids = p.topk(TOP)
    rest_p, rest_q = ((1 - x.exp().sum(-1, keepdim=True)).log() for x in (top, q.gather(-1, ids)))
    return mean_kl(torch.cat([top, rest_p], -1), torch.cat([q.gather(-1, ids), rest_q], -1))


def write_logprobs(model: LlamaForCausalLM, ids: torch.Tensor, out: Path) -> None:
    ids = ids[:POSITIONS + 1]
    reference = logprobs(model, ids[:-1])
    top, top_ids = reference.topk(TOP)
    following = reference.gather(-1, ids[1:, None])[:, 0]
    save_file({"input_ids": ids, "top_ids": top_ids.int(), "top_logprobs": top.float(),
               "rest_mass": (1 - top.exp().sum(-1)).float(), "next_logprob": following.float()},
              out / "logprobs.safetensors")
    figures = {"positions": POSITIONS, "top": TOP, "mean_nll": -following.mean().item(),
               "perplexity": (-following.mean()).exp().item(),
               "mean_rest_mass": (1 - top.exp().sum(-1)).mean().item(),
               "torch": torch.__version__, "transformers": transformers.__version__}
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        other = logprobs(model.to(dtype), ids[:-1])
        key = f"torch_{str(dtype).removeprefix('torch.')}"
        figures[key] = {
            "mean_kl": mean_kl(reference, other),
            "mean_kl_of_top": mean_kl_of_top(reference, other),
            "top1_agreement": (reference.argmax(-1) == other.argmax(-1)).double().mean().item(),
            "mean_nll": -other.gather(-1, ids[1:, None]).mean().item()}
        if dtype == torch.float64:
            model.to(torch.float32)  # exact: the weights came from fp32
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def greedy(model: LlamaForCausalLM, prompt: list[int]) -> dict:
    """48 tokens by way of the KV cache, an end token does not stop it; then checked in one go."""
    ids, cache, rows = list(prompt), None, []
    for _ in range(GREEDY_LENGTH):
        new = torch.tensor([ids if cache is None else ids[-1:]])
        result = model(new, past_key_values=cache, use_cache=True)
        cache = result.past_key_values
        rows.append(result.logits[0, -1])
        ids.append(int(rows[-1].argmax()))
    whole = model(torch.tensor([ids[:-1]]), use_cache=False).logits[0, len(prompt) - 1:]
    noise = (torch.stack(rows) - whole).abs().max().item()
    top = torch.stack(rows).topk(2)
    chosen = ids[len(prompt):]
    return {"prompt_ids": prompt, "ids": chosen, "second": top.indices[:, 1].tolist(),
            "gap": [round(g, 5) for g in (top.values[:, 0] - top.values[:, 1]).tolist()],
            "end": chosen.index(END_TOKEN) if END_TOKEN in chosen else None, "noise": noise}


def write_greedy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    entries = []
    for prompt in json.loads((out / "prompts.json").read_text()):
        text = prompt.get("text") or tokenizer.apply_chat_template(
            prompt["messages"], tokenize=False, add_generation_prompt=True)
        entry = prompt | greedy(model, tokenizer(text).input_ids)
        entry["output"] = tokenizer.decode(entry["ids"])
        entries.append(entry)
        print(f"gap >= {min(entry['gap']):.4f}, noise {entry['noise']:.1e}: {entry['output']!r}")
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    (out / "greedy.json").write_text(f"[\n{lines}\n]\n")


def write_text_side(tokenizer: PreTrainedTokenizerFast, ids: list[int], out: Path) -> None:
    chats = []
    for messages in CHATS:
        entry = {"messages": messages}
        for name, generate in (("rendered", False), ("rendered_for_generation", True)):
            text = tokenizer.apply_chat_template(messages, tokenize=False,
                                                 add_generation_prompt=generate)
            entry |= {name: text, f"{name}_ids": tokenizer(text).input_ids}
        chats.append(entry)
    document = {"text_ids": ids, "chats": chats}
    (out / "tokens.json").write_text(json.dumps(document, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gguf", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--save_dir", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(2)
    tokenizer = make_tokenizer(args.gguf)
    text = (args.out / "text.txt").read_text()
    ids = tokenizer(text).input_ids
    assert len(ids) > POSITIONS and tokenizer.decode(ids) == text
    write_text_side(tokenizer, ids, args.out)
    with torch.no_grad():
        model = load_model(args.gguf)
        if args.save_dir:
            model.save_pretrained(args.save_dir)
            tokenizer.save_pretrained(args.save_dir)
        write_greedy(model, tokenizer, args.out)
        write_logprobs(model, torch.tensor(ids), args.out)


if __name__ == "__main__":
    main()
