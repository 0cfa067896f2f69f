#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gen-folder.py MODEL.gguf DIR [options]: a model as it would have been published: config.json, safetensors with the original
names and row order, tokenizer.json, a chat template. Read back, it must give the bits of MODEL.gguf. The reverse of
src/folder, written from the published layouts; byte-level tokenizers, the families of tools/gen-family.py. Needs numpy.

    --shards N         several files and an index
    --type F32|BF16    other values: matrices are rounded to bfloat16, or widened (default: as in the file)
    --merges pairs     merges as lists of two (newer files) instead of "left right"
    --odd              data that begins at odd places, as old writers left it
    --quant METHOD     projections as METHOD publishes them: fp8 (one scale), fp8-row, fp8-tile, nvfp4, nvfp4-div (the matrix's scale divides), gptq,
                       gptq-zeros (zero points differ), gptq-order (groups out of order), awq. --file OUT.gguf gets the same numbers in the types
                       that doc/arithmetic.md gives them (Llama and Qwen only); --wide DIR a folder with the numbers of fp8 as F32 (any family)
"""
import argparse
import json
import math
import pathlib
import struct
import sys

import numpy as np

PUBLISHED = {
    "llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "mixtral": "MixtralForCausalLM", "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM", "qwen2moe": "Qwen2MoeForCausalLM", "qwen3moe": "Qwen3MoeForCausalLM", "phi3": "Phi3ForCausalLM",
    "gemma": "GemmaForCausalLM", "gemma2": "Gemma2ForCausalLM", "gemma3": "Gemma3ForCausalLM", "granite": "GraniteForCausalLM",
    "granitemoe": "GraniteMoeSharedForCausalLM", "smollm3": "SmolLM3ForCausalLM", "olmo2": "Olmo2ForCausalLM",
    "olmo3": "Olmo3ForCausalLM", "olmoe": "OlmoeForCausalLM", "gpt-oss": "GptOssForCausalLM", "seed_oss": "SeedOssForCausalLM",
    "glm4": "Glm4ForCausalLM", "ernie4_5": "Ernie4_5ForCausalLM", "exaone": "ExaoneForCausalLM", "internlm2": "InternLM2ForCausalLM",
    "glm4moe": "Glm4MoeForCausalLM", "deepseek2": "DeepseekV3ForCausalLM", "deepseek2-old": "DeepseekV2ForCausalLM",
    "grok2": "Grok1ForCausalLM",
}
TURNED = {"llama", "mistral", "mixtral", "granite", "granitemoe", "smollm3", "internlm2"}
POST = {"gemma2", "gemma3", "olmo2", "olmo3", "gpt-oss", "seed_oss"}
LATENT = {"attn_q_a": "q_a_proj", "attn_q_a_norm": "q_a_layernorm", "attn_q_b": "q_b_proj", "attn_kv_a_mqa": "kv_a_proj_with_mqa",
          "attn_kv_a_norm": "kv_a_layernorm", "attn_kv_b": "kv_b_proj"}
SHARED = {"glm4moe", "deepseek2", "deepseek2-old"}  # shared experts of their own names, choice by a bias, layers for further tokens
PIECES = 4  # Grok 2: of each expert, for as many devices; the published files have 8
PERIOD = {"gemma2": 2, "gemma3": 6, "olmo3": 4, "gpt-oss": 2}


class Gguf:
    """Keys, and tensors as (type name, array [rows...][columns]); MXFP4 as an array of blocks of 17 bytes."""

    def __init__(self, path):
        self.b, self.at = np.fromfile(path, np.uint8).tobytes(), 8
        n_tensors, n_keys = self.take("<QQ")
        self.key, info = {}, []
        for _ in range(n_keys):
            name = self.text()
            self.key[name] = self.value(self.take("<I")[0])
        self.keys_end = self.at
        for _ in range(n_tensors):
            name = self.text()
            dims = self.take("<%dQ" % self.take("<I")[0])
            info.append((name, dims, *self.take("<IQ")))
        start, self.tensor = -(-self.at // 32) * 32, {}
        for name, dims, kind, at in info:
            shape, n = dims[::-1], math.prod(dims)
            if kind == 39:
                x = np.frombuffer(self.b, np.uint8, n // 32 * 17, start + at).reshape(*shape[:-1], shape[-1] // 32, 17)
                self.tensor[name] = ("MXFP4", x)
                continue
            if kind not in (0, 1, 30):
                sys.exit(f"gen-folder: {name}: type {kind} was never published so")
            kind, form = {0: ("F32", "<f4"), 1: ("F16", "<f2"), 30: ("BF16", "<u2")}[kind]
            self.tensor[name] = (kind, np.frombuffer(self.b, form, n, start + at).reshape(shape))

    def take(self, form):
        v = struct.unpack_from(form, self.b, self.at)
        self.at += struct.calcsize(form)
        return v

    def text(self):
        n = self.take("<Q")[0]
        self.at += n
        return self.b[self.at - n:self.at].decode()

    def value(self, t):
        if t == 8:
            return self.text()
        if t == 9:
            elem, n = self.take("<IQ")
            return [self.value(elem) for _ in range(n)]
        return self.take({0: "<B", 4: "<I", 5: "<i", 6: "<f", 7: "<?"}[t])[0]


def widen(kind, x):
    return (x.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else x.astype(np.float32)


def narrow(x):
    u = x.astype(np.float32).view(np.uint32)
    return ((u + 0x7fff + (u >> 16 & 1)) >> 16).astype("<u2")


def halves(x, heads):
    """Rows of pairs (2i, 2i + 1) back to rows of halves (i, i + dim / 2)."""
    return x.reshape(heads, x.shape[0] // heads // 2, 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def convert(g, name, o):
    """{published name: (type, array)}"""
    arch = g.key["general.architecture"]
    k = {n.removeprefix(arch + "."): v for n, v in g.key.items()}
    heads, kv, out = k["attention.head_count"], k["attention.head_count_kv"], {}
    turned, exaone, intern = name in TURNED, name == "exaone", name == "internlm2"
    norms = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    if name in POST:
        norms = {"attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
                 "post_ffw_norm": "post_feedforward_layernorm"}
    if name == "glm4":
        norms.update({"post_attention_norm": "post_self_attn_layernorm", "post_ffw_norm": "post_mlp_layernorm"})
    if name == "glm4moe":
        norms["post_attention_norm"] = norms.pop("ffn_norm")
    if name == "grok2":
        norms = {"attn_norm": "pre_attn_norm", "attn_output_norm": "post_attn_norm", "ffn_norm": "pre_moe_norm", "post_ffw_norm": "post_moe_norm"}
    if exaone:
        norms = {"attn_norm": "ln_1", "ffn_norm": "ln_2"}
    if intern:
        norms = {"attn_norm": "attention_norm", "ffn_norm": "ffn_norm"}
    attn = "attn.attention." if exaone else "self_attn."
    linears = {"attn_q": attn + "q_proj", "attn_k": attn + "k_proj", "attn_v": attn + "v_proj",
               "attn_output": attn + ("out_proj" if exaone else "o_proj"), "attn_qkv": attn + "qkv_proj", "attn_q_norm": attn + "q_norm",
               "attn_k_norm": attn + "k_norm", "attn_sinks": attn + "sinks", "ffn_gate": "mlp.gate_proj",
               "ffn_up": "mlp.up_proj" if "blk.0.ffn_gate.weight" in g.tensor else "mlp.gate_up_proj", "ffn_down": "mlp.down_proj",
               "ffn_gate_inp": "mlp.gate", "ffn_gate_inp_shexp": "mlp.shared_expert_gate", "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
               "ffn_up_shexp": "mlp.shared_expert.up_proj", "ffn_down_shexp": "mlp.shared_expert.down_proj"}
    linears.update({ours: "self_attn." + to for ours, to in LATENT.items()})
    if name in SHARED:
        linears.update({f"ffn_{p}_shexp": f"mlp.shared_experts.{p}_proj" for p in ("gate", "up", "down")})
    if exaone:
        linears.update({"ffn_gate": "mlp.c_fc_0", "ffn_up": "mlp.c_fc_1", "ffn_down": "mlp.c_proj"})
    if intern:
        linears.update({"attn_output": "attention.wo", "ffn_gate": "feed_forward.w1", "ffn_up": "feed_forward.w3", "ffn_down": "feed_forward.w2"})
    if name == "gpt-oss":
        linears["ffn_gate_inp"] = "mlp.router"
    if name in ("mixtral", "grok2"):
        linears["ffn_gate_inp"] = "block_sparse_moe.gate"
    if name == "granitemoe":
        linears.update({"ffn_gate_inp": "block_sparse_moe.router.layer", "ffn_down_shexp": "shared_mlp.output_linear"})
    root = "transformer.h." if exaone else "model.layers."
    held = {}  # matrices that are published together, by layer
    for full, (kind, x) in g.tensor.items():
        base, _, end = full.rpartition(".")
        if base in ("rope_factors_long", "rope_factors_short", "rope_freqs"):
            continue
        if base in ("token_embd", "output_norm", "output"):
            if base == "output_norm" and name.startswith("gemma"):
                x = x - np.float32(1)
            out[{"token_embd": "transformer.wte" if exaone else "model.tok_embeddings" if intern else "model.embed_tokens",
                 "output_norm": "transformer.ln_f" if exaone else "model.norm", "output": "output" if intern else "lm_head"}[base] + ".weight"] = (kind, x)
            continue
        _, layer, base = base.split(".", 2)
        pre = f"{root}{layer}."
        if base in norms:
            out[f"{pre}{norms[base]}.weight"] = (kind, x - np.float32(1) if name.startswith("gemma") else x)
            continue
        if base in ("attn_q", "attn_k") and turned:
            x = halves(x, heads if base == "attn_q" else kv)
        if base in ("attn_q_norm", "attn_k_norm") and name.startswith("gemma"):
            x = x - np.float32(1)
        group = ("attn_q", "attn_k", "attn_v") if intern else ("ffn_gate_shexp", "ffn_up_shexp") if name == "granitemoe" else ()
        if base in ("attn_k_b", "attn_v_b") or base in group or base.endswith("_exps"):
            held.setdefault(layer, {})[base, end] = (kind, x)
        elif base == "attn_sinks":
            out[pre + linears[base]] = (kind, x)
        elif base == "exp_probs_b":
            out[pre + "mlp.gate.e_score_correction_bias"] = (kind, x)
        else:
            out[f"{pre}{linears[base]}.{end}"] = (kind, x.reshape(1, -1) if base == "ffn_gate_inp_shexp" else x)
    if name in SHARED:
        out[f"{root}{k['block_count']}.eh_proj.weight"] = ("F32", np.ones((2, 2), np.float32))
    for layer, h in held.items():
        join(name, f"{root}{layer}.", h, heads, kv, out)
    return out


def join(name, pre, h, heads, kv, out):
    """What the families publish as one tensor, or expert by expert."""
    if name == "internlm2":
        (kind, q), (_, k), (_, v) = (h["attn_" + p, "weight"] for p in "qkv")
        dim = q.shape[0] // heads
        parts = [x.reshape(kv, -1, dim, x.shape[1]) for x in (q, k, v)]
        out[pre + "attention.wqkv.weight"] = (kind, np.concatenate(parts, 1).reshape(-1, q.shape[1]))
        return
    if name == "granitemoe":
        (kind, gate), (_, up), (_, down) = (h[f"ffn_{p}_exps", "weight"] for p in ("gate", "up", "down"))
        out[pre + "block_sparse_moe.input_linear.weight"] = (kind, np.concatenate([gate, up], 1))
        out[pre + "block_sparse_moe.output_linear.weight"] = (kind, down)
        (kind, gate), (_, up) = h["ffn_gate_shexp", "weight"], h["ffn_up_shexp", "weight"]
        out[pre + "shared_mlp.input_linear.weight"] = (kind, np.concatenate([gate, up], 0))
        return
    if name == "gpt-oss":
        for to, parts in (("gate_up_proj", ("gate", "up")), ("down_proj", ("down",))):
            bias = np.stack([h[f"ffn_{p}_exps", "bias"][1] for p in parts], -1)
            out[f"{pre}mlp.experts.{to}_bias"] = ("F32", bias.reshape(bias.shape[0], -1))
            kind, x = h[f"ffn_{parts[0]}_exps", "weight"][0], np.stack([h[f"ffn_{p}_exps", "weight"][1] for p in parts], 2)
            x = x.reshape(x.shape[0], -1, *x.shape[3:])  # [experts][rows, in turn][columns or blocks...]
            if kind != "MXFP4":
                out[f"{pre}mlp.experts.{to}"] = (kind, np.ascontiguousarray(x.swapaxes(1, 2)))
                continue
            codes = np.concatenate([x[..., 1:] & 15, x[..., 1:] >> 4], -1)
            out[f"{pre}mlp.experts.{to}_blocks"] = ("U8", (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8))
            out[f"{pre}mlp.experts.{to}_scales"] = ("U8", np.ascontiguousarray(x[..., 0]))
        return
    if ("attn_k_b", "weight") in h:  # [heads][rank][nope] and [heads][v][rank]
        (kind, up), (_, v) = h["attn_k_b", "weight"], h["attn_v_b", "weight"]
        out[pre + "self_attn.kv_b_proj.weight"] = (kind, np.concatenate([up.swapaxes(1, 2), v], 1).reshape(-1, v.shape[2]))
    if ("ffn_gate_exps", "weight") not in h:
        return
    names = {"gate": "w1", "up": "w3", "down": "w2"} if name in ("mixtral", "grok2") else {p: p + "_proj" for p in ("gate", "up", "down")}
    where = "block_sparse_moe" if name in ("mixtral", "grok2") else "mlp"
    for p, to in names.items():
        kind, x = h[f"ffn_{p}_exps", "weight"]
        for i in range(x.shape[0]):
            out[f"{pre}{where}.experts.{i}.{to}.weight"] = (kind, x[i])


# --- published quantisation ---------------------------------------------------------------------------------------------

E4M3 = np.array([(b & 7) * 2.0 ** -9 if b >> 3 == 0 else (8 + (b & 7)) * 2.0 ** ((b >> 3) - 10) for b in range(127)], np.float32)
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6], np.float32)
TILE, GROUP = (32, 64), 32


def nearest(table, x):
    """Index of the nearest value, the sign as the bit above."""
    at = np.abs(np.abs(x)[..., None] - table).argmin(-1)
    return (at + (x < 0) * (1 << (len(table) - 1).bit_length())).astype(np.uint8)


def value(table, code):
    top = 1 << (len(table) - 1).bit_length()
    return np.where(code >= top, -1, 1).astype(np.float32) * table[code % top]


def fp8(x, method):
    n, k = x.shape
    tn, tk = {"fp8": (n, k), "fp8-row": (1, k), "fp8-tile": TILE}[method]
    rows, cols = -(-n // tn), -(-k // tk)
    scale = np.array([[np.abs(x[i * tn:(i + 1) * tn, j * tk:(j + 1) * tk]).max() / 448 for j in range(cols)] for i in range(rows)], np.float32)
    wide = scale.repeat(tn, 0).repeat(tk, 1)[:n, :k]
    codes = nearest(E4M3, x / wide)
    name = "weight_scale_inv" if method == "fp8-tile" else "weight_scale"
    out = {"weight": ("F8_E4M3", codes), name: ("F32", scale.reshape(()) if method == "fp8" else scale), "input_scale": ("F32", np.float32([1]))}
    return out, {0: (value(E4M3, codes) * wide).astype("<f4").view(np.uint8)}


def nvfp4(x, method):
    n, k = x.shape
    top = np.abs(x).reshape(n, k // 16, 16).max(-1)
    all_ = np.float32(top.max() / (6 * 448))
    scale = nearest(E4M3, top / 6 / all_)
    wide = value(E4M3, scale).repeat(16, 1)
    codes = nearest(E2M1, x / np.maximum(wide * all_, np.float32(1e-30)))
    packed = codes[:, 0::2] | codes[:, 1::2] << 4
    block = (value(E2M1, codes) * wide).astype(np.float32)
    if method == "nvfp4":
        return ({"weight": ("U8", packed), "weight_scale": ("F8_E4M3", scale), "weight_scale_2": ("F32", all_.reshape(()))},
                {0: (block * all_).astype("<f4").view(np.uint8)})
    by = np.float32(1) / all_
    return ({"weight_packed": ("U8", packed), "weight_scale": ("F8_E4M3", scale), "weight_global_scale": ("F32", by.reshape(1))},
            {0: (block / by).astype("<f4").view(np.uint8)})


def words(x, order):
    """Eight codes along the last axis in a word."""
    x = x.reshape(*x.shape[:-1], -1, 8)[..., order].astype(np.uint32)
    return (x << (4 * np.arange(8, dtype=np.uint32))).sum(-1, dtype=np.uint32).view("<i4")


def blocks(scale, q, middle):
    """Q4_0 (8) or Q5_0 (16) of codes less their zero points."""
    n, k = q.shape
    q = (q + middle).astype(np.uint8).reshape(n, k // 32, 32)
    parts = [scale.repeat(GROUP // 32, 1).astype("<f2")[..., None].view(np.uint8)]
    if middle == 16:
        high = ((q >> 4).astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(-1, dtype=np.uint64).astype("<u4")
        parts.append(high[..., None].view(np.uint8))
    parts.append((q[..., :16] & 15) | (q[..., 16:] & 15) << 4)
    return np.concatenate(parts, -1).reshape(n, -1)


def packed(x, method, rng):
    n, k = x.shape
    groups = np.arange(k) // GROUP
    if method == "gptq-order":
        groups = rng.permutation(groups)
    top = np.stack([np.abs(x[:, groups == g]).max(1) for g in range(k // GROUP)], 1)
    scale = (top / 7).astype(np.float16)
    zero = np.full(scale.shape, 8) if method in ("gptq", "gptq-order") else rng.integers(1, 15, scale.shape)
    code = np.clip(np.rint(x / scale.astype(np.float32)[:, groups]) + zero[:, groups], 0, 15).astype(np.int32)
    q = code - zero[:, groups]
    if method == "awq":
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        out = {"qweight": ("I32", words(code.T, order)), "qzeros": ("I32", words(zero.T, order))}
    else:
        plain = list(range(8))
        out = {"qweight": ("I32", words(code, plain).T), "qzeros": ("I32", words(zero.T - 1, plain)), "g_idx": ("I32", groups.astype("<i4"))}
    out["scales"] = ("F16", scale.T)
    if method == "gptq-order":
        return out, {0: (q.astype(np.float32) * scale.astype(np.float32)[:, groups]).astype("<f4").view(np.uint8)}
    same = {6: blocks(scale, q, 16)}
    if (zero == 8).all():
        same[2] = blocks(scale, q, 8)
    return out, same


def quantise(g, tensors, name, o):
    """Projections as published; and {GGUF name: (type, bytes)}."""
    import re
    arch, rng = g.key["general.architecture"], np.random.default_rng(1)
    heads = {"attn_q": g.key[arch + ".attention.head_count"], "attn_k": g.key[arch + ".attention.head_count_kv"]}
    ours = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
            "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    out, same, stacks = {}, {}, {}
    for full, (kind, x) in tensors.items():
        m = re.fullmatch(r"model\.layers\.(\d+)\.(?:mlp\.experts\.(\d+)\.(gate|up|down)_proj|(self_attn\.\w|mlp\.\w+)_proj)\.weight", full)
        if not m:
            out[full] = (kind, x)
            continue
        layer, expert, part, own = m.groups()
        method = o.quant
        if method == "gptq-zeros" and expert and int(expert) % 2 == 0:
            method = "gptq"  # stacks of both kinds
        x = widen(kind, x)
        parts, forms = fp8(x, method) if method.startswith("fp8") else nvfp4(x, method) if method.startswith("nvfp4") else packed(x, method, rng)
        for end, t in parts.items():
            out[full[:-len("weight")] + end] = t
        if expert:
            stacks.setdefault(f"blk.{layer}.ffn_{part}_exps.weight", []).append(forms)
            continue
        base = ours[own + "_proj"]
        kind = min(forms)  # Q4_0 where both are the same numbers
        rows = forms[kind]
        if name in TURNED and base in heads:  # back to pairs
            rows = rows.reshape(heads[base], 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
        same[f"blk.{layer}.{base}.weight"] = (kind, rows)
    for full, forms in stacks.items():
        kind = min(set.intersection(*(set(f) for f in forms)))
        same[full] = (kind, np.concatenate([f[kind] for f in forms]))
    return out, same


def quantise_fp8(tensors, method):
    """All matrices of layers but routers as FP8, and the same numbers as F32."""
    out, wide = {}, {}
    for full, (kind, x) in tensors.items():
        if x.ndim != 2 or ".layers." not in full or not full.endswith("_proj.weight") and "with_mqa" not in full or "eh_proj" in full:
            out[full] = wide[full] = (kind, x)
            continue
        parts, forms = fp8(widen(kind, x), method)
        out.update({full[:-len("weight")] + end: t for end, t in parts.items()})
        wide[full] = ("F32", forms[0].view("<f4").reshape(x.shape))
    return out, wide


def write_same(g, path, same):
    """The GGUF file with these tensors instead."""
    info, data, at = b"", b"", 0
    for name, (kind, x) in g.tensor.items():
        kind, raw = same[name] if name in same else ({"F32": 0, "F16": 1, "BF16": 30}[kind], x)
        dims = x.shape[::-1]
        info += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, len(data))
        raw = np.ascontiguousarray(raw).tobytes()
        data += raw + bytes(-len(raw) % 32)
    head = g.b[:g.keys_end] + info
    path.write_bytes(head + bytes(-len(head) % 32) + data)


def config(g, name):
    arch = g.key["general.architecture"]
    k = {n.removeprefix(arch + "."): v for n, v in g.key.items()}
    latent = "attention.kv_lora_rank" in k
    layers, dim = k["block_count"], k["rope.dimension_count" if latent else "attention.key_length"]
    c = {"architectures": [PUBLISHED[name]], "hidden_size": k["embedding_length"], "intermediate_size": k["feed_forward_length"],
         "num_attention_heads": k["attention.head_count"], "num_key_value_heads": k["attention.head_count_kv"], "head_dim": dim,
         "max_position_embeddings": k["context_length"], "rms_norm_eps": float("%.6g" % k["attention.layer_norm_rms_epsilon"]),
         "rope_theta": k["rope.freq_base"], "vocab_size": len(g.key["tokenizer.ggml.tokens"]), "hidden_act": "silu",
         "tie_word_embeddings": "output.weight" not in g.tensor, "bos_token_id": 1, "eos_token_id": 2,
         "num_layers" if name == "exaone" else "num_hidden_layers": layers}
    if name == "grok2":
        del c["hidden_act"], c["tie_word_embeddings"]
        for to, key in (("embedding_multiplier_scale", "embedding_scale"), ("output_multiplier_scale", "logit_scale"),
                        ("attn_output_multiplier", "attention.output_scale"), ("router_logit_softcapping", "router_logit_softcapping"),
                        ("attn_temperature_len", "attention.temperature_length")):
            c[to] = k[key]
        c.update({"residual_moe": True, "sliding_window_size": -1, "global_attn_every_n": 1, "model_type": "git", "torch_dtype": "bfloat16",
                  "rope_type": "original", "original_max_position_embeddings": 64, "scaling_factor": 16.0, "extrapolation_factor": 1.0,
                  "attn_factor": 1.0, "beta_fast": 8, "beta_slow": 1})
    if name.startswith("gemma"):
        c["hidden_activation"] = c.pop("hidden_act") and "gelu_pytorch_tanh"
    if k["rope.dimension_count"] != dim:
        c["partial_rotary_factor"] = k["rope.dimension_count"] / dim
    window = k.get("attention.sliding_window")
    if window:
        period = PERIOD.get(name, 0)
        c["sliding_window"] = window
        c["layer_types"] = ["full_attention" if period and (i + 1) % period == 0 else "sliding_attention" for i in range(layers)]
    for to, key in (("num_local_experts", "expert_count"), ("num_experts_per_tok", "expert_used_count"), ("moe_intermediate_size", "expert_feed_forward_length"),
                    ("shared_expert_intermediate_size", "expert_shared_feed_forward_length"), ("embedding_multiplier", "embedding_scale"),
                    ("residual_multiplier", "residual_scale"), ("attention_multiplier", "attention.scale"), ("logits_scaling", "logit_scale"),
                    ("n_shared_experts", "expert_shared_count"), ("first_k_dense_replace", "leading_dense_block_count"),
                    ("routed_scaling_factor", "expert_weights_scale"), ("n_group", "expert_group_count"), ("topk_group", "expert_group_used_count"),
                    ("q_lora_rank", "attention.q_lora_rank"), ("kv_lora_rank", "attention.kv_lora_rank"),
                    ("attn_logit_softcapping", "attn_logit_softcapping"), ("final_logit_softcapping", "final_logit_softcapping")):
        if key in k and not (name == "grok2" and key in ("embedding_scale", "logit_scale")):
            c[to] = k[key]
    if name in SHARED:
        sigmoid = "blk.1.exp_probs_b.bias" in g.tensor
        c.update({"n_routed_experts": c.pop("num_local_experts"), "norm_topk_prob": bool(k.get("expert_weights_norm", False)), "num_nextn_predict_layers": 1})
        if latent:
            mla = "_mla" if "attention.key_length_mla" in k else ""
            c.update({"qk_rope_head_dim": dim, "qk_nope_head_dim": k["attention.key_length" + mla] - dim, "v_head_dim": k["attention.value_length" + mla],
                      "scoring_func": "sigmoid" if sigmoid else "softmax", "topk_method": "noaux_tc" if sigmoid else "group_limited_greedy", "moe_layer_freq": 1})
    if name in ("gemma2", "gemma3"):
        c["query_pre_attn_scalar"] = dim
    kind = k.get("rope.scaling.type")
    if kind == "yarn":
        c["rope_scaling"] = {"rope_type": "yarn", "factor": k["rope.scaling.factor"], "beta_fast": 32.0, "beta_slow": 1.0,
                             "original_max_position_embeddings": k["rope.scaling.original_context_length"]}
        if name == "gpt-oss":
            c["rope_scaling"]["truncate"] = False
        if "rope.scaling.yarn_log_multiplier" in k:
            mscale = round(10 * k["rope.scaling.yarn_log_multiplier"], 6)
            c["rope_scaling"].update({"mscale": mscale, "mscale_all_dim": mscale})
    if kind == "linear":
        c["rope_scaling"] = {"rope_type": "linear", "factor": k["rope.scaling.factor"]}
    if "rope_factors_long.weight" in g.tensor:
        c["original_max_position_embeddings"] = k["rope.scaling.original_context_length"]
        c["rope_scaling"] = {"type": "longrope", "attention_factor": k["rope.scaling.attn_factor"],
                             **{f"{p}_factor": [float(v) for v in g.tensor[f"rope_factors_{p}.weight"][1]] for p in ("long", "short")}}
    return c


def tokenizer(g, o):
    """Byte-level BPE, digits one by one (the GGUF name of it is smollm)."""
    tokens, types = g.key["tokenizer.ggml.tokens"], g.key["tokenizer.ggml.token_type"]
    merges = g.key["tokenizer.ggml.merges"]
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, t in enumerate(tokens) if types[i] == 3]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
            "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": {t: i for i, t in enumerate(tokens) if types[i] == 1 or types[i] == 3},
                      "merges": [m.split(" ") for m in merges] if o.merges == "pairs" else merges}}


def write_safetensors(path, tensors, odd):
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (kind, x) in tensors.items():
        head[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8 + (3 if odd else 0))
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, x in tensors.values():
            f.write(np.ascontiguousarray(x).tobytes())


def write_pieces(dir, tensors, o):
    """A file for each of the matrices of experts and each device, files for the rest, no index."""
    common = {n: t for n, t in tensors.items() if ".experts." not in n}
    for i, names in enumerate((list(common)[0::2], list(common)[1::2])):
        write_safetensors(dir / f"pytorch_model-{i:05}-TP-common.safetensors", {n: common[n] for n in names}, o.odd)
    for i, (w, axis) in enumerate((("w1", 0), ("w2", 1), ("w3", 0))):
        for rank in range(PIECES):
            part = {n: (kind, np.split(x, PIECES, axis)[rank]) for n, (kind, x) in tensors.items() if n.endswith(f".{w}.weight") and ".experts." in n}
            write_safetensors(dir / f"pytorch_model-{i + 6:05}-TP-{rank:03}.safetensors", part, o.odd)


def write_folder(dir, g, c, tensors, o):
    dir.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    if c["architectures"] == ["Grok1ForCausalLM"]:
        write_pieces(dir, tensors, o)
    elif o.shards == 1:
        write_safetensors(dir / "model.safetensors", tensors, o.odd)
    else:
        files = [f"model-{i + 1:05}-of-{o.shards:05}.safetensors" for i in range(o.shards)]
        for i, file in enumerate(files):
            write_safetensors(dir / file, {n: tensors[n] for n in names[i::o.shards]}, o.odd)
        index = {"metadata": {"total_size": sum(x.nbytes for _, x in tensors.values())},
                 "weight_map": {n: files[i % o.shards] for i, n in enumerate(names)}}
        (dir / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    tokens = g.key["tokenizer.ggml.tokens"]
    (dir / "config.json").write_text(json.dumps(c, indent=2))
    (dir / "tokenizer.json").write_text(json.dumps(tokenizer(g, o), ensure_ascii=False))
    (dir / "tokenizer_config.json").write_text(json.dumps({
        "add_bos_token": False, "bos_token": tokens[g.key["tokenizer.ggml.bos_token_id"]], "eos_token": {"content": tokens[g.key["tokenizer.ggml.eos_token_id"]]},
        "chat_template": g.key["tokenizer.chat_template"]}, indent=2))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("dir", type=pathlib.Path)
    p.add_argument("--name", choices=PUBLISHED, help="family (default: the name of the file)")
    p.add_argument("--shards", type=int, default=1)
    p.add_argument("--type", choices=("F32", "BF16"))
    p.add_argument("--merges", choices=("text", "pairs"), default="text")
    p.add_argument("--odd", action="store_true")
    p.add_argument("--quant", choices=("fp8", "fp8-row", "fp8-tile", "nvfp4", "nvfp4-div", "gptq", "gptq-zeros", "gptq-order", "awq"))
    p.add_argument("--file", type=pathlib.Path)
    p.add_argument("--wide", type=pathlib.Path)
    o = p.parse_args()
    name = o.name or o.model.stem
    g = Gguf(o.model)
    tensors = convert(g, name, o)
    if o.type:
        wide = {n: (k, widen(k, x) if k != "U8" else x) for n, (k, x) in tensors.items()}
        tensors = {n: (k, x) if k == "U8" else ("F32", x) if o.type == "F32" or x.ndim < 2 else ("BF16", narrow(x)) for n, (k, x) in wide.items()}
    c = config(g, name)
    if o.wide:
        tensors, wide = quantise_fp8(tensors, o.quant)
        write_folder(o.wide, g, c, wide, o)
    elif o.quant:
        tensors, same = quantise(g, tensors, name, o)
        write_same(g, o.file, same)
    if o.quant:
        c["quantization_config"] = {"gptq": {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "checkpoint_format": "gptq"},
                                    "awq": {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True},
                                    "nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4"},
                                    "fp8": {"quant_method": "fp8", "weight_block_size": TILE if o.quant == "fp8-tile" else None}}[o.quant.split("-")[0]]
    write_folder(o.dir, g, c, tensors, o)


if __name__ == "__main__":
    main()
