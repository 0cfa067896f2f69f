#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# plan_page.sh PROGRAM...: the page of `tutti plan --html` in a real browser without a window, light and dark, wide and narrow.
. "$(dirname "$0")/browser.bash"
"$@" plan -q --shape llama-3.1-8b --chips h100,h200,b200 --traffic "20 req/s, 1k in, 200 out" --ttft 1s --tpot 30ms --html "$tmp/plan.html" >/dev/null || exit 1
python3 tests/e2e/plan_page.py "$tmp/plan.html" && echo "plan_page: ok"
