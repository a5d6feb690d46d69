#!/bin/sh
# Post a Thunder request, from a file or from standard input, and print the answer.
# Usage: [BUS=--user] thunder.sh [FILE]
set -eu
request=$(cat "${1:--}")
busctl "${BUS:---system}" --json=short -- \
    call org.rdk.OCIContainer /org/rdk/OCIContainer org.rdk.OCIContainer1.JsonRpc invoke s "$request" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["data"][0])'
