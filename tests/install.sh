#!/bin/sh
# Install minnow where the shell would take paths apart, and build programs on what was installed. Prints what
# .ci/run adds up.
# Usage: MAKE=make CC=cc sh tests/install.sh
# shellcheck disable=SC2086 # CC may be several words
cd "$(dirname "$0")/.." || exit 1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

install_below() {
    ${MAKE:-make} -s install DESTDIR="$scratch/$1" PREFIX="$2" && "$scratch/$1$2/bin/minnow" --version
}

# gcc cannot link with a library below a quote: it writes the path into a makefile as it is.
build_below() {
    for example in echo sio_broadcast; do
        ${CC:-cc} -I"$1/include" -o "$scratch/$example" "examples/$example.c" -L"$1/lib" -lminnow || return 1
    done
}

# A plugin of some program, for example.
shared_below() {
    ${CC:-cc} -shared -o "$scratch/plugin.so" -L"$1/lib" -Wl,--whole-archive -lminnow -Wl,--no-whole-archive
}

# What is built is hardened, with CFLAGS of one's own, too.
hardened_below() {
    sh tests/hardening.sh "$1/bin/minnow" && ${MAKE:-make} -s BUILD="$scratch/own" CFLAGS=-O1 LTO= "$scratch/own/minnow" &&
        sh tests/hardening.sh "$scratch/own/minnow"
}

if {
    below="$scratch/a stage/opt/our minnow"
    install_below "a stage" "/opt/our minnow" && build_below "$below" && shared_below "$below" &&
        hardened_below "$below" && install_below "it's" "/a;b"
} >"$scratch/log" 2>&1; then
    echo "1 passed, 0 failed"
    exit 0
fi
cat "$scratch/log"
echo "0 passed, 1 failed"
exit 1
