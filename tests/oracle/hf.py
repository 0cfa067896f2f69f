#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hf.py TUTTI [NAME...]: the families against PyPI's transformers (4.46.3 with torch 1.13, Debian's, were used).

For every family that this version has: the tiny model of tools/gen-family.py, at a width that transformers accepts, with F16 and
with Q8_0 weights; its tensors given to the model class of transformers under their published names, run in double; and
beside it, in log-probabilities of positions 128..254, the f64 reference of families.py (within SAME) and the engine, within
the limits of families.py, which also says what is done where one token's two best experts are within rounding."""
import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

try:
    import torch
    import transformers
except ImportError as e:
    print(f"*skipped*: {e} (Debian: apt-get install python3-torch; then transformers 4.46.3 from PyPI)")
    sys.exit(0)

import families

SAME = 1e-5
root = pathlib.Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("gen_family", root / "tools/gen-family.py")
gf = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gf)
gf.EMBD = 128  # = HEADS * DIM: most classes of this version take the head size from the width

GRANITE = dict(embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.125, logits_scaling=2.0)

# name: class, what its tensors are named like, options of its configuration
MODELS = {
    "llama": ("Llama", "llama", {}),
    "mistral": ("Mistral", "llama", dict(sliding_window=140)),
    "mixtral": ("Mixtral", "mixtral", dict(num_local_experts=8, num_experts_per_tok=2, sliding_window=None, intermediate_size=gf.FF_EXPERT)),
    "qwen2": ("Qwen2", "plain", {}),
    "qwen2moe": ("Qwen2Moe", "qwen2moe", dict(num_experts=12, num_experts_per_tok=4, moe_intermediate_size=gf.FF_EXPERT,
                                             shared_expert_intermediate_size=gf.FF, norm_topk_prob=False, decoder_sparse_step=1)),
    "olmoe": ("Olmoe", "qwen2moe", dict(num_experts=8, num_experts_per_tok=3, norm_topk_prob=False, intermediate_size=gf.FF_EXPERT)),
    "granite": ("Granite", "llama", GRANITE),
    "granitemoe": ("GraniteMoe", "granitemoe", dict(GRANITE, num_local_experts=8, num_experts_per_tok=3, intermediate_size=gf.FF_EXPERT)),
    "gemma": ("Gemma", "gemma", dict(hidden_activation="gelu_pytorch_tanh")),
    "gemma2": ("Gemma2", "gemma", dict(sliding_window=24, attn_logit_softcapping=1.5, final_logit_softcapping=2.5, query_pre_attn_scalar=gf.DIM,
                                      hidden_activation="gelu_pytorch_tanh")),
    "phi3": ("Phi3", "phi3", dict(sliding_window=33)),
    "chatglm": ("Glm", "glm", dict(partial_rotary_factor=0.5, attention_bias=True)),
}


def halves(w, heads):
    """Rows of q or k whose neighbours rotate together, in the order of transformers: first halves, then second."""
    return w.reshape(heads, -1, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def state(f, kind, family):
    """The file's tensors by the names of transformers."""
    out, k = {}, f.key
    one = 1.0 if kind == "gemma" else 0.0  # the files hold 1 + w

    def put(name, w):
        out[name] = torch.from_numpy(np.ascontiguousarray(w))

    put("model.embed_tokens.weight", f.w("token_embd.weight"))
    put("model.norm.weight", f.w("output_norm.weight") - one)
    put("lm_head.weight", f.w("output.weight" if "output.weight" in f.tensor else "token_embd.weight"))
    for i in range(k["block_count"]):
        b, to = f"blk.{i}.", f"model.layers.{i}."
        has = lambda name: b + name in f.tensor
        w = lambda name: f.w(b + name)
        put(to + "input_layernorm.weight", w("attn_norm.weight") - one)
        if family.get("post_norm"):
            put(to + "post_attention_layernorm.weight", w("post_attention_norm.weight") - one)
            put(to + "pre_feedforward_layernorm.weight", w("ffn_norm.weight") - one)
            put(to + "post_feedforward_layernorm.weight", w("post_ffw_norm.weight") - one)
        else:
            put(to + "post_attention_layernorm.weight", w("ffn_norm.weight") - one)
        turn = (lambda x, n: halves(x, n)) if kind in ("llama", "mixtral", "granitemoe") else (lambda x, n: x)
        for end in ("weight", "bias"):
            if kind == "phi3" and end == "weight":
                put(to + "self_attn.qkv_proj.weight", w("attn_qkv.weight"))
            elif has("attn_qkv." + end):
                n_q, n_kv = k["attention.head_count"] * gf.DIM, k["attention.head_count_kv"] * gf.DIM
                for part, x in zip("qkv", np.split(w("attn_qkv." + end), [n_q, n_q + n_kv])):
                    put(f"{to}self_attn.{part}_proj.{end}", x)
            elif has("attn_q." + end):
                put(f"{to}self_attn.q_proj.{end}", turn(w("attn_q." + end), k["attention.head_count"]))
                put(f"{to}self_attn.k_proj.{end}", turn(w("attn_k." + end), k["attention.head_count_kv"]))
                put(f"{to}self_attn.v_proj.{end}", w("attn_v." + end))
        if has("attn_q_norm.weight"):
            put(to + "self_attn.q_norm.weight", w("attn_q_norm.weight"))
            put(to + "self_attn.k_norm.weight", w("attn_k_norm.weight"))
        put(to + "self_attn.o_proj.weight", w("attn_output.weight"))
        if kind == "mixtral":
            put(to + "block_sparse_moe.gate.weight", w("ffn_gate_inp.weight"))
            for part, name in (("w1", "gate"), ("w3", "up"), ("w2", "down")):
                for e, x in enumerate(w(f"ffn_{name}_exps.weight")):
                    put(f"{to}block_sparse_moe.experts.{e}.{part}.weight", x)
        elif kind == "granitemoe":
            put(to + "block_sparse_moe.router.layer.weight", w("ffn_gate_inp.weight"))
            put(to + "block_sparse_moe.input_linear.weight", np.concatenate([w("ffn_gate_exps.weight"), w("ffn_up_exps.weight")], 1))
            put(to + "block_sparse_moe.output_linear.weight", w("ffn_down_exps.weight"))
        elif kind == "qwen2moe":
            put(to + "mlp.gate.weight", w("ffn_gate_inp.weight"))
            for part in ("gate", "up", "down"):
                for e, x in enumerate(w(f"ffn_{part}_exps.weight")):
                    put(f"{to}mlp.experts.{e}.{part}_proj.weight", x)
                if has(f"ffn_{part}_shexp.weight"):
                    put(f"{to}mlp.shared_expert.{part}_proj.weight", w(f"ffn_{part}_shexp.weight"))
            if has("ffn_gate_inp_shexp.weight"):
                put(to + "mlp.shared_expert_gate.weight", w("ffn_gate_inp_shexp.weight").reshape(1, -1))
        else:
            if kind in ("phi3", "glm"):
                put(to + "mlp.gate_up_proj.weight", w("ffn_up.weight"))
            else:
                put(to + "mlp.gate_proj.weight", w("ffn_gate.weight"))
                put(to + "mlp.up_proj.weight", w("ffn_up.weight"))
            put(to + "mlp.down_proj.weight", w("ffn_down.weight"))
    return out


def published(f, name, family):
    """The model of transformers with the file's weights, in double."""
    cls, kind, more = MODELS[name]
    k = f.key
    options = dict(vocab_size=gf.VOCAB, hidden_size=gf.EMBD, intermediate_size=gf.FF, num_hidden_layers=k["block_count"],
                   num_attention_heads=gf.HEADS, num_key_value_heads=k["attention.head_count_kv"], head_dim=gf.DIM,
                   max_position_embeddings=gf.CONTEXT, rms_norm_eps=1e-5, rope_theta=k["rope.freq_base"],
                   tie_word_embeddings=not family.get("untied", False), pad_token_id=0, attn_implementation="eager", use_cache=False)
    options.update(more)
    if name == "phi3":  # the file's context is beyond the original one: the long table
        long = f.w("rope_factors_long.weight").tolist()
        options.update(rope_scaling=dict(type="longrope", long_factor=long, short_factor=long), original_max_position_embeddings=128)
    config = getattr(transformers, cls + "Config")(**options)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = getattr(transformers, cls + "ForCausalLM")(config).double().eval()
    missing, unknown = model.load_state_dict(state(f, kind, family), strict=False)
    missing = [n for n in missing if "rotary_emb" not in n]
    if missing or unknown:
        sys.exit(f"hf.py: {name}: not given: {missing[:4]}; not known: {unknown[:4]}")
    return model


def main():
    tutti, bad = sys.argv[1].split(), 0
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        text, save = tmp / "text.txt", tmp / "logp.npy"
        text.write_bytes((root / "LICENSE").read_bytes()[:4000])
        for name in sys.argv[2:] or MODELS:
            family = dict(gf.FAMILIES[name])
            if name == "granitemoe":
                family["shared"] = False  # another class has it, in later versions
            if name == "phi3":
                family.update(rope=gf.DIM, attn_factor=float(np.sqrt(1 + np.log(gf.CONTEXT / 128) / np.log(128))))  # all of the head, and its own factor
            for kind in ("F16", "Q8_0"):
                path = tmp / f"{name}.gguf"
                o = argparse.Namespace(name=name, family=family, type=kind, fallback="Q8_0", seed=1, out=path)
                gf.gm.write_file(o, gf.tensors(o), gf.keys(o))
                f = families.File(path)
                out = subprocess.run([*tutti, "tokenize", str(path), "--ids", "--file", str(text)], check=True, capture_output=True, text=True)
                ids = np.array(out.stdout.split(), np.int64)[:families.WINDOW]
                subprocess.run([*tutti, "ppl", str(path), str(text), "-w", str(families.WINDOW), "-n", "1", "--kv", "16", "--save", str(save)],
                               check=True, capture_output=True)
                with torch.no_grad():
                    logits = published(f, name, family)(torch.from_numpy(ids)[None]).logits[0].double().numpy()
                limit = families.LIMIT if kind == "F16" else families.LIMIT_8
                ours, _ = families.compare(families.log_probs(families.FAMILIES[f.arch](f).logits(ids)), logits)
                error, worst = families.compare(np.load(save), logits)
                swap = ""
                if error >= limit and ours < SAME:  # the reference, which is transformers' equal, with the engine's choice of experts
                    error, worst, swap = families.compare_near(np.load(save), f, ids, limit)
                fine = ours < SAME and error < limit
                print(f"{name:11} {kind:5} f64 reference {ours:.1e}, engine {error:.2e} of the spread, worst {worst:.2e}{swap}" + ("" if fine else "  WRONG"),
                      flush=True)
                bad += not fine
    print(f"hf: transformers {transformers.__version__}, torch {torch.__version__}: " + ("ok" if not bad else f"{bad} faults"))
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
