#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ledger.sh PROGRAM...: `tutti keys` and `tutti usage` over SQLite and over a PostgreSQL that is started for it, by a user
# who is not root, on a socket of its own.
set -u
tutti=("$@")
tmp=$(mktemp -d)
bad=0 pg=
as=()
stop() {
    [ -z "$pg" ] || "${as[@]}" "$pg/pg_ctl" -D "$tmp/pg/data" -m immediate stop >/dev/null 2>&1
    rm -rf "$tmp"
}
trap stop EXIT
fault() { echo "ledger: $*"; bad=1; }

commands() { # LEDGER: the commands as a user meets them
    local l=$1 out
    export TUTTI_LEDGER=$l
    key=$("${tutti[@]}" keys create --name team-a --rpm 30 --tpm 6000 --spend 12.5 2>"$tmp/err") || fault "create: $(cat "$tmp/err")"
    [[ $key =~ ^tk_[A-Za-z0-9_-]{43}$ ]] || fault "create printed '$key'"
    grep -q 'only time' "$tmp/err" || fault "create does not warn: $(cat "$tmp/err")"
    "${tutti[@]}" keys create --name team-a >/dev/null 2>"$tmp/err" && fault "a name twice"
    grep -q "'team-a' is in use" "$tmp/err" || fault "a name twice: $(cat "$tmp/err")"
    out=$("${tutti[@]}" keys list)
    [[ $out == *team-a*"${key:0:8}..."*rpm=30*tpm=6000*'spend=$12.50/month'* ]] || fault "list: $out"
    [[ $out != *"$key"* ]] || fault "list shows the secret"
    [[ $("${tutti[@]}" keys list --json) == *'"revoked": null'* ]] || fault "list --json"
    "${tutti[@]}" keys revoke team-a >/dev/null || fault revoke
    "${tutti[@]}" keys revoke team-a >/dev/null 2>&1 && fault "revoked twice"
    [[ $("${tutti[@]}" keys list --json) == *'"revoked": "20'* ]] || fault "list after revoke"
    "${tutti[@]}" usage >"$tmp/out" 2>&1 || fault "usage: $(cat "$tmp/out")"
    grep -q 'nothing was used' "$tmp/out" || fault "usage: $(cat "$tmp/out")"
    "${tutti[@]}" usage --csv --by day | grep -qx 'day,requests,prompt_tokens,cached_tokens,answer_tokens,usd' || fault "usage --csv"
    [ "$("${tutti[@]}" usage --json)" = '[]' ] || fault "usage --json"
    "${tutti[@]}" usage --by week >/dev/null 2>&1 && fault "usage --by week"
    "${tutti[@]}" keys frob >/dev/null 2>&1 && fault "keys frob"
    unset TUTTI_LEDGER
}

commands "$tmp/a/b/ledger.db"
grep -q "${key#tk_}" "$tmp"/a/b/ledger.db* && fault "the secret is in the file"
TUTTI_LEDGER=/proc/none/ledger.db "${tutti[@]}" keys list >"$tmp/out" 2>&1 && fault "a ledger in /proc"

pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
if [ -z "$pg" ] || [ ! -x "$pg/initdb" ]; then
    pg=
    echo "ledger: PostgreSQL *skipped*: no server (apt-get install postgresql)"
elif "${tutti[@]}" keys list --ledger postgresql://x@127.0.0.1:9/x 2>&1 | grep -q 'has no PostgreSQL'; then
    pg=
    echo "ledger: PostgreSQL *skipped*: built without libpq"
else
    mkdir "$tmp/pg"
    chmod 755 "$tmp"
    if [ "$(id -u)" = 0 ]; then
        chown nobody "$tmp/pg"
        as=(setpriv --reuid nobody --clear-groups)
    fi
    (cd "$tmp/pg" && "${as[@]}" "$pg/initdb" -D "$tmp/pg/data" -U tutti --auth=trust --no-sync >log 2>&1 &&
        "${as[@]}" "$pg/pg_ctl" -D "$tmp/pg/data" -w -l "$tmp/pg/server.log" -o "-c listen_addresses='' -k $tmp/pg" start >>log 2>&1) ||
        fault "PostgreSQL does not start: $(tail -3 "$tmp/pg/log")"
    url="postgresql://tutti@/postgres?host=$tmp/pg"
    commands "$url"
    "${as[@]}" "$pg/psql" -q "$url" -c 'CREATE DATABASE unit' || fault "no second database"
    CMOCKA_MESSAGE_OUTPUT=STDOUT TUTTI_TEST_LEDGER="postgresql://tutti@/unit?host=$tmp/pg" "$(dirname "${tutti[-1]}")/tests/test_ledger" >"$tmp/out" 2>&1 ||
        fault "test_ledger over PostgreSQL: $(grep -v ' OK ' "$tmp/out")"
fi
[ $bad = 0 ] && echo "ledger: ok"
exit $bad
