/* SPDX-License-Identifier: MIT
 *
 * msgpack.c: it takes exactly what a second reader takes, which is the specification written down
 * as a function that calls itself; what it makes of it is JSON; and that JSON, written as
 * MessagePack and read again, is the same. */
#include <stdlib.h>
#include <string.h>

#include "../../msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 16 };

/* --- the second reader ------------------------------------------------------------------------ */

struct reader {
    const uint8_t *at, *end;
    size_t binaries;
};

static bool skip(struct reader *r, uint64_t n)
{
    if ((uint64_t)(r->end - r->at) < n)
        return false;
    r->at += n;
    return true;
}

static bool number(struct reader *r, unsigned n, uint64_t *out)
{
    for (*out = 0; n > 0; n--) {
        if (r->at == r->end)
            return false;
        *out = *out << 8 | *r->at++;
    }
    return true;
}

static bool value(struct reader *r, unsigned depth, bool key);

static bool items(struct reader *r, unsigned depth, uint64_t count, bool map)
{
    if (depth == MSGPACK_DEPTH_MAX)
        return false;
    for (; count > 0; count--)
        if ((map && !value(r, depth + 1, true)) || !value(r, depth + 1, false))
            return false;
    return true;
}

/* `levels`: of arrays and objects that JSON has for it. */
static bool binary(struct reader *r, unsigned depth, unsigned levels)
{
    r->binaries++;
    return depth + levels <= MSGPACK_DEPTH_MAX;
}

static bool extension(struct reader *r, unsigned depth, uint64_t len, bool fixed)
{
    int8_t type = r->at == r->end ? 0 : (int8_t)*r->at;

    if (!skip(r, 1) || !skip(r, len))
        return false;
    if (type == -1 && (len == 4 || len == 8 || len == 12))
        return true;
    if (type == 0 && fixed && (len == 1 || len == 8))
        return true;
    return binary(r, depth, type == 0 && !fixed ? 1 : 2);
}

static bool value(struct reader *r, unsigned depth, bool key)
{
    unsigned c = r->at == r->end ? 0xc1 : *r->at;
    uint64_t n;

    if (!skip(r, 1) || c == 0xc1)
        return false;
    if (c < 0x80 || c >= 0xe0)
        return true;
    if (c < 0xa0)
        return !key && items(r, depth, c & 15, c < 0x90);
    if (c < 0xc0)
        return skip(r, c & 31);
    if (c >= 0xcc && c <= 0xd3)
        return skip(r, 1u << (c & 3));
    if (c >= 0xd9 && c <= 0xdb)
        return number(r, 1u << (c - 0xd9), &n) && skip(r, n);
    if (key)
        return false;
    if (c <= 0xc3)
        return true;
    if (c <= 0xc6)
        return number(r, 1u << (c - 0xc4), &n) && skip(r, n) && binary(r, depth, 1);
    if (c <= 0xc9)
        return number(r, 1u << (c - 0xc7), &n) && extension(r, depth, n, false);
    if (c <= 0xcb)
        return skip(r, c == 0xca ? 4 : 8);
    if (c <= 0xd8)
        return extension(r, depth, UINT64_C(1) << (c - 0xd4), true);
    return number(r, c & 1 ? 4 : 2, &n) && items(r, depth, n, c >= 0xde);
}

static bool is_value(const uint8_t *data, size_t size)
{
    struct reader r = {data, data + size, 0};

    return value(&r, 0, false) && r.at == r.end && r.binaries <= ROOM;
}

/* --- the checks ------------------------------------------------------------------------------- */

static bool same(struct ws_str a, struct ws_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* An object of the input may look like a placeholder, and then it becomes one; and UTF-8 has no
 * lone surrogates. */
static bool may_change(struct ws_str json, struct ws_str bytes)
{
    return memmem(bytes.data, bytes.len, "_placeholder", 12) != NULL ||
           memmem(json.data, json.len, "\\ud", 3) != NULL;
}

static void check_again(struct ws_str json, const struct ws_str *attachments, size_t count)
{
    struct json_writer msgpack = {0};
    struct json_writer again = {0};
    struct ws_str out[ROOM];
    size_t room = ROOM;

    if (msgpack_write_json(&msgpack, json, attachments, count) != 0 ||
        msgpack_to_json(&again, json_written(&msgpack), out, &room) != 0 || room != count ||
        !same(json_written(&again), json))
        abort();
    for (size_t i = 0; i < count; i++)
        if (!same(out[i], attachments[i]))
            abort();
    json_writer_release(&msgpack);
    json_writer_release(&again);
}

static void check_json(const uint8_t *data, size_t size)
{
    struct ws_str text = {(const char *)data, size};
    struct json_writer w = {0};
    int error = msgpack_write_list(&w, text, NULL, 0);

    if ((error == 0) != json_is_list(text))
        abort();
    json_writer_release(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_str bytes = {(const char *)data, size};
    struct json_writer w = {0};
    struct ws_str attachments[ROOM];
    size_t count = ROOM;
    int error = msgpack_to_json(&w, bytes, attachments, &count);

    if ((error == 0) != is_value(data, size))
        abort();
    if (error == 0 && json_parse(json_written(&w)).len != w.len)
        abort();
    if (error == 0 && !may_change(json_written(&w), bytes))
        check_again(json_written(&w), attachments, count);
    json_writer_clear(&w);
    if (msgpack_to_json(&w, bytes, NULL, NULL) == 0 && json_parse(json_written(&w)).len != w.len)
        abort();
    json_writer_release(&w);
    check_json(data, size);
    return 0;
}
