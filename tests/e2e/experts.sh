#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# experts.sh PROGRAM...: a model of 64 experts a layer whose experts take most of it, made here. With memory for an eighth of
# the experts, and for none, the bits are those of the whole model in memory, and the process holds as much less.
set -u
cd "$(dirname "$0")/../.." || exit 2
if ! python3 -c 'import numpy' 2>/dev/null; then
    echo "*skipped*: the model is made with numpy (python3 -m pip install numpy)"
    exit 0
fi
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
python3 tests/oracle/experts.py "$dir/model.gguf" "$@"
