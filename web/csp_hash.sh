#!/bin/sh
# Print the Content-Security-Policy source of the inline <script> or <style> of the page:
# 'sha256-...', CSP level 2, §4.2.5. What is hashed is the text between the tags, first newline included.
# Usage: sh web/csp_hash.sh FILE script|style
set -e
hex=$({ echo; sed -n "/^<$2>\$/,/^<\/$2>\$/p" "$1" | sed '1d;$d'; } | sha256sum | cut -c 1-64)
# The program printf knows \x; not every shell's does.
printf "'sha256-%s'\n" "$(env printf "$(echo "$hex" | sed 's/../\\x&/g')" | base64)"
