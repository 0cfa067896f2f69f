#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill.sh PROGRAM...: kill -9 in the middle of load, KILLS times (5); nothing that was answered is missing in the ledger.
set -u
command -v python3 >/dev/null || { echo "kill: *skipped*: no python3"; exit 0; }
python3 tests/e2e/kill.py "${KILLS:-5}" "$@" && echo "kill: ok"
