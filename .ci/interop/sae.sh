#!/usr/bin/env bash
# Runs qkdspec against three published clients: sae.sh QKDSPEC PROGRAMS PYTHON FOLDER, with the folder of the built Rust programs,
# a Python that has etsi-qkd-014-client, and a folder for reports. Says what was found; that they have faults is no failure.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
qkdspec=$1 programs=$2 python=$3 folder=$4
mkdir -p "$folder"

# sae NAME COMMAND
sae() {
    local code=0
    "$qkdspec" run sae --role both --exec "$2" --timeout 20 --config "$folder/absent.toml" --report "$folder/$1.json" >"$folder/$1.txt" || code=$?
    echo "$1: exit $code, $(grep -E '^[0-9]+ cases?: ' "$folder/$1.txt")"
    # Conforming, or not: but judged.
    [ "$code" -le 1 ]
}

sae etsi014 "$programs/sae-etsi014"
sae etsi014-client "$programs/sae-etsi014-client"
sae etsi-qkd-014-client "$python -B $here/python/sae.py"
