#!/bin/sh
# Tests that need no service: sh tests/test_main.sh
set -eu
cd "$(dirname "$0")/.."
set -- --functions
. ./main.sh

check() { [ "$1" = "$2" ] || { echo "expected $2, got $1"; exit 1; }; }

check "$(next '')" 1
check "$(next '{}')" 1
check "$(next '{"count": 41, "more": 7}')" 42
echo ok
