# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it with the arguments PROGRAM...: the program under test, a folder of its own that goes
# away at the end, and `expect`. A script ends with `exit $bad`.
set -u
tutti=("$@")
data=tests/data
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export TUTTI_CACHE=$tmp/cache
unset TUTTI_ISA
bad=0

fault() { echo "$(basename "$0" .sh): $*"; bad=1; }

# expect STATUS TEXT ARGUMENT...: runs tutti without input, compares the exit status, looks for TEXT in what it printed
expect() {
    local status=$1 text=$2 out got
    shift 2
    out=$("${tutti[@]}" "$@" 2>&1 </dev/null) && got=0 || got=$?
    if [ "$got" != "$status" ] || [[ $out != *"$text"* ]]; then
        fault "tutti $*: expected status $status and '$text', got status $got and '$out'"
    fi
}
