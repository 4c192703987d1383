#!/bin/sh
# Do the README and docs/ name only what is there? `name()` must be a function of some C file, `NAME` a
# constant, `x.c` a file, a link lead somewhere; and the README must tell of every file there is to read, but for those
# of check/ and learn/, which have a page of their own.
# Prints what is wrong, and nothing when all is well.
# Usage: sh tests/names.sh
cd "$(dirname "$0")/.." || exit 1
code=$(git ls-files '*.c' '*.h')
wrong=$(
    # shellcheck disable=SC2086 # no path has spaces
    for doc in README.md README.zh-CN.md docs/walkthrough.md docs/walkthrough.zh-CN.md \
        docs/design.md docs/security.md docs/wscheck.md learn/tools.md learn/tools.zh-CN.md; do
        sed '/^```/,/^```/d' "$doc" | grep -o '`[^`]*`' | tr -d '`' | sort -u | while read -r name; do
            case $name in
            'struct '*) grep -q "^$name {" $code || echo "$doc: no $name" ;;
            *' '* | *'*'* | x.c | */test_x.c) ;; # a command, a pattern, an example
            *'()') # not where a comment speaks of it
                grep -hE "(^|[^a-z_])${name%()}\\(" $code | grep -qv '^ *[/*]' ||
                    echo "$doc: no function $name"
                ;;
            test_*.c) [ -e "tests/$name" ] || [ -e "socketio/tests/$name" ] || [ -e "cluster/tests/$name" ] ||
                echo "$doc: no file $name" ;;
            ?*.[ch] | *.sh | *.md | *.html)
                [ -e "$name" ] || echo "$doc: no file $name"
                ;;
            [A-Z]*_*) grep -qw "$name" $code || echo "$doc: no constant $name" ;;
            esac
        done
        grep -o '](\([^)#]*\))' "$doc" | tr -d ']()' | grep -v '^http' | while read -r link; do
            [ -e "$(dirname "$doc")/$link" ] || echo "$doc: no file $link"
        done
    done
    # tells DOC PATTERN: the files whose path fits, as seen from the document
    tells() {
        git ls-files '*.c' '*.h' | grep -vE '(^|/)(tests|bench)/' | grep -E "$2" | while read -r file; do
            file=${file#learn/}
            [ "${file%.h}" != "$file" ] && [ -e "${file%.h}.c" ] && grep -q "\`${file%.h}.c\`" "$1" && continue
            grep -q "\`$file\`" "$1" || echo "$1: does not tell of $file"
        done
    }
    for readme in README.md README.zh-CN.md; do
        tells "$readme" '^([^/]*|(program|cluster|socketio|examples)/.*)$'
    done
    tells docs/wscheck.md '^check/'
    tells learn/README.md '^learn/'
)
[ -z "$wrong" ] && exit 0
printf '%s\n' "$wrong"
exit 1
