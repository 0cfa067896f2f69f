#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what `tutti explain MODEL --chip lpu --timeline t.json` wrote: the whole token above, a few steps of it below.

    tools/lpu-timeline.py t.json out.png [FIRST_STEP LAST_STEP]      (needs matplotlib)
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

events = json.load(open(sys.argv[1]))["traceEvents"]
first, last = (int(sys.argv[3]), int(sys.argv[4])) if len(sys.argv) > 4 else (110, 121)
names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name" and e["pid"] == 0}
bars = [e for e in events if e["ph"] == "X" and e["pid"] == 0]
used = [t for t in sorted(names) if any(e["tid"] == t for e in bars)]
line = {t: i for i, t in enumerate(used)}
parts = list(dict.fromkeys(e["name"] for e in bars))
colour = {p: plt.get_cmap("tab20")(i % 20) for i, p in enumerate(parts)}

figure, axes = plt.subplots(2, 1, figsize=(13, 11), height_ratios=[1, 1.3])
chosen = [e for e in bars if first <= e["args"]["step"] <= last]
for axis, some in ((axes[0], bars), (axes[1], chosen)):
    for part in parts:
        mine = [e for e in some if e["name"] == part]
        for track in used:
            spans = [(e["ts"], e["dur"]) for e in mine if e["tid"] == track]
            if spans:
                axis.broken_barh(spans, (line[track] - 0.4, 0.8), color=colour[part], linewidth=0)
    axis.set_yticks(range(len(used)), [names[t] for t in used], fontsize=6)
    axis.invert_yaxis()
    axis.set_xlabel("us")
axes[0].set_title("one token, body and head")
axes[1].set_title(f"steps {first} to {last}: one layer")
axes[1].set_xlim(min(e["ts"] for e in chosen), max(e["ts"] + e["dur"] for e in chosen))
handles = [plt.Rectangle((0, 0), 1, 1, color=colour[p]) for p in parts]
figure.legend(handles, parts, loc="lower center", ncol=10, fontsize=7)
figure.tight_layout(rect=(0, 0.04, 1, 1))
figure.savefig(sys.argv[2], dpi=70)
