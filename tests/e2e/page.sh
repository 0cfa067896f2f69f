#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# page.sh PROGRAM...: the page at / in a real browser without a window: Playwright (PyPI) drives the system's Chromium.
set -u
command -v python3 >/dev/null || { echo "page: *skipped*: no python3"; exit 0; }
for browser in chromium chromium-browser google-chrome; do
    TUTTI_BROWSER=$(command -v $browser) && break
done
[ -n "$TUTTI_BROWSER" ] || { echo "page: *skipped*: no Chromium (apt-get install chromium)"; exit 0; }
python3 -c 'import playwright' 2>/dev/null || { echo "page: *skipped*: no Playwright (pip install playwright)"; exit 0; }
export TUTTI_BROWSER
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export XDG_DATA_HOME=$tmp TUTTI_CACHE=$tmp/cache
python3 tests/e2e/page.py "$@" && echo "page: ok"
