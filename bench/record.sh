#!/usr/bin/env bash
# Runs all criterion benches and keeps their medians with their conditions, as a result of record:
#     bench/record.sh [BENCH ...]        writes bench/results/<date>-<commit>.json
# Two of these files can be compared on the spot; for two commits on this machine take bench/compare.sh.
#     bench/record.sh --ratios OLD.json NEW.json
# Results of a machine that does other things meanwhile are worth little: its load is in the file.
# BINARIES=DIR runs benches that were built before (`cargo bench --no-run`) and copied there under their
# own names, at a time when nothing may be built.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --ratios ]; then
    jq -rn --slurpfile a "$2" --slurpfile b "$3" '
        "\($a[0].commit) → \($b[0].commit): median ns, and the ratio",
        ($a[0].benches | to_entries[] | .value as $x | $b[0].benches[.key] as $y
         | select($y != null)
         | "\(.key)\t\($x.median_ns | round)\t\($y.median_ns | round)\t\($y.median_ns / $x.median_ns * 1000 | round / 1000)")'
    exit
fi
benches=("$@")
[ ${#benches[@]} -gt 0 ] || benches=(protocol_core dependency_graph conflict_index codec journal transport virtual_time end_to_end)
commit=$(git rev-parse --short=12 HEAD)
[ -z "$(git status --porcelain --untracked-files=no)" ] || commit=$commit-changed
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
load=$(cut -d' ' -f1 /proc/loadavg)
for bench in "${benches[@]}"; do
    command=(cargo bench -q -p panchayat-bench --locked --bench "$bench" --)
    [ -z "${BINARIES:-}" ] || command=("$BINARIES/$bench" --bench)
    CRITERION_HOME=$home "${command[@]}" --save-baseline record \
        | tee /dev/stderr | grep '^conditions:' >>"$home/conditions" || true
done
mkdir -p bench/results
out=bench/results/$(date -u +%F)-$commit.json
find "$home" -path '*/record/estimates.json' | sort | while read -r file; do
    name=${file#"$home/"}
    jq --arg name "${name%/record/estimates.json}" '{key: $name, value: {
        median_ns: .median.point_estimate,
        low_ns: .median.confidence_interval.lower_bound,
        high_ns: .median.confidence_interval.upper_bound}}' "$file"
done | jq -s --arg commit "$commit" --arg date "$(date -u +%F)" --arg load "$load" \
    --arg cpu "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" --arg cores "$(nproc)" \
    --rawfile conditions "$home/conditions" '{
        commit: $commit, date: $date,
        machine: {cpu: $cpu, cores: ($cores | tonumber), load_average_before: ($load | tonumber)},
        conditions: ($conditions | split("\n") | map(select(. != ""))),
        benches: from_entries}' >"$out"
echo "$out"
