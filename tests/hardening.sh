#!/bin/sh
# Does a program have what HARDEN in the Makefile asks for? Reads it with readelf and objdump, which come with every
# gcc. Prints what is missing, and nothing when all is well.
# Usage: sh tests/hardening.sh PROGRAM
program=$1
headers=$(readelf -hlW "$program") && dynamic=$(readelf -dW "$program") && symbols=$(readelf -sW "$program") || exit 1
status=0

# has WHAT PATTERN TEXT
has() {
    printf '%s\n' "$3" | grep -qE -- "$2" || { echo "$program: no $1" && status=1; }
}

has "position-independent code (-pie)" 'Flags:.* PIE' "$dynamic"
has "read-only table of addresses (-z relro)" '^ *GNU_RELRO' "$headers"
has "resolution of all addresses at the start (-z now)" 'Flags:.* NOW' "$dynamic"
has "stack without execution (-z noexecstack)" '^ *GNU_STACK .* RW ' "$headers"
has "-fstack-protector" ' __stack_chk_fail' "$symbols"

# Only a dynamic program uses glibc; musl has no such functions.
if printf '%s\n' "$headers" | grep -q '^ *INTERP.*' && printf '%s\n' "$symbols" | grep -q '@GLIBC'; then
    has "_FORTIFY_SOURCE" ' __(memcpy|v?snprintf)_chk' "$symbols"
fi

# The other two are seen in instructions alone: an entry that may be called by pointer starts with endbr64, and a large
# frame touches each page on its way: gcc writes `orq $0x0,(%rsp)`, clang `movq $0x0,(%rsp)`.
case $headers in
*'Advanced Micro Devices X86-64'*)
    code=$(objdump -d --no-show-raw-insn "$program")
    has "-fcf-protection" 'endbr64' "$(printf '%s\n' "$code" | grep -A 1 '<main>:')"
    has "-fstack-clash-protection" '(or|mov)q +\$0x0,(0x[0-9a-f]+)?\(%rsp\)' \
        "$(printf '%s\n' "$code" | grep -A 1 'sub .*\$0x1000,%rsp')"
    ;;
esac
exit $status
