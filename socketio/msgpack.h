/* SPDX-License-Identifier: MIT
 *
 * MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), as far as Socket.IO needs
 * it between servers, and for clients with socket.io-msgpack-parser: a reader, a writer, and the
 * way from MessagePack to the arguments of events (a list of JSON, and binary values beside it; see
 * sio_args in sio.h) and back. It keeps nothing and does no I/O, and no function calls itself, so a
 * peer cannot exhaust the stack.
 *
 * The writer makes the same bytes as notepack.io, the encoder of Node's adapters: the shortest form
 * of each integer, 64-bit floats for other numbers. There is one difference: integers beyond 64
 * bits, of which notepack.io makes other integers, are written as floats.
 *
 * Everything is written to a `struct json_writer`, which serves for bytes, too. */
#ifndef SOCKETIO_MSGPACK_H
#define SOCKETIO_MSGPACK_H

#include "json.h"

enum { MSGPACK_DEPTH_MAX = JSON_DEPTH_MAX }; /* of arrays and maps inside each other */

enum msgpack_result {
    MSGPACK_BAD = -1,      /* cut short, followed by more, or no legal value */
    MSGPACK_TOO_DEEP = -2, /* over MSGPACK_DEPTH_MAX */
    MSGPACK_TOO_MANY = -3, /* binary values */
    MSGPACK_NOMEM = -4
};

/* --- reading ---------------------------------------------------------------------------------- */

enum msgpack_type {
    MSGPACK_NIL,
    MSGPACK_BOOL,
    MSGPACK_INTEGER,
    MSGPACK_FLOAT,
    MSGPACK_STRING,
    MSGPACK_BINARY,
    MSGPACK_ARRAY,
    MSGPACK_MAP,
    MSGPACK_EXTENSION
};

/* A value; of an array or a map only its beginning, which says how many values follow. */
struct msgpack_value {
    enum msgpack_type type;
    bool boolean;
    bool fixed;          /* an extension in one of the forms fixext 1 to fixext 16 */
    int8_t extension;    /* its type */
    uint32_t count;      /* items of an array, pairs of a map */
    double number;       /* of an integer, too: as in JavaScript, exact up to 2^53 */
    struct ws_str bytes; /* of a string (any bytes), a binary value or an extension */
};

/* Take the next value off `rest`. False if there is none, or none that is whole. */
bool msgpack_next(struct ws_str *rest, struct msgpack_value *value);

/* Take a whole value, with all that is in it, off `rest`; `first` is the value or, of an array or a
 * map, its beginning. False if there is none that is whole. */
bool msgpack_take(struct ws_str *rest, struct ws_str *whole, struct msgpack_value *first);

/* Is it what notepack.io 2 writes for undefined? */
bool msgpack_is_undefined(const struct msgpack_value *value);

/* Write the one value that `bytes` consists of as JSON:
 *
 *   binary values   {"_placeholder":true,"num":i}, and the bytes as attachments[i], a slice of
 *                   `bytes`; without attachments (NULL) as Node writes them in JSON,
 *                   {"type":"Buffer","data":[1,2]}
 *   timestamps      a string, "2026-11-28T15:03:25.000Z"; null for what is no date in JavaScript
 *   extensions      of type 0: in fixext 1 undefined (null, or no member), in fixext 8 a date in
 *                   milliseconds, in ext 8 to 32 a binary value; all others [type, binary value]
 *   keys            strings; integers become strings
 *   strings         bytes that are not UTF-8 become U+FFFD
 *
 *   *count   in: how many attachments there is room for; out: how many there are
 *
 * Returns 0 or a msgpack_result. After a failure what was written means nothing. */
int msgpack_to_json(struct json_writer *w, struct ws_str bytes, struct ws_str *attachments,
                    size_t *count);

/* --- writing ---------------------------------------------------------------------------------- */

void msgpack_write_nil(struct json_writer *w);
void msgpack_write_bool(struct json_writer *w, bool value);
void msgpack_write_number(struct json_writer *w, double value);
void msgpack_write_string(struct json_writer *w, const char *text, size_t len);
void msgpack_write_binary(struct json_writer *w, const void *data, size_t len);
void msgpack_write_array(struct json_writer *w, uint32_t count); /* its items follow */
void msgpack_write_map(struct json_writer *w, uint32_t count);   /* its pairs follow */
void msgpack_write_date(struct json_writer *w, int64_t ms);      /* since 1970; a timestamp */

/* Write a list of JSON values as an array, or one value as itself. Where `count` is not 0,
 * placeholders become the attachments that they name. Returns 0 or a msgpack_result: MSGPACK_BAD
 * for what is not JSON, or names no attachment. */
int msgpack_write_list(struct json_writer *w, struct ws_str list, const struct ws_str *attachments,
                       size_t count);
int msgpack_write_json(struct json_writer *w, struct ws_str value, const struct ws_str *attachments,
                       size_t count);

/* The same for a value that is known to be JSON, but for how deep it is. */
int msgpack_write_valid(struct json_writer *w, struct ws_str value,
                        const struct ws_str *attachments, size_t count);

#endif
