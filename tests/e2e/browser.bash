# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts whose tests look at a page in a real browser without a window: Playwright (PyPI) drives the system's
# Chromium, whose path is in TUTTI_BROWSER. Leaves the script where something is missing, and says what. Then a folder that
# goes away at the end.
set -u
name=$(basename "$0" .sh)
command -v python3 >/dev/null || { echo "$name: *skipped*: no python3"; exit 0; }
for browser in chromium chromium-browser google-chrome; do
    TUTTI_BROWSER=$(command -v $browser) && break
done
[ -n "$TUTTI_BROWSER" ] || { echo "$name: *skipped*: no Chromium (apt-get install chromium)"; exit 0; }
python3 -c 'import playwright' 2>/dev/null || { echo "$name: *skipped*: no Playwright (pip install playwright)"; exit 0; }
export TUTTI_BROWSER
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
