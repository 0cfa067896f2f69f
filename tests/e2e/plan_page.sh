#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# plan_page.sh PROGRAM...: the page of `tutti plan --html` in a real browser without a window, light and dark, wide and narrow.
set -u
command -v python3 >/dev/null || { echo "plan_page: *skipped*: no python3"; exit 0; }
for browser in chromium chromium-browser google-chrome; do
    TUTTI_BROWSER=$(command -v $browser) && break
done
[ -n "$TUTTI_BROWSER" ] || { echo "plan_page: *skipped*: no Chromium (apt-get install chromium)"; exit 0; }
python3 -c 'import playwright' 2>/dev/null || { echo "plan_page: *skipped*: no Playwright (pip install playwright)"; exit 0; }
export TUTTI_BROWSER
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$@" plan -q --shape llama-3.1-8b --chips h100,h200,b200 --traffic "20 req/s, 1k in, 200 out" --ttft 1s --tpot 30ms --html "$tmp/plan.html" >/dev/null || exit 1
python3 tests/e2e/plan_page.py "$tmp/plan.html" && echo "plan_page: ok"
