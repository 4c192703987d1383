/* SPDX-License-Identifier: MIT
 *
 * Reads the messages of Node's adapters, each on a line of its channel's number (enum sio_source)
 * and hexadecimal digits, and writes them anew as such digits: what was understood of each. "?"
 * comes out for what is no message. */
#include <stdio.h>
#include <stdlib.h>

#include "../../socketio/sio_adapter.h"

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
    enum sio_source from = (enum sio_source)(line[0] - '0');
    enum sio_dialect dialect = from == SIO_FROM_SHARDS ? SIO_SHARDED : SIO_CLASSIC;
    struct ws_str bytes = {line + 1, from_hex(line + 1, len - 1)};
    struct sio_adapter_space space = {0};
    struct sio_adapter_message m;
    struct json_writer w = {0};
    struct json_writer text = {0};

    if (sio_adapter_read(&m, from, bytes, &space) == 0 &&
        sio_adapter_write(&w, &text, dialect, &m) == 0)
        for (size_t i = 0; i < w.len; i++)
            printf("%02x", (unsigned char)w.data[i]);
    else
        putchar('?');
    putchar('\n');
    json_writer_release(&w);
    json_writer_release(&text);
    json_writer_release(&space.text);
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
