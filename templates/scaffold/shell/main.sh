#!/bin/sh
# Counts on from where the last run ended.
set -eu

# Tells Haulier: report '{"output": …, "metrics": …, "state": …}', one line of JSON.
report() { printf '::haulier:%s:%s\n' "${HAULIER_REPORT:-}" "$1"; }

# next STATE: the number after the one in the state, like {"count": 4}; 1 when there is none.
next() {
    count=$(printf %s "$1" | sed -n 's/.*"count": *\([0-9][0-9]*\).*/\1/p')
    echo $((${count:-0} + 1))
}

# Its functions alone are wanted by the tests.
[ "${1:-}" != --functions ] || return 0

count=$(next "${HAULIER_STATE:-}")
echo "this is run number $count, with the parameters ${HAULIER_PARAMETERS:-none}"
# The state is kept for the next run only if this one succeeds.
report "{\"output\": {\"count\": $count}, \"metrics\": {\"count\": $count}, \"state\": {\"count\": $count}}"
