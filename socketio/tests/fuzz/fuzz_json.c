/* SPDX-License-Identifier: MIT
 *
 * json.c: readers take any bytes; what is a value in one way is a value in every other, and to a
 * second reader, which is the grammar of RFC 8259 written down as functions that call each other;
 * and whatever is written, is JSON that says the same. */
#include <stdlib.h>
#include <string.h>

#include "../../json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the grammar ------------------------------------------------------------------------------ */

/* What is still to be read. Each function takes what it is named after off its front, or returns
 * false. */
struct reader {
    const char *at, *end;
};

static bool take(struct reader *r, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(r->end - r->at) < len || memcmp(r->at, text, len) != 0)
        return false;
    r->at += len;
    return true;
}

static bool take_one_of(struct reader *r, const char *characters)
{
    if (r->at == r->end || *r->at == '\0' || strchr(characters, *r->at) == NULL)
        return false;
    r->at++;
    return true;
}

static void take_all_of(struct reader *r, const char *characters)
{
    while (take_one_of(r, characters))
        continue;
}

static bool take_digits(struct reader *r)
{
    bool some = take_one_of(r, "0123456789");

    take_all_of(r, "0123456789");
    return some;
}

/* §6 */
static bool take_number(struct reader *r)
{
    take(r, "-");
    if (!take(r, "0") && !take_digits(r))
        return false;
    if (take(r, ".") && !take_digits(r))
        return false;
    if (!take_one_of(r, "eE"))
        return true;
    take_one_of(r, "+-");
    return take_digits(r);
}

/* §7, one character; UTF-8 is checked for the whole text. */
static bool take_character(struct reader *r)
{
    if (take(r, "\\u")) {
        for (int i = 0; i < 4; i++)
            if (!take_one_of(r, "0123456789abcdefABCDEF"))
                return false;
        return true;
    }
    if (take(r, "\\"))
        return take_one_of(r, "\"\\/bfnrt");
    if (r->at == r->end || *r->at == '"' || (unsigned char)*r->at < ' ')
        return false;
    r->at++;
    return true;
}

static bool take_string(struct reader *r)
{
    if (!take(r, "\""))
        return false;
    while (!take(r, "\""))
        if (!take_character(r))
            return false;
    return true;
}

static bool take_value(struct reader *r, unsigned depth);

/* §4, §5: the inside of an object where `named`, else of an array, and the closing bracket. */
static bool take_items(struct reader *r, unsigned depth, bool named, const char *closing)
{
    static const char space[] = " \t\n\r";

    take_all_of(r, space);
    if (take(r, closing))
        return true;
    do {
        take_all_of(r, space);
        if (named && !take_string(r))
            return false;
        take_all_of(r, space);
        if (named && !take(r, ":"))
            return false;
        take_all_of(r, space);
        if (!take_value(r, depth))
            return false;
        take_all_of(r, space);
    } while (take(r, ","));
    return take(r, closing);
}

/* §3 */
static bool take_value(struct reader *r, unsigned depth)
{
    if (take(r, "["))
        return depth < JSON_DEPTH_MAX && take_items(r, depth + 1, false, "]");
    if (take(r, "{"))
        return depth < JSON_DEPTH_MAX && take_items(r, depth + 1, true, "}");
    if (r->at < r->end && *r->at == '"')
        return take_string(r);
    return take(r, "null") || take(r, "true") || take(r, "false") || take_number(r);
}

static bool is_value(struct ws_str text)
{
    struct reader r = {text.data, text.data + text.len};

    take_all_of(&r, " \t\n\r");
    if (!take_value(&r, 0))
        return false;
    take_all_of(&r, " \t\n\r");
    return r.at == r.end && ws_utf8_valid(text.data, text.len);
}

/* --- the checks ------------------------------------------------------------------------------- */

static bool is_space(struct ws_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr(" \t\r\n", text.data[i]) == NULL || text.data[i] == '\0')
            return false;
    return true;
}

/* Every value inside of a valid one is valid, and they are all that is inside. Returns the last
 * one. */
static struct ws_str check_inside(struct ws_str value)
{
    struct ws_str list = json_inside(value);
    struct ws_str name;
    struct ws_str item = {NULL, 0};
    bool object = json_type(value) == JSON_OBJECT;

    while (object ? json_next_member(&list, &name, &item) : json_next(&list, &item))
        if (json_parse(item).data != item.data || json_parse(item).len != item.len)
            abort();
    if (!is_space(list))
        abort();
    return item;
}

static void check_scalars(struct ws_str value)
{
    char *out = malloc(value.len);
    double number;
    double again;
    struct json_writer w = {0};
    ptrdiff_t n = json_string(value, out, value.len);

    if ((n >= 0) != (json_type(value) == JSON_STRING) ||
        json_number(value, &number) != (json_type(value) == JSON_NUMBER))
        abort();
    if (json_number(value, &number)) {
        json_write_number(&w, number);
        if (json_number(json_written(&w), &again) && again != number)
            abort();
    }
    json_writer_release(&w);
    free(out);
}

static void check_writer(const char *text, size_t len)
{
    struct json_writer w = {0};
    struct ws_str written;
    char *back;

    json_write_string(&w, text, len);
    written = json_written(&w);
    if (json_parse(written).len != written.len)
        abort();
    back = malloc(written.len);
    if (json_string(written, back, written.len) < 0)
        abort();
    free(back);
    json_writer_release(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_str text = {(const char *)data, size};
    struct ws_str value = json_parse(text);
    struct ws_str list = text;
    struct ws_str item;
    bool is_list = json_is_list(text);

    if (value.data != NULL && !is_list)
        abort();
    if (size != 0 && (value.data != NULL) != is_value(text))
        abort();
    while (json_next(&list, &item))
        ;
    if (is_list && list.len != 0 && json_next(&text, &item))
        abort();
    json_member(text, "a");
    check_writer((const char *)data, size);
    if (value.data != NULL) {
        check_scalars(value);
        while (json_inside(value).len != 0)
            value = check_inside(value);
    }
    return 0;
}
