#!/usr/bin/env bash
# Makes the README's results again, from experiments in virtual time: the same commit gives the same.
#     bench/readme.sh [PANCHAYAT]        the binary to run; built in release mode if none is named
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-}
if [ -z "$binary" ]; then
    cargo build --release --locked -q
    binary=${CARGO_TARGET_DIR:-target}/release/panchayat
fi
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
results=$reports/results.md
for name in latency conflict-sweep five-sites kill-city; do
    "$binary" geo experiment "$name" --markdown --out "$reports"
    echo
done >"$results"
# Between the two marks, everything is replaced.
awk -v results="$results" '
    /<!-- results: begin/ { print; print ""; while ((getline line < results) > 0) print line; skip = 1 }
    /<!-- results: end/ { skip = 0 }
    !skip { print }
' README.md >"$reports/README.md"
cp "$reports/README.md" README.md
