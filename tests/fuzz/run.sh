#!/bin/sh
# Run libFuzzer programs for $FUZZ_SECONDS each, on from what earlier runs found. A crashing input is
# kept among the regressions, where `make test` runs it. Prints for each how many inputs it has run, how
# many edges of the code (cov) and combinations of their counts (ft) they have reached, and how many
# crashed; and for a crash the end of the log.
# Usage: BUILD=build FUZZ_SECONDS=20 sh tests/fuzz/run.sh NAME...
status=0
printf '%-14s %10s %6s %6s %8s\n' fuzzer executions cov ft crashes
for name; do
    corpus=$BUILD/fuzz/corpus/$name
    log=$BUILD/fuzz/$name.log
    kept=tests/fuzz/regression/$name
    for part in socketio cluster; do
        [ ! -f "$part/tests/fuzz/fuzz_$name.c" ] || kept=$part/tests/fuzz/regression/$name
    done
    mkdir -p "$corpus" "$kept"
    crashes=0
    "$BUILD/fuzz/fuzz_$name" -max_total_time="$FUZZ_SECONDS" -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$kept/" "$corpus" "$kept" >"$log" 2>&1 || crashes=1
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    reached=$(sed -n 's/.*cov: *\([0-9]*\) ft: *\([0-9]*\).*/\1 \2/p' "$log" | tail -n 1)
    printf '%-14s %10s %6s %6s %8s\n' "$name" "$runs" "${reached% *}" "${reached#* }" "$crashes"
    if [ "$crashes" -ne 0 ]; then
        tail -n 60 "$log"
        status=1
    fi
done
exit $status
