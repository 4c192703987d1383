/* SPDX-License-Identifier: MIT
 *
 * json.c: readers take any bytes; what is a value in one way is a value in every other; and
 * whatever is written, is JSON that says the same. */
#include <stdlib.h>
#include <string.h>

#include "../../json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
