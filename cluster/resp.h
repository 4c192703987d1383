/* SPDX-License-Identifier: MIT
 *
 * RESP, the protocol of Redis, in both versions: a reader of what the server says, and a writer of
 * commands. https://redis.io/docs/latest/develop/reference/protocol-spec/
 *
 * Reading is incremental: the caller keeps the bytes of one reply in a buffer until it is whole,
 * and the reader goes on where it stopped. The values of a reply are slices of that buffer, in a
 * flat array. Nothing is allocated, and what the server announces reserves nothing.
 *
 * Streamed strings and aggregates, which no server sends, are refused. Attributes are read and left
 * out. Pure. */
#ifndef CLUSTER_RESP_H
#define CLUSTER_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../ws_str.h"

enum {
    RESP_DEPTH_MAX = 8,        /* arrays in arrays */
    RESP_LINE_MAX = 4096,      /* bytes from a type to the end of its line */
    RESP_ELEMENTS_MAX = 65536, /* values of one reply */
    RESP_VALUES = 32           /* of which so many are kept */
};

enum resp_type {
    RESP_STRING,  /* simple, bulk or verbatim */
    RESP_ERROR,   /* simple or bulk */
    RESP_INTEGER, /* in `number`, too */
    RESP_DOUBLE,
    RESP_BIG_NUMBER,
    RESP_BOOLEAN, /* in `number`: 0 or 1 */
    RESP_NULL,
    RESP_ARRAY,
    RESP_SET,
    RESP_MAP, /* `number` counts keys and values */
    RESP_PUSH
};

/* Why bytes are no reply. resp_strerror() says it. */
enum resp_error {
    RESP_ERR_TYPE = -1,     /* no type begins with this byte */
    RESP_ERR_LINE = -2,     /* a line without end, or that does not end with CR LF */
    RESP_ERR_NUMBER = -3,   /* a number or a length that is none */
    RESP_ERR_TEXT = -4,     /* a bulk string without its CR LF, a verbatim one without its format */
    RESP_ERR_SIZE = -5,     /* more bytes or values than are allowed */
    RESP_ERR_DEPTH = -6,    /* nested too deeply */
    RESP_ERR_STREAMED = -7, /* of unknown length */
    RESP_ERR_PUSH = -8      /* a push inside another value */
};

struct resp_value {
    enum resp_type type;
    unsigned depth;     /* 0: the reply itself */
    int64_t number;     /* of an integer or boolean, or how many values are directly inside */
    struct ws_str text; /* of a value that has none inside; set when the reply is whole */
    size_t at;          /* the offset of that */
};

/* An aggregate that is not complete. */
struct resp_level {
    uint32_t left;  /* values that are still to come */
    bool is_hidden; /* an attribute, or in one */
    bool is_attribute;
};

/* All zero but max_bytes is ready. */
struct resp_reader {
    size_t max_bytes;                      /* of one reply */
    struct resp_value values[RESP_VALUES]; /* each one before those inside it */
    size_t count;                          /* that are kept: the first ones */

    size_t at;       /* bytes that have been read */
    size_t elements; /* values so far, also those that are not kept */
    struct resp_level levels[RESP_DEPTH_MAX];
    unsigned depth;
};

/* Go on reading the reply that begins at `data`, of which `len` bytes have come: all that were
 * there before, though they may have moved, and perhaps more. Returns 0 when more is needed; the
 * bytes of the reply, whose values are then in `r`, valid as long as `data`; or an enum resp_error,
 * after which there is no way to go on. The call after a whole reply begins with the next. */
ptrdiff_t resp_read(struct resp_reader *r, const char *data, size_t len);

/* Text for an enum resp_error; constant. */
const char *resp_strerror(ptrdiff_t error);

/* Write a command, an array of bulk strings: `count` arguments, and if `pieces` is not 0 one more
 * that is in so many pieces. Returns its size; `out` NULL: without writing it. */
size_t resp_command(char *out, const struct ws_str *arguments, size_t count,
                    const struct ws_str *last, size_t pieces);

#endif
