#!/bin/sh
# Which lines and branches of the product did the tests run? Reads what gcov says of instrumented objects that have
# run, prints a table by file, what was not run, and fails when the total is below the limits.
# Usage: GCOV=gcov MIN_LINES=96 MIN_BRANCHES=90 sh tests/coverage.sh DIRECTORY file.c ...     objects in DIRECTORY
#
# A line with the comment `uncovered: why` does not count; it is listed with its reason.
directory=$1
shift
for file; do
    # One object at a time: gcov writes on stdout, and a header has a part in each object that includes it.
    # shellcheck disable=SC2086 # GCOV may be several words
    ${GCOV:-gcov} -b -c -t "$directory/${file%.c}.gcda" 2>/dev/null || exit 1
done | awk -v files="$*" -v min_lines="${MIN_LINES:-96}" -v min_branches="${MIN_BRANCHES:-90}" '
    function percent(part, whole) { return whole == 0 ? 100 : 100 * part / whole }
    function row(name, l, ln, b, bn) {
        printf "%-32s %6d %6d %6.1f %% %6d %6d %6.1f %%\n", name, ln, l, percent(l, ln), bn, b, percent(b, bn)
    }

    # "        -:    0:Source:accept.c": all that follows is of this file.
    match($0, /^ *-: *0:Source:/) {
        source = substr($0, RSTART + RLENGTH)
        sub(/^\.\/|^tests\/\.\.\//, "", source)
        mine = source !~ /^\// && source !~ /^(tests|build)\//
        next
    }
    !mine || /^ *-: *0:/ { next }

    # "       12:   34:text"; ##### is a line that has not run, - is none; * marks a line of which a part has not.
    match($0, /^ *[0-9#=-]+\*?: *[0-9]+:/) {
        split($0, part, ":")
        number = part[2] + 0
        count = part[1]
        gsub(/[ *]/, "", count)
        place = source SUBSEP number
        branch = 0
        if (count == "-")
            next
        text[place] = substr($0, RLENGTH + 1)
        if (!(place in ran)) {
            ran[place] = 0
            if (!(source in last))
                sources[++source_count] = source
            if (number > last[source])
                last[source] = number
        }
        ran[place] += count + 0
        next
    }

    # "branch  0 taken 5 (fallthrough)", "branch  1 never executed"
    /^branch / {
        way = place SUBSEP branch++
        taken[way] += $3 == "taken" ? $4 : 0
        if (branch > ways[place])
            ways[place] = branch
    }

    END {
        printf "%-32s %6s %6s %8s %6s %6s %8s\n", "file", "lines", "run", "", "branch", "taken", ""
        for (i = 1; i <= source_count; i++) {
            source = sources[i]
            l = ln = b = bn = 0
            for (number = 1; number <= last[source]; number++) {
                place = source SUBSEP number
                if (!(place in ran))
                    continue
                where = source ":" number ": "
                if (text[place] ~ /uncovered: /) {
                    left_out = left_out where text[place] "\n"
                    continue
                }
                ln++
                if (ran[place] > 0)
                    l++
                else
                    missed = missed where "not run: " text[place] "\n"
                never = 0
                for (w = 0; w < ways[place]; w++) {
                    bn++
                    if (taken[place, w] > 0)
                        b++
                    else
                        never++
                }
                if (never > 0 && ran[place] > 0)
                    missed = missed where never " of " ways[place] " branches: " text[place] "\n"
            }
            row(source, l, ln, b, bn)
            all_l += l; all_ln += ln; all_b += b; all_bn += bn
        }
        row("total", all_l, all_ln, all_b, all_bn)
        gsub(/ +/, " ", missed)
        gsub(/ +/, " ", left_out)
        printf "%s", missed > "/dev/stderr"
        if (left_out != "")
            printf "not counted:\n%s", left_out
        if (all_ln == 0 || percent(all_l, all_ln) < min_lines || percent(all_b, all_bn) < min_branches) {
            printf "coverage: below %d %% of lines or %d %% of branches\n", min_lines, min_branches
            exit 1
        }
    }'
