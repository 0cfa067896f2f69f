#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# serve.sh PROGRAM...: `tutti serve` as its clients and its operator meet it: serve.py with the standard library alone,
# serve_clients.py with the clients that people use (from PyPI; tools/deps --tests puts them where they are looked for here).
set -u
command -v python3 >/dev/null || { echo "serve: *skipped*: no python3"; exit 0; }
python3 tests/e2e/serve.py "$@" || exit 1
clients=$(tools/test-clients --print)
if [ -d "$clients" ]; then
    PYTHONPATH=$clients python3 tests/e2e/serve_clients.py "$@" || exit 1
else
    echo "serve: clients *skipped*: PyPI was out of reach (tools/test-clients)"
fi
echo "serve: ok"
