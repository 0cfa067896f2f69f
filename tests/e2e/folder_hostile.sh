#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# folder_hostile.sh PROGRAM...: folders of strangers end in one clear line.
cd "$(dirname "$0")/../.." || exit 2
exec python3 tests/e2e/folder_hostile.py "$@"
