#!/usr/bin/env bash
# Compares two commits, alternately, on this machine: ratios of medians, B over A.
#     bench/compare.sh A B                    `panchayat bench --loopback`, A B A B ..., runs each
#     bench/compare.sh A B loopback --conflict 100     with more flags for it
#     bench/compare.sh A B BENCH [FILTER]     a criterion bench, B against A's baseline
# RUNS (5) and DURATION (10) choose how much of `bench --loopback` is run; WORK is where both are
# checked out and built (default: a directory in /tmp that is kept, so that the next time is quick).
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
a=$(git -C "$root" rev-parse --short=12 "$1^{commit}")
b=$(git -C "$root" rev-parse --short=12 "$2^{commit}")
what=${3:-loopback}
shift $(($# < 3 ? 2 : 3))
work=${WORK:-${TMPDIR:-/tmp}/panchayat-compare}
mkdir -p "$work"

checkout() { # SIDE COMMIT
    if [ -e "$work/$1/.git" ]; then
        git -C "$work/$1" checkout --quiet --detach "$2"
    else
        git -C "$root" worktree prune
        git -C "$root" worktree add --quiet --detach "$work/$1" "$2"
    fi
}
checkout a "$a"
checkout b "$b"

if [ "$what" != loopback ]; then
    # Baselines in one place; but a target directory for each side, or cargo takes what it built
    # for one side as fresh for the other and both are the same.
    export CRITERION_HOME="$work/criterion"
    bench() { # SIDE COMMIT [ARGUMENTS]
        local side=$1 commit=$2
        shift 2
        (cd "$work/$side" && CARGO_TARGET_DIR="$work/target-$side" \
            cargo bench -q -p panchayat-bench --bench "$what" -- "$@" --save-baseline "$commit")
    }
    bench a "$a" "$@"
    bench b "$b" "$@"
    echo "== $what: median ns, $a → $b, and the ratio"
    find "$work/criterion" -path "*/$b/estimates.json" | sort | while read -r new; do
        old=${new%"/$b/estimates.json"}/$a/estimates.json
        [ -e "$old" ] || continue
        name=${new#"$work/criterion/"}
        jq -rn --arg name "${name%"/$b/estimates.json"}" --slurpfile a "$old" --slurpfile b "$new" \
            '($a[0].median.point_estimate) as $x | ($b[0].median.point_estimate) as $y
             | "\($name)\t\($x | round)\t\($y | round)\t\($y / $x * 1000 | round / 1000)"'
    done
    exit
fi

for side in a b; do
    (cd "$work/$side" && CARGO_TARGET_DIR="$work/target-$side" cargo build -q --release)
    : >"$work/$side.json"
done
for _ in $(seq "${RUNS:-5}"); do
    for side in a b; do
        "$work/target-$side/release/panchayat" bench --loopback --duration "${DURATION:-10}" \
            --json "$@" | jq -c .median >>"$work/$side.json"
    done
done
echo "== bench --loopback $*: medians of ${RUNS:-5} runs of ${DURATION:-10} s, $a → $b, and the ratio"
jq -rn --slurpfile a "$work/a.json" --slurpfile b "$work/b.json" '
    def median: sort | if length % 2 == 1 then .[length / 2 | floor]
                       else (.[length / 2 - 1] + .[length / 2]) / 2 end;
    $a[0] | keys_unsorted[] as $name
    | ($a | map(.[$name]) | median) as $x | ($b | map(.[$name]) | median) as $y
    | "\($name)\t\($x * 1000 | round / 1000)\t\($y * 1000 | round / 1000)\t\(
        if $x == 0 then "-" else ($y / $x * 1000 | round / 1000) end)"'
