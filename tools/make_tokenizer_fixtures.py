#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tokenizers/: small tokenizers of every family, and what the oracles make of a
corpus of odd texts. Oracles: pip install tokenizers==0.23.3 sentencepiece==0.2.3 protobuf.

    python3 tools/make_tokenizer_fixtures.py tests/data/tokenizers
"""
import base64
import io
import json
import pathlib
import random
import sys

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

ORACLE = "0.23.3"

TRAINING = [
    "The quick brown fox jumps over the lazy dog. It's what they'd said; we've seen, I'll go, I'm "
    "sure you're right, don't they?  Numbers: 0 12 345 6789 2024 3.14159 1,000,000.\n",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) + "
    "fibonacci(n - 2)\n\n\n# comment\tTab\r\nint main(void) { return 0; }\n",
    "Der schnelle braune Fuchs springt über den faulen Hund. Größe, Straße, Öl, naïve café, "
    "garçon, señor, Ångström, Łódź, Đà Nẵng, İstanbul, ıǧdır.\n",
    "Быстрая коричневая лиса прыгает через ленивую собаку. Ёлка, Київ, Ђурђевдан.\n",
    "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί. Ὀδυσσεύς\n",
    "敏捷的棕色狐狸跳过了懒狗。你好，世界！今天天氣很好。我想在apple工作1314151天～\n",
    "素早い茶色の狐がのろまな犬を飛び越える。カタカナ、ひらがな、ー漢字。ﾊﾝｶｸ\n",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다. 안녕하세요 세계\n",
    "الثعلب البني السريع يقفز فوق الكلب الكسول. السَّلامُ عَلَيْكُمْ، ١٢٣٤٥۔\n",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। क्षत्रिय १२३\n",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ שועל חום מהיר קופץ מעל כלב\n",
    "😀 😃 👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ☕️ ❤️‍🔥 🏴󠁧󠁢󠁥󠁮󠁧󠁿\n",
] * 4


def corpus():
    texts = [
        "", " ", "  ", "a", "\n", "\n\n", "\r\n", "\t", "\u00a0", "Hello", " Hello", "Hello ",
        "  Hello  world  ", "Hello, world! It's 2024.", "HE'LL I'D WE'VE don't DON'T 'ſ 'S's",
        "0 1 12 123 1234 12345 123456 1234567 3.14 1,000 ½ ² ٣٤٥ Ⅷ 一二三 𝟘𝟙𝟚",
        "   three   spaces    four", "a" * 40, " " * 40, "\n" * 17, "\t" * 9, "1" * 25, "!" * 20,
        "line one\nline two\n\n  indented\n\tTab\r\nwindows\r\n\r\nend\n",
        "trailing spaces   \n   leading", " \n \n x \n", "a\n b\n  c", "x   \n\n\n   y",
        "\u3000ideographic\u3000space\u2003em\u2009thin\u200bzero\ufeffbom\u2028line\u2029para\x85nel",
        "\x00\x01\x02\x07\x08\x0b\x0c\x1b\x1f\x7f\x80\x9f control",
        "naïve café Ångström Å é è ñ ü", "nai\u0308ve cafe\u0301 A\u030angstro\u0308m "
        "e\u0323\u0302 q\u0307\u0323 \u0301lone", "ﬁ ﬂ ﬀ Ⅳ ① ㈱ ｈａｌｆ　ｗｉｄｔｈ ﾊﾝｶｸ ㎏ ™ ª º",
        "İstanbul ıI ß ẞ ΑΣ Σ ς ǅ Ǆ ﬄ Ω K Å",
        "Привет, мир! Ёжик и ёлка. Ђ Љ Њ", "Γειά σου Κόσμε Ὀδυσσεύς ᾳ ΐ",
        "你好，世界！今天天气很好。「引号」、。…—～", "こんにちは世界。カタカナー ひらがな ヽヾ 々〆〤",
        "안녕하세요 세계 \u1112\u1161\u11ab\u1100\u1173\u11af", "السَّلامُ عَلَيْكُمْ، كيف؟ ١٢٣ ۴۵۶ ۔",
        "नमस्ते दुनिया क्षत्रिय ज़ फ़ १२३ ॥", "สวัสดีชาวโลก น้ำ กำ", "שלום עולם שָׁלוֹם", "ສະບາຍດີ ᠮᠣᠩᠭᠣᠯ ภาษา",
        "👋🌍 😀😃👩‍👩‍👧‍👦👍🏽🇩🇪🇫🇷☕️❤️‍🔥🏴󠁧󠁢󠁥󠁮󠁧󠁿 ©️ ®", "a😀b👩‍🚀c", "\u200d\ufe0f\u20e3 1️⃣ #️⃣",
        "<s>text</s>", "a<|endoftext|>b", "<|endoftext|><|endoftext|>", "  <mask>  x <mask>y",
        "x <pad> y", "[CLS] hi [SEP][MASK] [UNK]", "<|im_start|>user\nHi<|im_end|>\n", "<unk> a <unk>",
        "TOKEN token Token tokens atoken token's TOKEN", "<s> <s>  </s>\n<s>a", "a  <extra>  b<extra>",
        "https://example.com/a?b=c&d=e#f user@mail.org C++ C# $5.00 50% @#$%^&*()_+-=[]{}|;':\",./<>?",
        "snake_case camelCase PascalCase kebab-case CONSTANT_CASE x1y2z3 __init__",
        "if (x<=y&&z!=0){return!a;}//c\n\t\tfor(;;)\n", "`tick` ~tilde~ ^caret^ |pipe| \\back\\",
        "“curly” ‘single’ «guillemets» – — … • · ‰ € £ ¥ ₿", "∑∫√∞≠≤ ← → ⇒ ▁▁ ▁x x▁ █ ░",
        "Hello world. Do not n't 'm 's 've 're ! ? , ' x", "aaa bbb aaaa abab abcabc",
        "\U00020000\U0002a6df\U0002b920\u9fff\u3400\uf900", "\u1e9b\u0323 \u0344 \u0340 \u2126 \u212b",
        "ᾴ ̈́ 각 각 각 ㄱ ㅏ", "e\u0301\u0301\u0301\u0327\u0328", "\ufffd\ufffc\ufff9 private \ue000",
        "The year 1999-2000, 10:30am; #1 & 2nd 3rd 4th", "I've been there,   done that.\n\n\n\nOK",
        "word\u00adhyphen no\u2060break zero\u200cwidth\u200djoiner", "mixed中文andEnglish日本語 и русский",
        "1a2b3c 4 five 6 ７８９ ４", "\u0e33\u0e33 \u0f73 \u0cca", "ǆ ǅ Ǆ ﬀ ŉ ǰ ΐ", "𐐀𐐨 𞤀𞤢 Ꙁꙁ Ⴀⴀ ᲐᲑ ꭰ",
    ]
    rng = random.Random(20240607)
    planes = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x5ff), (0x600, 0x6ff),
              (0x900, 0xdff), (0xe00, 0x11ff), (0x1e00, 0x2bff), (0x2e80, 0x33ff), (0x4e00, 0x9fff),
              (0xa000, 0xabff), (0xac00, 0xd7a3), (0xf900, 0xffef), (0x10000, 0x1ffff),
              (0x20000, 0x323af), (0xe0000, 0xe01ef)]
    for _ in range(40):
        s = ""
        while len(s) < 24:
            low, high = rng.choice(planes)
            s += chr(rng.randint(low, high)) * rng.choice([1, 1, 1, 2])
            s += rng.choice(["", "", " ", "a", "\n", "1"])
        texts.append(s)
    return texts


TEXTS = corpus()
BYTE_LEVEL = pre_tokenizers.ByteLevel.alphabet()
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + r"+|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER
          + r"*|\p{N}" + TAIL)
GPT4O = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + CONTRACTION + r"?|[^\r\n\p{L}\p{N}]?" + UPPER
         + "+" + LOWER + "*" + CONTRACTION + r"?|\p{N}{1,3}" + TAIL)
BLOOM = r" ?[^(\s|[.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C}])]+"
CJK = (
    r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+")
DEEPSEEK_LETTERS = (
    r"\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}"
    r"\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}"
    r"\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}"
    r"\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}"
    r"\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}"
    r"\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}"
    r"\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}"
    r"\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}"
    r"\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}"
    r"\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}"
    r"\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}"
    r"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}"
    r"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}"
    r"\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}"
    r"\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}"
    r"\x{1E900}-\x{1E943}]+")
DEEPSEEK_PUNCTUATION = (
    r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3_CJK = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

PRE_TYPES = {  # as src/text/gguf_pre_types.cpp has them: patterns, NFC
    "llama-bpe": ([LLAMA3], False), "qwen2": ([QWEN2], True), "qwen35": ([QWEN35], True),
    "tekken": ([TEKKEN], False), "gpt-4o": ([GPT4O], False), "gpt-2": ([GPT2], False),
    "phi-2": ([GPT2], False), "mpt": ([GPT2], True), "olmo": ([GPT2], True),
    "glm4": ([LLAMA3], False), "chatglm-bpe": ([LLAMA3], False), "stablelm2": ([QWEN2], False),
    "smollm": ([r"\p{N}", GPT2], False), "starcoder": ([r"\p{N}", GPT2], False),
    "refact": ([r"\p{N}", GPT2], False), "command-r": ([r"\p{N}", GPT2], True),
    "deepseek-llm": ([r"[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$", CJK, r"\p{N}+"], False),
    "deepseek-coder": ([r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"], False),
    "deepseek-v3": ([r"\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3], False),
    "falcon": ([r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"], False),
    "bloom": ([BLOOM], False),
    "default": ([r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], False),
}


def splits(*patterns, behavior="isolated"):
    steps = [pre_tokenizers.Split(Regex(p), behavior) for p in patterns]
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(False, use_regex=False)])


def train_bpe(pre, normalizer=None, specials=(), size=700, **options):
    t = Tokenizer(models.BPE(**options))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.train_from_iterator(TRAINING, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=BYTE_LEVEL, special_tokens=list(specials),
        show_progress=False))
    return t


def byte_bpe(pre, normalizer=None, specials=("<|endoftext|>",), extra=(), **options):
    t = train_bpe(pre, normalizer, specials, **options)
    t.add_tokens(list(extra))
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def edited(t, change):
    """The tokenizer after a change to its JSON."""
    j = json.loads(t.to_str())
    change(j)
    return Tokenizer.from_str(json.dumps(j))


def spm_like(normalizer, pre, decoder, specials, legacy=True):
    """BPE with byte fallback as converted from SentencePiece."""
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator(TRAINING, trainers.BpeTrainer(vocab_size=500, show_progress=False,
                                                        special_tokens=["<unk>", "<s>", "</s>"]))

    def change(j):
        vocab = j["model"]["vocab"]
        for b in range(256):
            vocab[f"<0x{b:02X}>"] = len(vocab)
        for piece in ("▁▁", "▁▁▁▁"):
            vocab[piece] = len(vocab)
        j["model"]["merges"] += [["▁", "▁"], ["▁▁", "▁▁"]]
        j["model"].update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
        j["pre_tokenizer"] = None
    t = edited(t, change)
    t.normalizer, t.decoder = normalizer, decoder
    if pre:
        t.pre_tokenizer = pre
    t.add_special_tokens([AddedToken(x, normalized=False, special=True) for x in ("<unk>", "<s>", "</s>")])
    t.add_tokens(list(specials))
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t


def unigram(normalizer, pre, charsmap=None, byte_fallback=False):
    t = Tokenizer(models.Unigram())
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator(TRAINING, trainers.UnigramTrainer(
        vocab_size=450, unk_token="<unk>", show_progress=False,
        special_tokens=["<pad>", "</s>", "<unk>"]))
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer

    def change(j):
        if charsmap:
            precompiled = {"type": "Precompiled", "precompiled_charsmap": charsmap}
            steps = [precompiled] + ([j["normalizer"]] if j["normalizer"] else [])
            j["normalizer"] = {"type": "Sequence", "normalizers": steps}
        if byte_fallback:
            j["model"]["byte_fallback"] = True
            j["model"]["vocab"] += [[f"<0x{b:02X}>", 0.0] for b in range(256)]
    t = edited(t, change)
    t.decoder = decoders.Metaspace()
    t.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return t


def bert(lowercase, **normalizer):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(lowercase=lowercase, **normalizer)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(TRAINING, trainers.WordPieceTrainer(
        vocab_size=600, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return t


def odd_bpe(**options):
    """Word-level BPE with a suffix or a prefix, over the Whitespace splitter."""
    t = Tokenizer(models.BPE(unk_token="<unk>", **options))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(TRAINING[:5], trainers.BpeTrainer(
        vocab_size=400, show_progress=False, special_tokens=["<unk>"], **options))
    t.decoder = decoders.BPEDecoder() if "end_of_word_suffix" in options else decoders.WordPiece()
    return t


def word_level(normalizer, pre, decoder=None):
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.train_from_iterator(TEXTS + TRAINING, trainers.WordLevelTrainer(
        vocab_size=400, show_progress=False, special_tokens=["<unk>"]))
    if decoder:
        t.decoder = decoder
    return t


def tiny(normalizer=None, pre=None):
    """Shows normalization and splitting: every character is a piece, but bytes are words' own."""
    t = byte_bpe(pre_tokenizers.Sequence(([pre] if pre else []) +
                                         [pre_tokenizers.ByteLevel(False, use_regex=False)]), normalizer)
    return t


def hugging_face_families(charsmap):
    space_tokens = [AddedToken(" " * n, normalized=True) for n in (2, 4, 8)]
    strips = [AddedToken("<mask>", lstrip=True, special=True), AddedToken("<pad>", rstrip=True, special=True),
              AddedToken("<extra>", lstrip=True, rstrip=True, normalized=False),
              AddedToken("TOKEN", single_word=True), AddedToken("<|im_start|>", special=True, normalized=False),
              AddedToken("<|im_end|>", special=True, normalized=False)]
    llama_decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                       decoders.Strip(" ", 1, 0)])
    gemma_decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    llama_normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    yield "gpt2", byte_bpe(pre_tokenizers.ByteLevel(False))
    yield "gpt2_prefix_space", byte_bpe(pre_tokenizers.ByteLevel(True), extra=strips)
    llama3 = edited(byte_bpe(splits(LLAMA3), extra=strips), lambda j: j["model"].update(ignore_merges=True))
    llama3.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|endoftext|> $A", pair="<|endoftext|> $A $B", special_tokens=[("<|endoftext|>", 0)])])
    yield "llama3", llama3
    yield "qwen2", byte_bpe(splits(QWEN2), normalizers.NFC(), extra=strips)
    yield "tekken", edited(byte_bpe(splits(TEKKEN)), lambda j: j["model"].update(ignore_merges=True))
    yield "gpt4o", byte_bpe(splits(GPT4O))
    yield "deepseek_llm", byte_bpe(pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), "isolated") for p in
         (r"[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$", CJK)] +
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False, use_regex=False)]))
    yield "deepseek_coder", byte_bpe(splits(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"))
    yield "deepseek_v3", byte_bpe(splits(r"\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3))
    yield "smollm", byte_bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)]))
    yield "neox_phi", byte_bpe(pre_tokenizers.ByteLevel(False), normalizers.NFC(), extra=space_tokens)
    yield "bloom", byte_bpe(splits(BLOOM))
    yield "falcon", byte_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(False), pre_tokenizers.Digits(False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))
    yield "llama2", spm_like(llama_normalizer, None, llama_decoder, [])
    yield "phi3", spm_like(llama_normalizer, None, llama_decoder,
                           [AddedToken("<|im_end|>", rstrip=True, normalized=False, special=True),
                            AddedToken("TOKEN", single_word=True, normalized=True)])
    yield "mistral_metaspace", spm_like(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                                        llama_decoder, strips)
    yield "gemma", spm_like(normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"),
                            gemma_decoder, [AddedToken("\n" * n, normalized=False) for n in (1, 2, 3)])
    yield "t5", unigram(None, pre_tokenizers.Metaspace(), charsmap)
    yield "t5_whitespace", unigram(normalizers.Replace(Regex(" {2,}"), " "), pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]))
    yield "unigram_bytes", unigram(normalizers.Nmt(), pre_tokenizers.Metaspace(prepend_scheme="never"),
                                   byte_fallback=True)
    yield "bert_uncased", bert(True)
    yield "bert_cased", bert(False, strip_accents=True, clean_text=True)
    yield "bert_plain", bert(False, clean_text=False, handle_chinese_chars=False)
    yield "bpe_suffix", odd_bpe(end_of_word_suffix="</w>")
    yield "bpe_prefix", odd_bpe(continuing_subword_prefix="##")
    yield "word_level", word_level(normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(),
                                                         normalizers.Strip()]), pre_tokenizers.Whitespace())
    yield "word_level_ctc", word_level(None, pre_tokenizers.CharDelimiterSplit(" "),
                                       decoders.CTC("<pad>", "|", True))
    yield "nfkd_strip", tiny(normalizers.Sequence([normalizers.NFKD(), normalizers.Strip(True, False)]))
    yield "byte_normalizer", tiny(normalizers.Sequence([normalizers.ByteLevel()]), pre_tokenizers.FixedLength(7))
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        yield "split_" + behavior, tiny(pre=pre_tokenizers.Sequence([
            pre_tokenizers.Split(" ", behavior), pre_tokenizers.Split(Regex(r"\d+|[aeiou]"), behavior),
            pre_tokenizers.Punctuation(behavior)]))
    yield "split_invert", tiny(pre=pre_tokenizers.Split(Regex(r"\w+|\S(?=\s)|^\s|\b\d"), "removed", invert=True))


def samples(decode, size, rng, skip):
    """Decoding of ids in any order."""
    out = []
    for _ in range(12):
        ids = [rng.randrange(size) for _ in range(12)]
        out.append({"ids": ids, "text": decode(ids, False), "skip": decode(ids, True) if skip else None})
    return out


def expected(t):
    encoded = [t.encode(x).ids for x in TEXTS]
    rng = random.Random(7)
    return {"ids": encoded,
            "decoded": [t.decode(ids, skip_special_tokens=True) for ids in encoded if ids],
            "samples": samples(lambda ids, s: t.decode(ids, skip_special_tokens=s), t.get_vocab_size(), rng, True)}


def sentencepiece_models():
    def train(**options):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TRAINING), model_writer=model, minloglevel=2, hard_vocab_limit=False,
            num_threads=1, **options)
        return model.getvalue()
    yield "sp_llama", train(model_type="bpe", vocab_size=900, byte_fallback=True, split_digits=True,
                            normalization_rule_name="identity", remove_extra_whitespaces=False,
                            character_coverage=0.98)
    yield "sp_gemma", train(model_type="bpe", vocab_size=900, byte_fallback=True, add_dummy_prefix=False,
                            normalization_rule_name="identity", remove_extra_whitespaces=False,
                            character_coverage=0.98, allow_whitespace_only_pieces=True,
                            user_defined_symbols=["<mask>", "\n\n", "TOKEN", "▁▁"])
    yield "sp_t5", train(model_type="unigram", vocab_size=500, bos_id=-1, pad_id=0, eos_id=1, unk_id=2,
                         character_coverage=0.98)
    yield "sp_unigram", train(model_type="unigram", vocab_size=800, byte_fallback=True,
                              normalization_rule_name="identity", user_defined_symbols=["<mask>", "TOKEN"],
                              control_symbols=["<|im_end|>"])
    yield "sp_suffix", train(model_type="unigram", vocab_size=500, treat_whitespace_as_suffix=True,
                             normalization_rule_name="identity")


def charsmap_of(model):
    """normalizer_spec.precompiled_charsmap of a serialized model."""
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()


def gguf_fixture():
    """One vocabulary under each pre type; ids by a pipeline of that type's own patterns."""
    base = byte_bpe(splits(QWEN2), specials=["<unk>", "<|im_start|>", "<|im_end|>"], size=900)
    j = json.loads(base.to_str())
    tokens = [t for t, _ in sorted(j["model"]["vocab"].items(), key=lambda x: x[1])]
    out = {"data": {"version": 1, "model": "gpt2", "pre": "", "tokens": tokens,
                    "merges": [" ".join(m) for m in j["model"]["merges"]],
                    "token_type": [2, 3, 3] + [1] * (len(tokens) - 3), "bos_token_id": 1,
                    "eos_token_id": 2, "add_bos_token": False}, "ids": {}}
    for pre, (patterns, nfc) in PRE_TYPES.items():
        def change(j):
            j["normalizer"] = {"type": "NFC"} if nfc else None
            j["model"]["ignore_merges"] = pre in ("llama-bpe", "tekken")
            for token in j["added_tokens"]:
                token["normalized"] = False
        t = edited(base, change)
        t.pre_tokenizer = splits(*patterns)
        out["ids"][pre] = [t.encode(x, add_special_tokens=False).ids for x in TEXTS]
    return out


def main():
    if tokenizers.__version__ != ORACLE:
        sys.exit(f"expected tokenizers {ORACLE}, got {tokenizers.__version__}")
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)

    def write(name, value):
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
    write("texts.json", TEXTS)
    charsmap = None
    for name, model in sentencepiece_models():
        (folder / (name + ".model")).write_bytes(model)
        if name == "sp_t5":
            charsmap = charsmap_of(model)
        sp = sentencepiece.SentencePieceProcessor(model_proto=model)
        ids = [sp.encode(x) for x in TEXTS]
        rng = random.Random(7)
        write(name + ".expected.json", {
            "ids": ids, "decoded": [sp.decode(i) for i in ids if i],
            "samples": samples(lambda i, _: sp.decode(i), sp.get_piece_size(), rng, False)})
    for name, t in hugging_face_families(charsmap):
        (folder / (name + ".json")).write_text(t.to_str() + "\n")
        write(name + ".expected.json", expected(t))
    write("gguf.expected.json", gguf_fixture())


main()
