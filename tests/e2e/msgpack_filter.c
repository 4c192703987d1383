/* SPDX-License-Identifier: MIT
 *
 * Converts lines between JSON and MessagePack, so that Node's encoder can be compared with ours. A
 * line of hexadecimal digits behind a "<" is MessagePack, and comes out as JSON; any other line is
 * one JSON value, and comes out as digits. Binary values are in JSON what Node makes of them. "?"
 * comes out where the input is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../socketio/msgpack.h"

static void print_hex(const struct json_writer *w)
{
    for (size_t i = 0; i < w->len; i++)
        printf("%02x", (unsigned char)w->data[i]);
}

static size_t from_hex(char *line, size_t len)
{
    for (size_t i = 0; i < len / 2; i++) {
        unsigned byte;

        sscanf(line + 2 * i, "%2x", &byte);
        line[i] = (char)byte;
    }
    return len / 2;
}

static void convert(char *line, size_t len)
{
    struct json_writer w = {0};

    if (line[0] == '<') {
        size_t n = from_hex(line + 1, len - 1);

        if (msgpack_to_json(&w, (struct ws_str){line + 1, n}, NULL, NULL) == 0)
            fwrite(w.data, 1, w.len, stdout);
        else
            putchar('?');
    } else if (msgpack_write_json(&w, (struct ws_str){line, len}, NULL, 0) == 0) {
        print_hex(&w);
    } else {
        putchar('?');
    }
    putchar('\n');
    json_writer_release(&w);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;

    while ((len = getline(&line, &size, stdin)) > 0)
        convert(line, (size_t)len - 1);
    free(line);
    return 0;
}
