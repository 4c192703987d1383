#!/bin/sh
# Does what the README says work on a machine that has nothing but a compiler, make and git? Makes a new Debian
# in a directory, and runs there each `make ...` that the README names, on a clone of HEAD. Takes a quarter of an
# hour, 2 GB below TMPDIR, and the network. Needs root.
# shellcheck disable=SC2016 # backquotes are the README's
# Usage: [DEBIAN=bookworm] sh tests/bare_machine.sh
cd "$(dirname "$0")/.." || exit 1
[ "$(id -u)" -eq 0 ] || { echo "bare-machine: only root can make one" >&2; exit 1; }
for tool in debootstrap unshare; do
    command -v $tool >/dev/null || { echo "bare-machine: needs $tool, apt-get install $tool" >&2; exit 1; }
done

# The lines that are commands, and the table of tests. Not what never ends (run) or takes long in its own right.
commands=$(
    echo make
    sed -n 's/^    \(make [a-z0-9 -]*[a-z0-9]\).*/\1/p; s/^| `\(make [a-z0-9 -]*\)` |.*/\1/p' README.md |
        grep -vwE 'deps-analysis|run|fuzz|soak|test-networks|e2e|bench|bare-machine' | awk '!seen[$0]++'
)
echo "$commands" | grep -q '^make deps test$' || { echo "bare-machine: the README has other commands" >&2; exit 1; }

# The mounts are seen in here alone, and are gone with this process, however it ends.
[ "$1" = inside ] || exec unshare --mount sh tests/bare_machine.sh inside

work=$(mktemp -d) || exit 1
machine=$work/root
log=$work/log
release() {
    for place in dev/shm dev/pts dev proc; do
        ! mountpoint -q "$machine/$place" || umount "$machine/$place" || return
    done
    rm -rf --one-file-system "$work"
}
trap release EXIT
trap 'exit 1' INT TERM HUP

echo "bare-machine: a new Debian in $machine"
debootstrap --variant=minbase "${DEBIAN:-bookworm}" "$machine" >"$log" 2>&1 || { tail "$log"; exit 1; }
mount -t proc proc "$machine/proc" && mount --bind /dev "$machine/dev" &&
    mount --bind /dev/pts "$machine/dev/pts" && mount -t tmpfs tmpfs "$machine/dev/shm" || exit 1
cp /etc/resolv.conf "$machine/etc/"
inside() {
    env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        chroot "$machine" sh -c "$1"
}
inside 'apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev make git' \
    >"$log" 2>&1 || { tail "$log"; echo "bare-machine: cannot install gcc, make and git" >&2; exit 1; }
git clone -q --no-local --no-hardlinks . "$machine/minnow" || exit 1
inside 'git config --global --add safe.directory /minnow'

echo "$commands" | {
    status=0
    while read -r command; do
        if inside "cd /minnow && $command" </dev/null >"$log" 2>&1; then
            echo "bare-machine: $command: done"
        else
            tail -n 30 "$log"
            echo "bare-machine: $command: FAILED"
            status=1
        fi
    done
    exit $status
}
