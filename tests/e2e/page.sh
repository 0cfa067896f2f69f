#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# page.sh PROGRAM...: the page at / in a real browser.
. "$(dirname "$0")/browser.bash"
export XDG_DATA_HOME=$tmp TUTTI_CACHE=$tmp/cache
python3 tests/e2e/page.py "$@" && echo "page: ok"
