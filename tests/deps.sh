#!/bin/sh
# Install the Debian packages given that are missing, and say which. Says so when it cannot. Servers among them are
# not started now: the tests start their own.
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
# https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt: 101 forbids each start.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod 755 $policy
    trap '$sudo rm -f $policy' EXIT
    trap 'exit 1' INT TERM
fi
# shellcheck disable=SC2086 # a list of words on purpose
$sudo apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
