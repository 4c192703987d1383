/* SPDX-License-Identifier: MIT
 *
 * MessagePack; see msgpack.h. */
#include "msgpack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The first bytes of the forms, and how many of them a range has. */
enum {
    FIXMAP = 0x80,
    FIXARRAY = 0x90,
    FIXSTR = 0xa0,
    NIL = 0xc0,
    FALSE = 0xc2,
    TRUE = 0xc3,
    BIN8 = 0xc4,
    EXT8 = 0xc7,
    EXT32 = 0xc9,
    FLOAT32 = 0xca,
    FLOAT64 = 0xcb,
    UINT8 = 0xcc,
    UINT64 = 0xcf,
    INT8 = 0xd0,
    INT64 = 0xd3,
    FIXEXT1 = 0xd4,
    FIXEXT4 = 0xd6,
    FIXEXT8 = 0xd7,
    FIXEXT16 = 0xd8,
    STR8 = 0xd9,
    STR32 = 0xdb,
    ARRAY16 = 0xdc,
    MAP16 = 0xde,
    NEGATIVE = 0xe0, /* -32 to -1 in one byte */
    TIMESTAMP = -1   /* type of an extension */
};

/* --- reading ---------------------------------------------------------------------------------- */

/* Take a number of `n` bytes, the highest one first. */
static bool take_unsigned(struct ws_str *rest, unsigned n, uint64_t *out)
{
    *out = 0;
    if (rest->len < n)
        return false;
    for (unsigned i = 0; i < n; i++)
        *out = *out << 8 | (uint8_t)rest->data[i];
    *rest = (struct ws_str){rest->data + n, rest->len - n};
    return true;
}

/* The number whose lowest `n` bytes are `bits`, the highest of these being the sign. */
static int64_t sign_extended(uint64_t bits, unsigned n)
{
    uint64_t sign = UINT64_C(1) << (8 * n - 1);

    return (int64_t)((bits ^ sign) - sign);
}

static bool take_bytes(struct ws_str *rest, uint64_t len, struct ws_str *out)
{
    if (rest->len < len)
        return false;
    *out = (struct ws_str){rest->data, (size_t)len};
    *rest = (struct ws_str){rest->data + len, rest->len - (size_t)len};
    return true;
}

/* Bytes behind a length of `n` bytes. */
static bool take_counted(struct ws_str *rest, unsigned n, struct ws_str *out)
{
    uint64_t len;

    return take_unsigned(rest, n, &len) && take_bytes(rest, len, out);
}

static bool take_extension(struct ws_str *rest, uint64_t len, struct msgpack_value *v)
{
    uint64_t type;

    v->type = MSGPACK_EXTENSION;
    if (!take_unsigned(rest, 1, &type) || !take_bytes(rest, len, &v->bytes))
        return false;
    v->extension = (int8_t)sign_extended(type, 1);
    return true;
}

static bool take_float(struct ws_str *rest, uint8_t lead, struct msgpack_value *v)
{
    uint64_t bits;
    uint32_t bits32;
    float number32;

    v->type = MSGPACK_FLOAT;
    if (!take_unsigned(rest, lead == FLOAT32 ? 4 : 8, &bits))
        return false;
    if (lead == FLOAT64) {
        memcpy(&v->number, &bits, sizeof bits);
        return true;
    }
    bits32 = (uint32_t)bits;
    memcpy(&number32, &bits32, sizeof bits32);
    v->number = (double)number32;
    return true;
}

static bool take_integer(struct ws_str *rest, uint8_t lead, struct msgpack_value *v)
{
    unsigned n = 1u << (lead & 3); /* 0xcc to 0xcf, 0xd0 to 0xd3 */
    uint64_t bits;

    v->type = MSGPACK_INTEGER;
    if (!take_unsigned(rest, n, &bits))
        return false;
    v->number = lead <= UINT64 ? (double)bits : (double)sign_extended(bits, n);
    return true;
}

static bool take_container(struct ws_str *rest, uint8_t lead, struct msgpack_value *v)
{
    uint64_t count;

    v->type = lead < MAP16 ? MSGPACK_ARRAY : MSGPACK_MAP;
    if (!take_unsigned(rest, lead & 1 ? 4 : 2, &count))
        return false;
    v->count = (uint32_t)count;
    return true;
}

/* The forms whose first byte has a part of the value in it. */
static bool take_short(struct ws_str *rest, uint8_t lead, struct msgpack_value *v)
{
    if (lead < FIXMAP || lead >= NEGATIVE) {
        v->type = MSGPACK_INTEGER;
        v->number = lead < FIXMAP ? lead : lead - 256;
        return true;
    }
    if (lead < FIXSTR) {
        v->type = lead < FIXARRAY ? MSGPACK_MAP : MSGPACK_ARRAY;
        v->count = lead & 0xf;
        return true;
    }
    v->type = MSGPACK_STRING;
    return take_bytes(rest, lead & 0x1f, &v->bytes);
}

static bool take_ext(struct ws_str *rest, uint8_t lead, struct msgpack_value *v)
{
    uint64_t len;

    v->fixed = lead >= FIXEXT1;
    if (v->fixed)
        return take_extension(rest, UINT64_C(1) << (lead - FIXEXT1), v);
    return take_unsigned(rest, 1u << (lead - EXT8), &len) && take_extension(rest, len, v);
}

bool msgpack_next(struct ws_str *rest, struct msgpack_value *v)
{
    uint64_t first;
    uint8_t lead;

    *v = (struct msgpack_value){.type = MSGPACK_NIL};
    if (!take_unsigned(rest, 1, &first))
        return false;
    lead = (uint8_t)first;
    if (lead < NIL || lead >= NEGATIVE)
        return take_short(rest, lead, v);
    if (lead >= ARRAY16)
        return take_container(rest, lead, v);
    if (lead >= STR8) {
        v->type = MSGPACK_STRING;
        return take_counted(rest, 1u << (lead - STR8), &v->bytes);
    }
    if (lead >= BIN8 && lead < EXT8) {
        v->type = MSGPACK_BINARY;
        return take_counted(rest, 1u << (lead - BIN8), &v->bytes);
    }
    if (lead >= FIXEXT1 || (lead >= EXT8 && lead <= EXT32))
        return take_ext(rest, lead, v);
    if (lead >= UINT8)
        return take_integer(rest, lead, v);
    if (lead >= FLOAT32)
        return take_float(rest, lead, v);
    v->type = lead == NIL ? MSGPACK_NIL : MSGPACK_BOOL;
    v->boolean = lead == TRUE;
    return lead == NIL || lead >= FALSE; /* 0xc1 is never used */
}

/* `left` stays below 2^33 for each byte, so it cannot overflow. */
bool msgpack_take(struct ws_str *rest, struct ws_str *whole, struct msgpack_value *first)
{
    struct ws_str from = *rest;
    struct msgpack_value v;
    uint64_t left = 1; /* values that are still to come */

    if (!msgpack_next(rest, first))
        return false;
    for (v = *first;; left--) {
        if (v.type == MSGPACK_ARRAY || v.type == MSGPACK_MAP)
            left += (uint64_t)v.count * (v.type == MSGPACK_MAP ? 2 : 1);
        if (left == 1)
            break;
        if (!msgpack_next(rest, &v))
            return false;
    }
    *whole = (struct ws_str){from.data, from.len - rest->len};
    return true;
}

bool msgpack_is_undefined(const struct msgpack_value *v)
{
    return v->type == MSGPACK_EXTENSION && v->fixed && v->extension == 0 && v->bytes.len == 1;
}

/* --- dates ------------------------------------------------------------------------------------ */

/* Year, month and day of a number of days since 1970 in the Gregorian calendar. A year that begins
 * in March has its leap day at its end; 400 of them, an era, are 146,097 days. */
static void write_day(int64_t days, char *out, size_t size)
{
    int64_t since = days + 719468; /* since 0000-03-01 */
    int64_t era = (since >= 0 ? since : since - 146096) / 146097;
    int64_t day = since - era * 146097; /* of the era */
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t of_year = day - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153; /* from March, 0 */
    int64_t of_month = of_year - (153 * month + 2) / 5 + 1;

    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    snprintf(out, size,
             year >= 0 && year <= 9999 ? "%04lld-%02lld-%02lld" : "%+07lld-%02lld-%02lld",
             (long long)year, (long long)month, (long long)of_month);
}

/* ECMA-262 §21.4.1.32, the text of a date; no date is further than 100,000,000 days from 1970. */
static void write_iso(struct json_writer *w, double ms)
{
    const int64_t per_day = 86400000;
    char day[64];
    char text[96];
    int64_t whole;
    int64_t of_day;
    int len;

    if (!(fabs(ms) <= 8.64e15)) {
        json_write_null(w);
        return;
    }
    whole = (int64_t)ms; /* towards zero, as new Date() does */
    of_day = whole % per_day < 0 ? whole % per_day + per_day : whole % per_day;
    write_day((whole - of_day) / per_day, day, sizeof day);
    len = snprintf(text, sizeof text, "%sT%02d:%02d:%02d.%03dZ", day, (int)(of_day / 3600000),
                   (int)(of_day / 60000 % 60), (int)(of_day / 1000 % 60), (int)(of_day % 1000));
    json_write_string(w, text, (size_t)len);
}

/* Milliseconds since 1970 of a timestamp; false where there is no timestamp of that length. */
static bool timestamp_ms(struct ws_str bytes, double *ms)
{
    uint64_t high = 0;
    uint64_t low = 0;
    uint64_t nanoseconds;

    switch (bytes.len) {
    case 4:
        take_unsigned(&bytes, 4, &low);
        *ms = (double)low * 1e3;
        return true;
    case 8:
        take_unsigned(&bytes, 4, &high);
        take_unsigned(&bytes, 4, &low);
        *ms = (double)((high & 3) << 32 | low) * 1e3 + (double)(high >> 2) / 1e6;
        return true;
    case 12:
        take_unsigned(&bytes, 4, &nanoseconds);
        take_unsigned(&bytes, 8, &low);
        *ms = (double)sign_extended(low, 8) * 1e3 + (double)nanoseconds / 1e6;
        return true;
    default:
        return false;
    }
}

/* --- to JSON ---------------------------------------------------------------------------------- */

/* An array or a map of which some values are still to come. */
struct open_value {
    uint32_t left; /* items, or pairs */
    bool map;
};

struct reading {
    struct json_writer *w;
    struct ws_str rest;
    struct ws_str *attachments; /* NULL: none are wanted */
    size_t room;
    size_t count;
    size_t depth;
    struct msgpack_value name; /* of the member whose value comes next */
    struct open_value open[MSGPACK_DEPTH_MAX];
};

static struct open_value *innermost(struct reading *r)
{
    return r->depth == 0 ? NULL : &r->open[r->depth - 1];
}

static void write_buffer(struct json_writer *w, struct ws_str bytes)
{
    json_begin_object(w);
    json_write_name(w, "type");
    json_write_string(w, "Buffer", 6);
    json_write_name(w, "data");
    json_begin_array(w);
    for (size_t i = 0; i < bytes.len; i++)
        json_write_integer(w, (uint8_t)bytes.data[i]);
    json_end_array(w);
    json_end_object(w);
}

/* `around`: arrays that are opened only for this value. */
static int write_binary(struct reading *r, struct ws_str bytes, size_t around)
{
    if (r->depth + around + (r->attachments == NULL ? 2 : 1) > MSGPACK_DEPTH_MAX)
        return MSGPACK_TOO_DEEP;
    if (r->attachments == NULL) {
        write_buffer(r->w, bytes);
        return 0;
    }
    if (r->count == r->room)
        return MSGPACK_TOO_MANY;
    json_begin_object(r->w);
    json_write_name(r->w, "_placeholder");
    json_write_bool(r->w, true);
    json_write_name(r->w, "num");
    json_write_integer(r->w, (int64_t)r->count);
    json_end_object(r->w);
    r->attachments[r->count++] = bytes;
    return 0;
}

static int write_extension(struct reading *r, const struct msgpack_value *v)
{
    struct ws_str bytes = v->bytes;
    uint64_t bits;
    double ms;
    int error;

    if (v->extension == TIMESTAMP && timestamp_ms(bytes, &ms)) {
        write_iso(r->w, ms);
        return 0;
    }
    if (msgpack_is_undefined(v)) {
        json_write_null(r->w);
        return 0;
    }
    if (v->extension == 0 && v->fixed && bytes.len == 8) {
        take_unsigned(&bytes, 8, &bits);
        write_iso(r->w, (double)sign_extended(bits, 8));
        return 0;
    }
    if (v->extension == 0 && !v->fixed)
        return write_binary(r, bytes, 0);
    json_begin_array(r->w);
    json_write_integer(r->w, v->extension);
    error = write_binary(r, bytes, 1);
    json_end_array(r->w);
    return error;
}

static int open_container(struct reading *r, const struct msgpack_value *v)
{
    bool map = v->type == MSGPACK_MAP;

    if (r->depth == MSGPACK_DEPTH_MAX)
        return MSGPACK_TOO_DEEP;
    r->open[r->depth++] = (struct open_value){.left = v->count, .map = map};
    if (map)
        json_begin_object(r->w);
    else
        json_begin_array(r->w);
    return 0;
}

static int write_value(struct reading *r, const struct msgpack_value *v)
{
    switch (v->type) {
    case MSGPACK_NIL:
        json_write_null(r->w);
        return 0;
    case MSGPACK_BOOL:
        json_write_bool(r->w, v->boolean);
        return 0;
    case MSGPACK_INTEGER:
    case MSGPACK_FLOAT:
        json_write_number(r->w, v->number);
        return 0;
    case MSGPACK_STRING:
        json_write_string(r->w, v->bytes.data, v->bytes.len);
        return 0;
    case MSGPACK_BINARY:
        return write_binary(r, v->bytes, 0);
    case MSGPACK_ARRAY:
    case MSGPACK_MAP:
        return open_container(r, v);
    case MSGPACK_EXTENSION:
        return write_extension(r, v);
    }
    return MSGPACK_BAD; /* uncovered: these are all types */
}

static bool is_key(const struct msgpack_value *v)
{
    return v->type == MSGPACK_STRING || v->type == MSGPACK_INTEGER;
}

static void write_key(struct json_writer *w, const struct msgpack_value *key)
{
    struct json_writer number = {0};

    if (key->type == MSGPACK_STRING) {
        json_write_string(w, key->bytes.data, key->bytes.len);
    } else {
        json_write_number(&number, key->number);
        json_write_string(w, number.data, number.len);
        w->failed = w->failed || number.failed;
        json_writer_release(&number);
    }
    json_write_text(w, ":", 1);
}

static void close_full(struct reading *r)
{
    struct open_value *top;

    while ((top = innermost(r)) != NULL && top->left == 0) {
        if (top->map)
            json_end_object(r->w);
        else
            json_end_array(r->w);
        r->depth--;
    }
}

/* One value, with its key if it is in a map. */
static int read_item(struct reading *r)
{
    struct open_value *top = innermost(r);
    struct msgpack_value key;
    struct msgpack_value v;
    bool in_map = top != NULL && top->map;

    if (in_map && (!msgpack_next(&r->rest, &key) || !is_key(&key)))
        return MSGPACK_BAD;
    if (!msgpack_next(&r->rest, &v))
        return MSGPACK_BAD;
    if (top != NULL)
        top->left--;
    if (in_map && msgpack_is_undefined(&v))
        return 0;
    if (in_map)
        write_key(r->w, &key);
    return write_value(r, &v);
}

int msgpack_to_json(struct json_writer *w, struct ws_str bytes, struct ws_str *attachments,
                    size_t *count)
{
    struct reading r;
    int error;

    r.w = w;
    r.rest = bytes;
    r.attachments = attachments;
    r.room = attachments == NULL ? 0 : *count;
    r.count = 0;
    r.depth = 0;
    do {
        error = read_item(&r);
        if (error == 0)
            close_full(&r);
    } while (error == 0 && r.depth != 0 && !w->failed);
    if (attachments != NULL)
        *count = r.count;
    if (error == 0 && w->failed)
        return MSGPACK_NOMEM;
    return error == 0 && r.rest.len != 0 ? MSGPACK_BAD : error;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* The lowest `n` bytes of a number, the highest of them first. */
static void write_bytes_of(struct json_writer *w, uint64_t number, unsigned n)
{
    char bytes[8];

    for (unsigned i = n; i > 0; i--, number >>= 8)
        bytes[i - 1] = (char)number;
    json_write_text(w, bytes, n);
}

/* A first byte and `n` bytes of a number behind it. */
static void write_head(struct json_writer *w, unsigned lead, uint64_t number, unsigned n)
{
    write_bytes_of(w, lead, 1);
    write_bytes_of(w, number, n);
}

/* The bytes that a length or count needs, as the power of two: 1, 2, 4. */
static unsigned width(uint64_t number)
{
    return number < 0x100 ? 0 : number < 0x10000 ? 1 : 2;
}

void msgpack_write_nil(struct json_writer *w)
{
    write_head(w, NIL, 0, 0);
}

void msgpack_write_bool(struct json_writer *w, bool value)
{
    write_head(w, value ? TRUE : FALSE, 0, 0);
}

static void write_unsigned(struct json_writer *w, uint64_t n)
{
    unsigned power = n > UINT32_MAX ? 3 : width(n);

    if (n < FIXMAP)
        write_head(w, (unsigned)n, 0, 0);
    else
        write_head(w, UINT8 + power, n, 1u << power);
}

static void write_negative(struct json_writer *w, int64_t n)
{
    unsigned power = n >= INT8_MIN ? 0 : n >= INT16_MIN ? 1 : n >= INT32_MIN ? 2 : 3;

    if (n >= -32)
        write_head(w, (unsigned)(n + 256), 0, 0);
    else
        write_head(w, INT8 + power, (uint64_t)n, 1u << power);
}

void msgpack_write_number(struct json_writer *w, double value)
{
    const double two_to_63 = 9223372036854775808.0;
    uint64_t bits;

    if (value >= 0 && value < 2 * two_to_63 && (double)(uint64_t)value == value) {
        write_unsigned(w, (uint64_t)value);
    } else if (value < 0 && value >= -two_to_63 && (double)(int64_t)value == value) {
        write_negative(w, (int64_t)value);
    } else {
        memcpy(&bits, &value, sizeof bits);
        write_head(w, FLOAT64, bits, 8);
    }
}

void msgpack_write_string(struct json_writer *w, const char *text, size_t len)
{
    if (len < 32)
        write_head(w, FIXSTR | (unsigned)len, 0, 0);
    else
        write_head(w, STR8 + width(len), len, 1u << width(len));
    json_write_text(w, text, len);
}

void msgpack_write_binary(struct json_writer *w, const void *data, size_t len)
{
    write_head(w, BIN8 + width(len), len, 1u << width(len));
    json_write_text(w, data, len);
}

static void write_count(struct json_writer *w, unsigned fix, unsigned lead16, uint32_t count)
{
    if (count < 16)
        write_head(w, fix | count, 0, 0);
    else
        write_head(w, lead16 + (count > UINT16_MAX), count, count > UINT16_MAX ? 4 : 2);
}

void msgpack_write_array(struct json_writer *w, uint32_t count)
{
    write_count(w, FIXARRAY, ARRAY16, count);
}

void msgpack_write_map(struct json_writer *w, uint32_t count)
{
    write_count(w, FIXMAP, MAP16, count);
}

/* Timestamp 32, 64 or 96, whichever is the shortest. */
void msgpack_write_date(struct json_writer *w, int64_t ms)
{
    uint64_t nanoseconds = (uint64_t)((ms % 1000 + 1000) % 1000) * 1000000;
    int64_t seconds = (ms - (int64_t)(nanoseconds / 1000000)) / 1000;

    if (seconds >= 0 && seconds <= UINT32_MAX && nanoseconds == 0) {
        write_head(w, FIXEXT4, (uint8_t)TIMESTAMP, 1);
        write_bytes_of(w, (uint64_t)seconds, 4);
    } else if (seconds >= 0 && seconds < INT64_C(1) << 34) {
        write_head(w, FIXEXT8, (uint8_t)TIMESTAMP, 1);
        write_bytes_of(w, nanoseconds << 34 | (uint64_t)seconds, 8);
    } else {
        write_head(w, EXT8, 12, 1);
        write_head(w, (uint8_t)TIMESTAMP, nanoseconds, 4);
        write_bytes_of(w, (uint64_t)seconds, 8);
    }
}

/* --- from JSON -------------------------------------------------------------------------------- */

/* What has to be known of an array or object before its first byte is written. */
struct plan {
    uint32_t count;
    int32_t attachment; /* it is the placeholder of; -1: of none */
};

/* An array or object that is being counted. */
struct level {
    size_t plan; /* its number */
    bool object;
    bool marked; /* has "_placeholder":true */
    struct ws_str num;
};

struct writing {
    struct json_writer *w;
    struct json_writer plans; /* a struct plan for each array and object, in the order in which they
                                 begin; the first one is of the list */
    struct json_writer text;  /* room for a string whose escapes are resolved */
    const struct ws_str *attachments;
    size_t attachment_count;
    size_t depth;
    struct level levels[MSGPACK_DEPTH_MAX + 1];
};

static struct plan plan_at(const struct writing *x, size_t number)
{
    struct plan plan;

    memcpy(&plan, x->plans.data + number * sizeof plan, sizeof plan);
    return plan;
}

static void set_plan(struct writing *x, size_t number, struct plan plan)
{
    memcpy(x->plans.data + number * sizeof plan, &plan, sizeof plan);
}

static int open_level(struct writing *x, bool object)
{
    const struct plan plan = {.count = 0, .attachment = -1};

    if (x->depth == MSGPACK_DEPTH_MAX + 1)
        return MSGPACK_TOO_DEEP;
    x->levels[x->depth++] = (struct level){.plan = x->plans.len / sizeof plan, .object = object};
    json_write_text(&x->plans, (const char *)&plan, sizeof plan);
    return x->plans.failed ? MSGPACK_NOMEM : 0;
}

static int close_level(struct writing *x)
{
    const struct level *top;
    struct plan plan;
    int64_t num;

    if (x->depth < 2)       /* the list itself stays open */
        return MSGPACK_BAD; /* uncovered: the text has been checked */
    top = &x->levels[--x->depth];
    if (!top->marked || x->attachment_count == 0)
        return 0;
    if (!json_integer(top->num, &num) || num < 0 || (uint64_t)num >= x->attachment_count)
        return MSGPACK_BAD;
    plan = plan_at(x, top->plan);
    plan.attachment = (int32_t)num;
    set_plan(x, top->plan, plan);
    return 0;
}

/* A value begins in the innermost level; `name` is that of a member. */
static void count_value(struct writing *x, struct ws_str name, struct ws_str token)
{
    struct level *top = &x->levels[x->depth - 1];
    struct plan plan = plan_at(x, top->plan);
    bool mark = false;

    plan.count++;
    set_plan(x, top->plan, plan);
    if (name.data == NULL || x->attachment_count == 0)
        return;
    if (json_string_is(name, "_placeholder"))
        top->marked = json_bool(token, &mark) && mark;
    else if (json_string_is(name, "num"))
        top->num = token;
}

/* Which part a token is, in a text that is valid. */
enum part { PART_NAME, PART_VALUE, PART_OPEN, PART_CLOSE, PART_COLON, PART_COMMA };

static enum part part_of(struct ws_str token, bool is_name)
{
    switch (token.data[0]) {
    case '[':
    case '{':
        return PART_OPEN;
    case ']':
    case '}':
        return PART_CLOSE;
    case ':':
        return PART_COLON;
    case ',':
        return PART_COMMA;
    default:
        return is_name ? PART_NAME : PART_VALUE;
    }
}

static const char *valid_string_end(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : NULL;
}

static const char *valid_scalar_end(const char *p, const char *end)
{
    if (*p == '"')
        return valid_string_end(p, end);
    do
        p++;
    while (p < end && strchr(",:]} \t\n\r", *p) == NULL);
    return p;
}

/* As json_token(), for a text that has been checked: nothing is checked again. */
static bool next_token(struct ws_str *rest, struct ws_str *token)
{
    const char *p = rest->data;
    const char *end = p + rest->len;
    const char *behind;

    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    if (p == end)
        return false;
    behind = p + 1;
    if (*p != ',' && *p != ':' && *p != '[' && *p != ']' && *p != '{' && *p != '}')
        behind = valid_scalar_end(p, end);
    if (behind == NULL)
        return false; /* uncovered: the text has been checked */
    *token = (struct ws_str){p, (size_t)(behind - p)};
    *rest = (struct ws_str){behind, (size_t)(end - behind)};
    return true;
}

/* Count the values of each array and object. The order of tokens is known to be legal. */
static int make_plans(struct writing *x, struct ws_str list)
{
    struct ws_str name = {NULL, 0};
    struct ws_str token;
    bool named = false; /* the next token is the name of a member */
    int error = open_level(x, false);

    while (error == 0 && next_token(&list, &token)) {
        switch (part_of(token, named)) {
        case PART_NAME:
            name = token;
            break;
        case PART_VALUE:
            count_value(x, name, token);
            break;
        case PART_OPEN:
            count_value(x, name, token);
            name = (struct ws_str){NULL, 0};
            error = open_level(x, token.data[0] == '{');
            named = token.data[0] == '{';
            break;
        case PART_CLOSE:
            error = close_level(x);
            break;
        case PART_COLON:
            named = false;
            break;
        case PART_COMMA:
            name = (struct ws_str){NULL, 0};
            named = x->levels[x->depth - 1].object;
            break;
        }
    }
    return error;
}

/* Without an escape the bytes are what stands between the quotes. */
static void write_json_string(struct writing *x, struct ws_str token)
{
    ptrdiff_t len;

    if (memchr(token.data, '\\', token.len) == NULL) {
        msgpack_write_string(x->w, token.data + 1, token.len - 2);
        return;
    }
    json_writer_clear(&x->text);
    json_write_text(&x->text, token.data, token.len); /* makes room */
    len = x->text.failed ? -1 : json_string(token, x->text.data, x->text.len);
    if (len < 0)
        x->w->failed = true;
    else
        msgpack_write_string(x->w, x->text.data, (size_t)len);
}

static void write_json_number(struct json_writer *w, struct ws_str token)
{
    int64_t integer;
    double number = 0;

    if (json_integer(token, &integer))
        number = (double)integer;
    else
        json_number(token, &number);
    msgpack_write_number(w, number);
}

static void write_scalar(struct writing *x, struct ws_str token)
{
    switch (json_type(token)) {
    case JSON_NULL:
        msgpack_write_nil(x->w);
        break;
    case JSON_BOOL:
        msgpack_write_bool(x->w, token.data[0] == 't');
        break;
    case JSON_STRING:
        write_json_string(x, token);
        break;
    default:
        write_json_number(x->w, token);
        break;
    }
}

/* Skip the rest of the object that has just begun; returns how many arrays and objects are in
 * it. */
static size_t skip_object(struct ws_str *list)
{
    struct ws_str token;
    size_t inside = 0;
    size_t depth = 1;

    while (depth != 0 && next_token(list, &token)) {
        bool open = token.data[0] == '[' || token.data[0] == '{';

        inside += open;
        depth += open;
        depth -= token.data[0] == ']' || token.data[0] == '}';
    }
    return inside;
}

static void write_planned(struct writing *x, struct ws_str list)
{
    struct ws_str token;
    size_t number = 1; /* of the next array or object */

    while (next_token(&list, &token)) {
        enum part part = part_of(token, false);

        if (part == PART_VALUE)
            write_scalar(x, token);
        if (part != PART_OPEN)
            continue;
        struct plan plan = plan_at(x, number++);

        if (plan.attachment >= 0) {
            const struct ws_str *bytes = &x->attachments[plan.attachment];

            msgpack_write_binary(x->w, bytes->data, bytes->len);
            number += skip_object(&list);
        } else if (token.data[0] == '{') {
            msgpack_write_map(x->w, plan.count);
        } else {
            msgpack_write_array(x->w, plan.count);
        }
    }
}

/* `single`: the list is one value, which is written without an array around it. */
static int write_from(struct json_writer *w, struct ws_str list, bool single,
                      const struct ws_str *attachments, size_t count)
{
    struct writing x;
    int error;

    x.w = w;
    x.plans = x.text = (struct json_writer){0};
    x.attachments = attachments;
    x.attachment_count = count;
    x.depth = 0;
    error = make_plans(&x, list);
    if (error == 0 && !single)
        msgpack_write_array(w, plan_at(&x, 0).count);
    if (error == 0)
        write_planned(&x, list);
    json_writer_release(&x.plans);
    json_writer_release(&x.text);
    return error == 0 && w->failed ? MSGPACK_NOMEM : error;
}

int msgpack_write_list(struct json_writer *w, struct ws_str list, const struct ws_str *attachments,
                       size_t count)
{
    return json_is_list(list) ? write_from(w, list, false, attachments, count) : MSGPACK_BAD;
}

int msgpack_write_json(struct json_writer *w, struct ws_str value, const struct ws_str *attachments,
                       size_t count)
{
    return json_parse(value).data == NULL ? MSGPACK_BAD
                                          : msgpack_write_valid(w, value, attachments, count);
}

int msgpack_write_valid(struct json_writer *w, struct ws_str value,
                        const struct ws_str *attachments, size_t count)
{
    return write_from(w, value, true, attachments, count);
}
