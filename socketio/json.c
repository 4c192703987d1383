/* SPDX-License-Identifier: MIT
 *
 * JSON by RFC 8259; see json.h. The first part is the grammar: each function is one rule. It takes
 * the position where the rule begins, and returns where it ends, or NULL if the text does not
 * follow the rule. */
#include "json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the grammar ------------------------------------------------------------------------------ */

static const char *skip_space(const char *p, const char *end) /* §2 */
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

static const char *digits_end(const char *p, const char *end)
{
    const char *start = p;

    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p == start ? NULL : p;
}

static const char *number_end(const char *p, const char *end) /* §6 */
{
    if (p < end && *p == '-')
        p++;
    p = p < end && *p == '0' ? p + 1 : digits_end(p, end); /* nothing follows a leading zero */
    if (p != NULL && p < end && *p == '.')
        p = digits_end(p + 1, end);
    if (p == NULL || p == end || (*p != 'e' && *p != 'E'))
        return p;
    p++;
    if (p < end && (*p == '+' || *p == '-'))
        p++;
    return digits_end(p, end);
}

/* The continuation byte at p[i] as 6 bits, or false. */
static bool continuation(const uint8_t *p, size_t len, size_t i, uint32_t *c)
{
    if (i >= len || (p[i] & 0xc0) != 0x80)
        return false;
    *c = *c << 6 | (p[i] & 0x3f);
    return true;
}

size_t json_character(struct ws_str text, uint32_t *character)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800,
                                        0x10000}; /* below these a shorter form exists */
    const uint8_t *p = (const uint8_t *)text.data;
    size_t n;
    uint32_t c;

    if (text.len == 0)
        return 0;
    n = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf8 ? 4 : 0;
    c = n < 2 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        if (!continuation(p, text.len, i, &c))
            return 0;
    if (n == 0 || c < smallest[n] || c > 0x10ffff)
        return 0;
    *character = c;
    return n;
}

static bool is_surrogate(uint32_t c)
{
    return c >= 0xd800 && c <= 0xdfff;
}

/* Four digits at `p`; -1 when they are not there. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t n = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        if (ws_hex_value(p[i]) < 0)
            return -1;
        n = n << 4 | ws_hex_value(p[i]);
    }
    return n;
}

static const char *escape_end(const char *p, const char *end) /* behind the backslash */
{
    if (p == end)
        return NULL;
    switch (*p) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 1;
    case 'u':
        return hex4(p + 1, end) < 0 ? NULL : p + 5;
    default:
        return NULL;
    }
}

/* Is each of these eight bytes a plain character: no quote, no backslash, no control character? If
 * a byte is smaller than what is subtracted from it, the subtraction borrows and sets its highest
 * bit. A byte whose highest bit was set before (a character beyond ASCII) does not count. */
static bool eight_are_plain(const char *p)
{
    const uint64_t each = 0x0101010101010101u;
    uint64_t bytes;
    uint64_t quote;
    uint64_t backslash;

    memcpy(&bytes, p, sizeof bytes);
    quote = bytes ^ each * '"';
    backslash = bytes ^ each * '\\';
    return ((((bytes - each * 0x20) & ~bytes) | ((quote - each) & ~quote) |
             ((backslash - each) & ~backslash)) &
            each * 0x80) == 0;
}

static const char *plain_end(const char *p, const char *end)
{
    while (end - p >= 8 && eight_are_plain(p))
        p += 8;
    while (p < end && (uint8_t)*p >= 0x20 && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* Bytes beyond ASCII are checked at the end, all at once: none of them looks like a quote. */
static const char *string_end(const char *p, const char *end) /* §7 */
{
    const char *start = p + 1;

    if (p == end || *p != '"')
        return NULL;
    p = plain_end(start, end);
    while (p < end && *p == '\\') {
        p = escape_end(p + 1, end);
        if (p == NULL)
            return NULL;
        p = plain_end(p, end);
    }
    if (p == end || *p != '"' || !ws_utf8_valid(start, (size_t)(p - start)))
        return NULL;
    return p + 1;
}

static const char *word_end(const char *p, const char *end, const char *word)
{
    size_t len = strlen(word);

    return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 ? p + len : NULL;
}

/* A name and its colon, up to the value. */
static const char *name_end(const char *p, const char *end) /* §4 */
{
    p = string_end(p, end);
    if (p == NULL)
        return NULL;
    p = skip_space(p, end);
    return p < end && *p == ':' ? skip_space(p + 1, end) : NULL;
}

static const char *scalar_end(const char *p, const char *end)
{
    switch (*p) {
    case '"':
        return string_end(p, end);
    case 't':
        return word_end(p, end, "true");
    case 'f':
        return word_end(p, end, "false");
    case 'n':
        return word_end(p, end, "null");
    default:
        return number_end(p, end);
    }
}

/* The open arrays and objects, the innermost last, as the brackets that close them. */
struct nest {
    char closers[JSON_DEPTH_MAX];
    size_t depth;
};

static char closer(const struct nest *n)
{
    return n->closers[n->depth - 1];
}

/* Behind an opening bracket: the first value, its name, or the closing bracket begins there. */
static const char *open_nest(struct nest *n, const char *p, const char *end)
{
    if (n->depth == JSON_DEPTH_MAX)
        return NULL;
    n->closers[n->depth++] = *p == '[' ? ']' : '}';
    return skip_space(p + 1, end);
}

/* From where a value of the innermost nest begins, with its name if it has one, to the value. */
static const char *item(const struct nest *n, const char *p, const char *end)
{
    return closer(n) == '}' ? name_end(p, end) : p;
}

/* Behind a value come closing brackets, and then, unless that was all, a comma and the next
 * value. */
static const char *behind_value(struct nest *n, const char *p, const char *end)
{
    while (n->depth != 0) {
        p = skip_space(p, end);
        if (p == end)
            return NULL;
        if (*p == ',')
            return item(n, skip_space(p + 1, end), end);
        if (*p != closer(n))
            return NULL;
        n->depth--;
        p++;
    }
    return p;
}

/* §3. Not recursive, so that a peer cannot exhaust the stack. */
static const char *value_end(const char *p, const char *end)
{
    struct nest n;

    n.depth = 0;
    do {
        if (p == end)
            return NULL;
        if (*p == '[' || *p == '{') {
            p = open_nest(&n, p, end);
            if (p == NULL || p == end)
                return NULL;
            if (*p != closer(&n)) {
                p = item(&n, p, end);
                continue;
            }
        } else {
            p = scalar_end(p, end);
        }
        if (p != NULL)
            p = behind_value(&n, p, end);
    } while (p != NULL && n.depth != 0);
    return p;
}

/* --- slices ----------------------------------------------------------------------------------- */

static struct ws_str slice(const char *p, const char *end)
{
    return (struct ws_str){p, (size_t)(end - p)};
}

static const struct ws_str none = {NULL, 0};

struct ws_str json_parse(struct ws_str text)
{
    const char *end;
    const char *p;
    const char *behind;

    if (text.len == 0)
        return none;
    end = text.data + text.len;
    p = skip_space(text.data, end);
    behind = value_end(p, end);
    return behind == NULL || skip_space(behind, end) != end ? none : slice(p, behind);
}

bool json_is_list(struct ws_str text)
{
    struct ws_str value;

    if (text.len == 0 || skip_space(text.data, text.data + text.len) == text.data + text.len)
        return true;
    while (json_next(&text, &value))
        if (text.len == 0) /* the last value, and no comma behind it */
            return true;
    return false;
}

enum json_type json_type(struct ws_str value)
{
    if (value.len == 0)
        return JSON_INVALID;
    switch (value.data[0]) {
    case '"':
        return JSON_STRING;
    case '[':
        return JSON_ARRAY;
    case '{':
        return JSON_OBJECT;
    case 't':
    case 'f':
        return JSON_BOOL;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

struct ws_str json_inside(struct ws_str value)
{
    enum json_type type = json_type(value);

    if ((type != JSON_ARRAY && type != JSON_OBJECT) || value.len < 2)
        return none;
    return (struct ws_str){value.data + 1, value.len - 2};
}

/* Behind the value that ends at `p` comes a comma and the rest of the list, or nothing. */
static bool take(struct ws_str *list, const char *p)
{
    const char *end = list->data + list->len;

    p = skip_space(p, end);
    if (p == end) {
        *list = slice(end, end);
        return true;
    }
    if (*p != ',')
        return false;
    *list = slice(p + 1, end);
    /* A comma must be followed by a value: leave an illegal text, so that the caller sees an
     * error. */
    if (list->len == 0)
        *list = slice(p, end);
    return true;
}

bool json_next(struct ws_str *list, struct ws_str *value)
{
    const char *end;
    const char *p;
    const char *behind;

    if (list->len == 0)
        return false;
    end = list->data + list->len;
    p = skip_space(list->data, end);
    behind = value_end(p, end);
    if (behind == NULL || !take(list, behind))
        return false;
    *value = slice(p, behind);
    return true;
}

bool json_next_member(struct ws_str *list, struct ws_str *name, struct ws_str *value)
{
    const char *end;
    const char *p;
    const char *at;
    const char *behind;

    if (list->len == 0)
        return false;
    end = list->data + list->len;
    p = skip_space(list->data, end);
    at = name_end(p, end);
    behind = at == NULL ? NULL : value_end(at, end);
    if (behind == NULL || !take(list, behind))
        return false;
    *name = slice(p, string_end(p, end));
    *value = slice(at, behind);
    return true;
}

static bool is_punctuation(char c)
{
    return c == ',' || c == ':' || c == '[' || c == ']' || c == '{' || c == '}';
}

bool json_token(struct ws_str *rest, struct ws_str *token)
{
    const char *end;
    const char *p;
    const char *behind;

    if (rest->len == 0)
        return false;
    end = rest->data + rest->len;
    p = skip_space(rest->data, end);
    if (p == end)
        return false;
    behind = is_punctuation(*p) ? p + 1 : scalar_end(p, end);
    if (behind == NULL)
        return false;
    *token = slice(p, behind);
    *rest = slice(behind, end);
    return true;
}

struct ws_str json_at(struct ws_str list, size_t index)
{
    struct ws_str value;

    while (json_next(&list, &value))
        if (index-- == 0)
            return value;
    return none;
}

struct ws_str json_member(struct ws_str object, const char *name)
{
    struct ws_str list = json_inside(object);
    struct ws_str found = none;
    struct ws_str key;
    struct ws_str value;

    if (json_type(object) != JSON_OBJECT)
        return none;
    while (json_next_member(&list, &key, &value))
        if (json_string_is(key, name))
            found = value;
    return found;
}

/* --- scalars ---------------------------------------------------------------------------------- */

bool json_bool(struct ws_str value, bool *out)
{
    bool is_true = value.len == 4 && memcmp(value.data, "true", 4) == 0;

    if (!is_true && !(value.len == 5 && memcmp(value.data, "false", 5) == 0))
        return false;
    *out = is_true;
    return true;
}

/* Significant digits of a number, and where its decimal point stands. No point halfway between two
 * doubles has more than 767 digits, so that of those beyond DIGITS_MAX it only matters whether all
 * are zero: if not, the last one that is kept is not zero either. */
enum { DIGITS_MAX = 800 };

struct decimal {
    char digits[DIGITS_MAX];
    size_t count;
    long point; /* the value is 0.digits * 10^point */
    bool negative;
};

static void decimal_digit(struct decimal *d, char digit)
{
    if (d->count == 0 && digit == '0')
        return;
    if (d->count < DIGITS_MAX)
        d->digits[d->count++] = digit;
    else if (digit != '0' && d->digits[DIGITS_MAX - 1] == '0')
        d->digits[DIGITS_MAX - 1] = '1';
}

/* The exponent at `p`, limited to a range beyond which the value is 0 or infinite in any case. */
static long exponent(const char *p, const char *end)
{
    const long limit = 100000000;
    bool negative = p < end && *p == '-';
    long n = 0;

    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (; p < end && n < limit; p++)
        n = n * 10 + (*p - '0');
    return negative ? -n : n;
}

static void decimal_read(struct decimal *d, const char *p, const char *end)
{
    bool fraction = false;

    *d = (struct decimal){.negative = *p == '-'};
    for (p += d->negative; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        decimal_digit(d, *p);
        /* Digits before the point move it to the right; zeros behind it, before the first digit
         * that counts, to the left. */
        if (!fraction && d->count != 0)
            d->point++;
        else if (fraction && d->count == 0)
            d->point--;
    }
    if (p < end)
        d->point += exponent(p + 1, end);
}

bool json_number(struct ws_str value, double *out)
{
    struct decimal d;
    char text[DIGITS_MAX + 32];

    if (value.len == 0 || number_end(value.data, value.data + value.len) != value.data + value.len)
        return false;
    decimal_read(&d, value.data, value.data + value.len);
    /* As an integer times a power of ten, strtod() does not depend on the locale's decimal
     * point. */
    snprintf(text, sizeof text, "%s%.*se%ld", d.negative ? "-" : "", (int)d.count, d.digits,
             d.point - (long)d.count);
    *out = d.count == 0 ? (d.negative ? -0.0 : 0.0) : strtod(text, NULL);
    return true;
}

/* Within +-(2^53 - 1), and no fraction. */
static bool is_integer(double number)
{
    return fabs(number) <= 9007199254740991.0 && (double)(int64_t)number == number;
}

/* Most integers are a few digits and nothing else; a double has room for 15 of any. */
static bool short_integer(struct ws_str value, int64_t *out)
{
    int64_t n = 0;

    if (value.len == 0 || value.len > 15 || (value.data[0] == '0' && value.len > 1))
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        n = n * 10 + (value.data[i] - '0');
    }
    *out = n;
    return true;
}

bool json_integer(struct ws_str value, int64_t *out)
{
    double number;

    if (short_integer(value, out))
        return true;
    if (!json_number(value, &number) || !is_integer(number))
        return false;
    *out = (int64_t)number;
    return true;
}

/* --- strings ---------------------------------------------------------------------------------- */

static size_t put_character(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static void drop(struct ws_str *text, size_t n)
{
    text->data += n;
    text->len -= n;
}

/* The code unit of a \uXXXX at the start of `text`; 0 when there is no such escape. */
static uint32_t code_unit(struct ws_str text)
{
    if (text.len < 6 || text.data[0] != '\\' || text.data[1] != 'u')
        return 0;
    return (uint32_t)hex4(text.data + 2, text.data + 6);
}

/* Take the character of a \uXXXX off `rest`, with the second half of a surrogate pair. */
static uint32_t take_unicode_escape(struct ws_str *rest)
{
    uint32_t c = code_unit(*rest);
    uint32_t low;

    drop(rest, 6);
    if (!is_surrogate(c))
        return c;
    low = code_unit(*rest);
    if (c > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return 0xfffd;
    drop(rest, 6);
    return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

/* Take the next piece off the inside of a valid string: bytes as they are, or one escape resolved
 * into `room`. Returns its length, 0 at the end. */
static size_t next_piece(struct ws_str *rest, const char **piece, char room[4])
{
    static const char short_escapes[] = "b\bf\fn\nr\rt\t";
    const char *found;
    size_t plain = 0;

    *piece = rest->data;
    while (plain < rest->len && rest->data[plain] != '\\')
        plain++;
    if (plain != 0 || rest->len == 0) {
        drop(rest, plain);
        return plain;
    }
    *piece = room;
    if (rest->data[1] == 'u')
        return put_character(room, take_unicode_escape(rest));
    found = strchr(short_escapes, rest->data[1]);
    room[0] = found == NULL ? rest->data[1] : found[1];
    drop(rest, 2);
    return 1;
}

/* The text between the quotes; data is NULL if the value is no string. */
static struct ws_str inside_string(struct ws_str value)
{
    if (value.len == 0 || string_end(value.data, value.data + value.len) != value.data + value.len)
        return none;
    return (struct ws_str){value.data + 1, value.len - 2};
}

ptrdiff_t json_string(struct ws_str value, char *out, size_t size)
{
    struct ws_str rest = inside_string(value);
    const char *piece;
    char room[4];
    size_t len = 0;
    size_t n;

    if (rest.data == NULL || size == 0)
        return -1;
    while ((n = next_piece(&rest, &piece, room)) != 0) {
        if (n >= size - len)
            return -1;
        memcpy(out + len, piece, n);
        len += n;
    }
    out[len] = '\0';
    return (ptrdiff_t)len;
}

bool json_string_is(struct ws_str value, const char *text)
{
    struct ws_str rest = inside_string(value);
    size_t left = strlen(text);
    const char *piece;
    char room[4];
    size_t n;

    if (rest.data == NULL)
        return false;
    while ((n = next_piece(&rest, &piece, room)) != 0) {
        if (n > left || memcmp(text, piece, n) != 0)
            return false;
        text += n;
        left -= n;
    }
    return left == 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void fail(struct json_writer *w)
{
    free(w->data);
    *w = (struct json_writer){.failed = true};
}

static bool reserve(struct json_writer *w, size_t n)
{
    size_t cap = w->cap < 64 ? 64 : w->cap;
    char *data;

    if (w->failed)
        return false;
    if (n <= w->cap - w->len)
        return true;
    while (cap - w->len < n) {
        if (cap > SIZE_MAX / 2) {
            fail(w);
            return false;
        }
        cap *= 2;
    }
    data = realloc(w->data, cap);
    if (data == NULL) {
        fail(w);
        return false;
    }
    w->data = data;
    w->cap = cap;
    return true;
}

void json_write_text(struct json_writer *w, const char *text, size_t len)
{
    if (len == 0 || !reserve(w, len))
        return;
    memcpy(w->data + w->len, text, len);
    w->len += len;
}

/* A value begins: write a comma, unless it is the first in its container. The last byte shows that,
 * since a string always ends with its quote. */
static void separate(struct json_writer *w)
{
    if (w->len != 0 && strchr("[{:,", w->data[w->len - 1]) == NULL)
        json_write_text(w, ",", 1);
}

static void write_value(struct json_writer *w, const char *text, size_t len)
{
    separate(w);
    json_write_text(w, text, len);
}

void json_write_null(struct json_writer *w)
{
    write_value(w, "null", 4);
}

void json_write_bool(struct json_writer *w, bool value)
{
    write_value(w, value ? "true" : "false", value ? 4 : 5);
}

void json_write_integer(struct json_writer *w, int64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)value);

    write_value(w, text, (size_t)len);
}

/* The fewest digits that read back as `value` (> 0), without a point; returns how many. The value
 * is 0.digits * 10^*point. */
static int shortest_digits(double value, char digits[18], int *point)
{
    char text[40];
    int count = 1;
    const char *e;

    for (; count < 17; count++) {
        snprintf(text, sizeof text, "%.*e", count - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    snprintf(text, sizeof text, "%.*e", count - 1, value);
    e = strchr(text, 'e');
    *point = (int)strtol(e + 1, NULL, 10) + 1;
    digits[0] = text[0];
    /* the locale's decimal point, of any length, is between the first digit and the others */
    memcpy(digits + 1, e - (count - 1), (size_t)(count - 1));
    return count;
}

/* ECMA-262 §6.1.6.1.20, Number::toString. */
static void write_positive(struct json_writer *w, double value)
{
    char digits[18];
    int point;
    int count = shortest_digits(value, digits, &point);
    char exponent_text[8];
    int n;

    if (point > 21 || point < -5) {
        n = snprintf(exponent_text, sizeof exponent_text, "e%+d", point - 1);
        json_write_text(w, digits, 1);
        json_write_text(w, ".", count > 1);
        json_write_text(w, digits + 1, (size_t)(count - 1));
        json_write_text(w, exponent_text, (size_t)n);
    } else if (point <= 0) {
        json_write_text(w, "0.00000", (size_t)(2 - point));
        json_write_text(w, digits, (size_t)count);
    } else if (point < count) {
        json_write_text(w, digits, (size_t)point);
        json_write_text(w, ".", 1);
        json_write_text(w, digits + point, (size_t)(count - point));
    } else {
        json_write_text(w, digits, (size_t)count);
        json_write_text(w, "00000000000000000000", (size_t)(point - count));
    }
}

void json_write_number(struct json_writer *w, double value)
{
    if (!isfinite(value)) {
        json_write_null(w);
    } else if (is_integer(value)) {
        json_write_integer(w, (int64_t)value); /* -0 too becomes 0 */
    } else {
        separate(w);
        json_write_text(w, "-", value < 0);
        write_positive(w, fabs(value));
    }
}

static void write_escaped(struct json_writer *w, uint32_t c)
{
    static const char short_escapes[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    const char *found = c == 0 || c > 0x7f ? NULL : strchr(short_escapes, (int)c);
    char text[8];
    int len;

    if (found != NULL) {
        /* `c` is a special character, so `found` is not at one of the letters */
        text[0] = '\\';
        text[1] = found[1];
        json_write_text(w, text, 2);
        return;
    }
    len = snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
    json_write_text(w, text, (size_t)len);
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* One character that is not plain; returns how many bytes of the text it takes. */
static size_t write_special(struct json_writer *w, const char *text, size_t len)
{
    uint32_t c;
    size_t n = json_character((struct ws_str){text, len}, &c);

    if (n == 0) {
        json_write_text(w, "\xef\xbf\xbd", 3);
        return 1;
    }
    if (n == 1 || is_surrogate(c))
        write_escaped(w, c);
    else
        json_write_text(w, text, n);
    return n;
}

void json_write_string(struct json_writer *w, const char *text, size_t len)
{
    size_t at = 0;

    write_value(w, "\"", 1);
    while (at < len) {
        size_t start = at;

        while (at < len && is_plain((uint8_t)text[at]))
            at++;
        json_write_text(w, text + start, at - start);
        if (at < len)
            at += write_special(w, text + at, len - at);
    }
    json_write_text(w, "\"", 1);
}

void json_write_raw(struct json_writer *w, struct ws_str text)
{
    if (text.len != 0 && skip_space(text.data, text.data + text.len) != text.data + text.len)
        write_value(w, text.data, text.len);
}

void json_begin_array(struct json_writer *w)
{
    write_value(w, "[", 1);
}

void json_end_array(struct json_writer *w)
{
    json_write_text(w, "]", 1);
}

void json_begin_object(struct json_writer *w)
{
    write_value(w, "{", 1);
}

void json_write_name(struct json_writer *w, const char *name)
{
    json_write_string(w, name, strlen(name));
    json_write_text(w, ":", 1);
}

void json_end_object(struct json_writer *w)
{
    json_write_text(w, "}", 1);
}

struct ws_str json_written(const struct json_writer *w)
{
    /* Nothing written is the empty list, not a failure. */
    return (struct ws_str){w->data != NULL || w->failed ? w->data : "", w->len};
}

void json_writer_clear(struct json_writer *w)
{
    w->len = 0;
    w->failed = false;
}

void json_writer_release(struct json_writer *w)
{
    free(w->data);
    *w = (struct json_writer){0};
}
