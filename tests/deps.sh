#!/bin/sh
# Install the Debian packages given that are missing, and say which. Says so when it cannot.
# Usage: sh tests/deps.sh PACKAGE...
missing=
for package; do
    dpkg -s "$package" 2>/dev/null | grep -q '^Status: .* installed$' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "deps: no apt-get here; please install:$missing" >&2
    exit 1
fi
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
echo "deps: installing$missing"
# shellcheck disable=SC2086 # a list of words on purpose
$sudo apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
