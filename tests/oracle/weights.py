#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""weights.py TUTTI: weight types against PyPI's gguf and an f64 reference. For every type a synthetic model of random blocks:

  - its values as tutti decodes them (`tutti quantize --type f32`) are bit for bit those of gguf.quants.dequantize (of Q1_0 and
    Q2_0, which gguf does not read, those of this file);
  - its log-probabilities, by the type's own kernels, agree with the f64 reference of families.py on those values, within
    that file's limit for 8-bit activations.

Needs numpy and gguf."""
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGMLQuantizationType, quants

import families

tutti = sys.argv[1].split()
root = pathlib.Path(__file__).resolve().parents[2]
TYPES = ("Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4 NVFP4 Q1_0 Q2_0 TQ1_0 TQ2_0 IQ1_S IQ1_M "
         "IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S").split()


def by_definition(name, blocks):
    d, q = blocks[:, :2].copy().view("<f2").astype(np.float32), blocks[:, 2:]
    if name == "Q1_0":  # a bit each, lowest first: d or -d
        return d * (np.unpackbits(q, axis=1, bitorder="little").astype(np.float32) * 2 - 1)
    return d * ((q[:, :, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(len(q), -1).astype(np.float32) - 1)


def values(f, name):
    """A matrix of the file in f32 by gguf, or None if it is of another type than those of TYPES."""
    dims, kind, at = f.tensor[name]
    kind = GGMLQuantizationType(kind) if kind != 42 else "Q2_0"
    label = kind if kind == "Q2_0" else kind.name
    if label not in TYPES:
        return None
    block, size = gm.TYPES[label][1:3]
    n = int(np.prod(dims)) // block
    raw = np.frombuffer(f.b, np.uint8, n * size, f.data + at).reshape(n, size)
    with np.errstate(all="ignore"):
        x = by_definition(label, raw) if label in ("Q1_0", "Q2_0") else quants.dequantize(raw, kind)
    return x.reshape(dims[::-1])


def log_probs(path, folder):
    save = folder / "logp.npy"
    subprocess.run([*tutti, "ppl", str(path), str(folder / "text.txt"), "-w", str(families.WINDOW), "-n", "1", "--kv", "16", "--save", str(save)],
                   check=True, capture_output=True)
    return np.load(save).astype(np.float64)


spec = importlib.util.spec_from_file_location("gen_model", root / "tools/gen-model.py")
gm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gm)
bad = 0
with tempfile.TemporaryDirectory() as tmp:
    tmp = pathlib.Path(tmp)
    (tmp / "text.txt").write_bytes((root / "LICENSE").read_bytes()[:4000])
    for name in TYPES:
        path, plain = tmp / "own.gguf", tmp / "plain.gguf"
        subprocess.run([sys.executable, root / "tools/gen-model.py", path, "--preset", "small", "--type", name], check=True, capture_output=True)
        subprocess.run([*tutti, "quantize", path, plain, "--type", "f32", "--head", "f32", "--allow-requantize", "-q", "--force"], check=True)
        own, back, n, wrong = families.File(path), families.File(plain), 0, 0
        for tensor in own.tensor:
            want = values(own, tensor)
            if want is None:
                continue
            got = back.w(tensor).astype(np.float32)
            n += want.size
            wrong += int((got != want).sum())
        out = subprocess.run([*tutti, "tokenize", str(path), "--ids", "--file", str(tmp / "text.txt")], check=True, capture_output=True, text=True)
        ids = np.array(out.stdout.split(), np.int64)[:families.WINDOW]
        error, worst = families.compare(log_probs(path, tmp), families.Llama(back).logits(ids))
        fine = n > 0 and wrong == 0 and error < families.LIMIT_8
        print(f"{name:8} {n} values, {wrong} differ; log-probabilities: error {error:.2e} of the spread, worst {worst:.2e}" + ("" if fine else "  WRONG"))
        bad += not fine
print("weights: ok" if not bad else f"weights: {bad} faults")
sys.exit(bad != 0)
