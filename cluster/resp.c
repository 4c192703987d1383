/* SPDX-License-Identifier: MIT
 *
 * The protocol of Redis; see resp.h. */
#include "resp.h"

#include <assert.h>
#include <string.h>

/* --- numbers ---------------------------------------------------------------------------------- */

static size_t count_digits(struct ws_str s)
{
    size_t n = 0;

    while (n < s.len && s.data[n] >= '0' && s.data[n] <= '9')
        n++;
    return n;
}

static struct ws_str behind(struct ws_str s, size_t n)
{
    return (struct ws_str){s.data + n, s.len - n};
}

static bool begins_with_one_of(struct ws_str s, const char *characters)
{
    return s.len != 0 && s.data[0] != '\0' && strchr(characters, s.data[0]) != NULL;
}

/* Digits and nothing else, of at most `max`. */
static bool parse_digits(struct ws_str s, uint64_t max, uint64_t *n)
{
    *n = 0;
    if (s.len == 0 || count_digits(s) != s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint64_t digit = (uint64_t)(s.data[i] - '0');

        if (*n > (max - digit) / 10)
            return false;
        *n = *n * 10 + digit;
    }
    return true;
}

static bool parse_integer(struct ws_str s, int64_t *number)
{
    bool is_negative = s.len != 0 && s.data[0] == '-';
    uint64_t n;

    if (begins_with_one_of(s, "+-"))
        s = behind(s, 1);
    if (!parse_digits(s, (uint64_t)INT64_MAX + is_negative, &n))
        return false;
    *number = n > INT64_MAX ? INT64_MIN : is_negative ? -(int64_t)n : (int64_t)n;
    return true;
}

/* [+-] digits [. digits] [eE [+-] digits], or inf, -inf, nan */
static bool is_double(struct ws_str s)
{
    if (ws_str_is(s, "inf") || ws_str_is(s, "-inf") || ws_str_is(s, "nan"))
        return true;
    if (begins_with_one_of(s, "+-"))
        s = behind(s, 1);
    if (count_digits(s) == 0)
        return false;
    s = behind(s, count_digits(s));
    if (begins_with_one_of(s, ".")) {
        s = behind(s, 1);
        s = behind(s, count_digits(s));
    }
    if (s.len == 0 || !begins_with_one_of(s, "eE"))
        return s.len == 0;
    s = behind(s, 1);
    if (begins_with_one_of(s, "+-"))
        s = behind(s, 1);
    return s.len != 0 && count_digits(s) == s.len;
}

static bool is_big_number(struct ws_str s)
{
    if (begins_with_one_of(s, "+-"))
        s = behind(s, 1);
    return s.len != 0 && count_digits(s) == s.len;
}

/* --- the values of a reply -------------------------------------------------------------------- */

static bool is_hidden(const struct resp_reader *r)
{
    return r->depth > 0 && r->levels[r->depth - 1].is_hidden;
}

/* A value has begun. Returns where it is kept, or NULL where it is not. */
static struct resp_value *add(struct resp_reader *r, enum resp_type type, int64_t number)
{
    struct resp_value *value = &r->values[r->count];

    r->elements++;
    if (is_hidden(r) || r->count == RESP_VALUES)
        return NULL;
    r->count++;
    *value = (struct resp_value){.type = type, .depth = r->depth, .number = number};
    return value;
}

static int add_text(struct resp_reader *r, enum resp_type type, int64_t number, size_t at,
                    size_t len)
{
    struct resp_value *value = add(r, type, number);

    if (value != NULL) {
        value->at = at;
        value->text.len = len;
    }
    return 0;
}

/* An aggregate of `n` values begins. */
static int open_level(struct resp_reader *r, uint32_t n, bool is_attribute)
{
    bool hidden = is_attribute || is_hidden(r);

    if (r->depth == RESP_DEPTH_MAX)
        return RESP_ERR_DEPTH;
    r->levels[r->depth++] = (struct resp_level){n, hidden, is_attribute};
    return 0;
}

/* A value that may have values inside is complete, or one without. Is the reply complete by it? */
static bool close_levels(struct resp_reader *r)
{
    while (r->depth > 0) {
        struct resp_level *level = &r->levels[r->depth - 1];

        if (level->left > 0)
            level->left--;
        if (level->left > 0)
            return false;
        r->depth--;
        if (level->is_attribute)
            return false; /* what it is about comes next */
    }
    return true;
}

/* --- one value -------------------------------------------------------------------------------- */

/* The first line of a value: its type, and the rest without CR LF. */
struct head {
    char type;
    struct ws_str line;
    size_t at;   /* offset of `line` */
    size_t next; /* offset of what is behind the line */
};

/* Returns 1, or 0 when it is not whole, or an error. */
static int read_head(const struct resp_reader *r, const char *data, size_t len, struct head *head)
{
    static const char types[] = "+-:$*_#,(!=%~|>";
    const char *start = data + r->at;
    size_t there = len - r->at < RESP_LINE_MAX ? len - r->at : RESP_LINE_MAX;
    const char *end;

    if (there == 0)
        return 0;
    if (start[0] == '\0' || strchr(types, start[0]) == NULL)
        return start[0] == ';' || start[0] == '.' ? RESP_ERR_STREAMED : RESP_ERR_TYPE;
    end = memchr(start, '\r', there);
    if (end == NULL || end + 1 == start + there) {
        if (memchr(start, '\n', there) != NULL || there == RESP_LINE_MAX)
            return RESP_ERR_LINE;
        return 0;
    }
    if (end[1] != '\n' || memchr(start, '\n', (size_t)(end - start)) != NULL)
        return RESP_ERR_LINE;
    head->type = start[0];
    head->line = (struct ws_str){start + 1, (size_t)(end - start) - 1};
    head->at = r->at + 1;
    head->next = r->at + (size_t)(end - start) + 2;
    return 1;
}

/* Returns 1, or 0 when it is not whole, or an error. */
static int read_bulk(struct resp_reader *r, const char *data, size_t len, const struct head *head)
{
    bool is_verbatim = head->type == '=';
    size_t room = r->max_bytes - head->next;
    uint64_t n;
    size_t end;

    if (!parse_digits(head->line, INT64_MAX, &n))
        return ws_str_is(head->line, "?") ? RESP_ERR_STREAMED : RESP_ERR_NUMBER;
    if (room < 2 || n > room - 2)
        return RESP_ERR_SIZE;
    end = head->next + (size_t)n;
    if (len < end + 2)
        return 0;
    if (data[end] != '\r' || data[end + 1] != '\n' ||
        (is_verbatim && (n < 4 || data[head->next + 3] != ':')))
        return RESP_ERR_TEXT;
    r->at = end + 2;
    add_text(r, head->type == '!' ? RESP_ERROR : RESP_STRING, 0, head->next + (is_verbatim ? 4 : 0),
             (size_t)n - (is_verbatim ? 4 : 0));
    return 1;
}

static enum resp_type aggregate_type(char type)
{
    switch (type) {
    case '*':
        return RESP_ARRAY;
    case '~':
        return RESP_SET;
    case '%':
        return RESP_MAP;
    default:
        assert(type == '>');
        return RESP_PUSH;
    }
}

static int read_aggregate(struct resp_reader *r, const struct head *head)
{
    bool has_pairs = head->type == '%' || head->type == '|';
    uint64_t n;

    if (!parse_digits(head->line, INT64_MAX, &n))
        return ws_str_is(head->line, "?") ? RESP_ERR_STREAMED : RESP_ERR_NUMBER;
    if (n > RESP_ELEMENTS_MAX)
        return RESP_ERR_SIZE;
    n *= has_pairs ? 2 : 1;
    if (r->elements + n >= RESP_ELEMENTS_MAX)
        return RESP_ERR_SIZE;
    if (head->type == '>' && r->depth > 0)
        return RESP_ERR_PUSH;
    if (head->type == '|')
        r->elements++;
    else
        add(r, aggregate_type(head->type), (int64_t)n);
    return open_level(r, (uint32_t)n, head->type == '|');
}

/* A value that is one line. */
static int read_line(struct resp_reader *r, const struct head *head)
{
    int64_t number = 0;

    switch (head->type) {
    case '+':
        return add_text(r, RESP_STRING, 0, head->at, head->line.len);
    case '-':
        return add_text(r, RESP_ERROR, 0, head->at, head->line.len);
    case ':':
        return parse_integer(head->line, &number)
                   ? add_text(r, RESP_INTEGER, number, head->at, head->line.len)
                   : RESP_ERR_NUMBER;
    case '#':
        if (!ws_str_is(head->line, "t") && !ws_str_is(head->line, "f"))
            return RESP_ERR_NUMBER;
        return add_text(r, RESP_BOOLEAN, head->line.data[0] == 't', head->at, 1);
    case ',':
        return is_double(head->line) ? add_text(r, RESP_DOUBLE, 0, head->at, head->line.len)
                                     : RESP_ERR_NUMBER;
    case '(':
        return is_big_number(head->line) ? add_text(r, RESP_BIG_NUMBER, 0, head->at, head->line.len)
                                         : RESP_ERR_NUMBER;
    default:
        assert(head->type == '_');
        return head->line.len == 0 ? add_text(r, RESP_NULL, 0, head->at, 0) : RESP_ERR_NUMBER;
    }
}

/* Read one value, or the head of one that has others inside. Returns 1 when the reply is complete
 * by it, 2 when it is not, 0 when the value is not whole, or an error. */
static int read_value(struct resp_reader *r, const char *data, size_t len)
{
    struct head head;
    int result = read_head(r, data, len, &head);

    if (result <= 0)
        return result;
    if (head.next > r->max_bytes || r->elements >= RESP_ELEMENTS_MAX)
        return RESP_ERR_SIZE;
    if (strchr("$*", head.type) != NULL && ws_str_is(head.line, "-1")) {
        r->at = head.next;
        add_text(r, RESP_NULL, 0, head.at, 0);
        return close_levels(r) ? 1 : 2;
    }
    if (strchr("$!=", head.type) != NULL) {
        result = read_bulk(r, data, len, &head);
        return result <= 0 ? result : close_levels(r) ? 1 : 2;
    }
    r->at = head.next;
    if (strchr("*~%>|", head.type) == NULL) {
        result = read_line(r, &head);
        return result < 0 ? result : close_levels(r) ? 1 : 2;
    }
    result = read_aggregate(r, &head);
    if (result < 0)
        return result;
    return r->levels[r->depth - 1].left == 0 && close_levels(r) ? 1 : 2;
}

ptrdiff_t resp_read(struct resp_reader *r, const char *data, size_t len)
{
    int result = 2;

    if (r->at == 0)
        r->count = r->elements = r->depth = 0;
    assert(r->at <= len || r->at == 0);
    while (result == 2)
        result = read_value(r, data, len);
    if (result == 0)
        return len < r->max_bytes ? 0 : RESP_ERR_SIZE;
    if (result < 0)
        return result;
    for (size_t i = 0; i < r->count; i++)
        r->values[i].text.data = data + r->values[i].at;
    len = r->at;
    r->at = 0;
    return (ptrdiff_t)len;
}

const char *resp_strerror(ptrdiff_t error)
{
    switch (error) {
    case RESP_ERR_TYPE:
        return "an unknown type";
    case RESP_ERR_LINE:
        return "a line that does not end as it should";
    case RESP_ERR_NUMBER:
        return "a number or length that is none";
    case RESP_ERR_TEXT:
        return "a string that does not end as it should";
    case RESP_ERR_SIZE:
        return "a reply that is too large";
    case RESP_ERR_DEPTH:
        return "a reply that is nested too deeply";
    case RESP_ERR_STREAMED:
        return "a value of unknown length";
    case RESP_ERR_PUSH:
        return "a push inside a reply";
    default:
        return "no error";
    }
}

/* --- commands --------------------------------------------------------------------------------- */

/* Appends where `out` is not NULL, and counts. */
struct writer {
    char *out;
    size_t len;
};

static void put(struct writer *w, const char *data, size_t len)
{
    if (w->out != NULL && len != 0)
        memcpy(w->out + w->len, data, len);
    w->len += len;
}

static void put_head(struct writer *w, char type, size_t n)
{
    char head[24];
    size_t at = sizeof head;

    head[--at] = '\n';
    head[--at] = '\r';
    do
        head[--at] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    head[--at] = type;
    put(w, head + at, sizeof head - at);
}

static void put_bulk(struct writer *w, const struct ws_str *pieces, size_t count)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    put_head(w, '$', len);
    for (size_t i = 0; i < count; i++)
        put(w, pieces[i].data, pieces[i].len);
    put(w, "\r\n", 2);
}

size_t resp_command(char *out, const struct ws_str *arguments, size_t count,
                    const struct ws_str *last, size_t pieces)
{
    struct writer w = {.out = out};

    put_head(&w, '*', count + (pieces != 0));
    for (size_t i = 0; i < count; i++)
        put_bulk(&w, &arguments[i], 1);
    if (pieces != 0)
        put_bulk(&w, last, pieces);
    return w.len;
}
