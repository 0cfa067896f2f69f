#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""quantize.py TUTTI MODEL: files of `tutti quantize` in the eyes of PyPI's gguf. For every type that both know: gguf reads the
file; its values of each matrix are bit for bit those that tutti decodes; and the error against MODEL (F16, BF16 or F32) is at
most that of gguf's own quantiser."""
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, dequantize
from gguf.quants import quantize

tutti, model = sys.argv[1:3]
bad = 0


def matrices(path):
    return {t.name: t for t in GGUFReader(path).tensors}


with tempfile.TemporaryDirectory() as tmp:
    source = {n: dequantize(t.data, t.tensor_type) for n, t in matrices(model).items()}
    for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"):
        kind = GGMLQuantizationType[name]
        ours, back = f"{tmp}/{name}.gguf", f"{tmp}/back.gguf"
        subprocess.run([tutti, "quantize", model, ours, "--type", name, "--head", name, "-q"], check=True)
        subprocess.run([tutti, "quantize", ours, back, "--type", "f32", "--allow-requantize", "-q", "--force"], check=True)
        decoded = matrices(back)
        e_ours = e_theirs = size = 0.0
        n = 0
        for key, t in matrices(ours).items():
            if t.tensor_type != kind:
                continue
            x, y = source[key].astype(np.float64), dequantize(t.data, t.tensor_type)
            z = np.frombuffer(decoded[key].data.tobytes(), np.float32).reshape(y.shape)
            if not np.array_equal(y.view(np.uint32) << 1, z.view(np.uint32) << 1) and not np.array_equal(y, z):
                print(f"{name} {key}: tutti decodes {np.sum(y != z)} of {y.size} values otherwise")
                bad += 1
            e_ours += ((x - y) ** 2).sum()
            if not name.endswith("_K"):  # gguf has no quantiser of these
                e_theirs += ((x - dequantize(quantize(source[key], kind), kind)) ** 2).sum()
            size += (x**2).sum()
            n += 1
        print(f"{name}: {n} matrices, error {100 * (e_ours / size) ** 0.5:.3f} %, gguf's own {100 * (e_theirs / size) ** 0.5:.3f} %")
        bad += n == 0 or (e_theirs > 0 and e_ours > 1.001 * e_theirs)
print("quantize: ok" if not bad else f"quantize: {bad} faults")
sys.exit(bad != 0)
