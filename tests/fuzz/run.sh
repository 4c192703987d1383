#!/bin/sh
# Run libFuzzer programs for $FUZZ_SECONDS each, on from what earlier runs found. A crashing input is
# kept among the regressions, where `make test` runs it.
# Usage: BUILD=build FUZZ_SECONDS=20 sh tests/fuzz/run.sh NAME...
for name; do
    corpus=$BUILD/fuzz/corpus/$name
    log=$BUILD/fuzz/$name.log
    kept=tests/fuzz/regression/$name
    [ -f "tests/fuzz/fuzz_$name.c" ] || kept=socketio/$kept
    mkdir -p "$corpus" "$kept"
    if ! "$BUILD/fuzz/fuzz_$name" -max_total_time="$FUZZ_SECONDS" -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$kept/" "$corpus" "$kept" >"$log" 2>&1; then
        tail -n 60 "$log"
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$name: $runs runs without a fault"
done
