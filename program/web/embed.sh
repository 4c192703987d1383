#!/bin/sh
# Print C that holds the page as an array of bytes, and the Content-Security-Policy for it, which
# names its <script> and <style> by their hashes (CSP level 3, §2.3.1). Needs only od, sed, sha256sum
# and base64. Usage: sh program/web/embed.sh program/web/index.html
set -e
page=$1

# The text between the tags <$1> and </$1>, which are alone on their lines. The newline after the first tag is part
# of it.
inside() {
    echo
    sed -n "/^<$1>\$/,/^<\/$1>\$/p" "$page" | sed '1d;$d'
}

# 'sha256-...' of that text.
hash() {
    hex=$(inside "$1" | sha256sum | cut -c 1-64)
    # The program printf supports \x; the printf of some shells does not.
    printf "'sha256-%s'" "$(env printf "$(echo "$hex" | sed 's/../\\x&/g')" | base64)"
}

cat <<END
#include <stddef.h>

extern const unsigned char minnow_html[];
extern const size_t minnow_html_len;
extern const char minnow_html_policy[];

const char minnow_html_policy[] =
    "default-src 'none'; img-src data:; connect-src 'self';"
    " script-src $(hash script);"
    " style-src $(hash style);"
    " require-trusted-types-for 'script'; trusted-types 'none';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const unsigned char minnow_html[] = {
END
od -An -v -tx1 "$page" | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'
cat <<END
};

const size_t minnow_html_len = sizeof minnow_html;
END
