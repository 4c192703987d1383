/* SPDX-License-Identifier: MIT
 *
 * IP addresses; see address.h. As strict as inet_pton(): no leading zeros, which some programs read
 * as octal, and no short forms such as 127.1. */
#include "address.h"

#include <string.h>

enum { IPV4 = 4, IPV6 = 16, NO_GAP = IPV6 + 1 };

static struct ws_str part(struct ws_str s, size_t from, size_t to)
{
    return (struct ws_str){s.data + from, to - from};
}

/* Where `c` is first, or s.len. */
static size_t find_char(struct ws_str s, char c)
{
    const char *found = s.len == 0 ? NULL : memchr(s.data, c, s.len);

    return found == NULL ? s.len : (size_t)(found - s.data);
}

bool address_number(unsigned *n, struct ws_str digits, unsigned max)
{
    unsigned value = 0;

    if (digits.len == 0 || digits.len > 9 || (digits.data[0] == '0' && digits.len > 1))
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(digits.data[i] - '0');
    }
    if (value > max)
        return false;
    *n = value;
    return true;
}

static bool parse_ipv4(uint8_t out[IPV4], struct ws_str s)
{
    for (size_t i = 0; i < IPV4; i++) {
        size_t end = find_char(s, '.');
        unsigned n;

        if ((end == s.len) != (i == IPV4 - 1) || !address_number(&n, part(s, 0, end), UINT8_MAX))
            return false;
        out[i] = (uint8_t)n;
        s = part(s, end == s.len ? end : end + 1, s.len);
    }
    return true;
}

/* One to four hexadecimal digits. */
static bool parse_group(uint8_t out[2], struct ws_str s)
{
    unsigned value = 0;

    if (s.len == 0 || s.len > 4)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        int digit = ws_hex_value(s.data[i]);

        if (digit < 0)
            return false;
        value = value << 4 | (unsigned)digit;
    }
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return true;
}

/* The groups between colons; the last one may be an IPv4 address. `*gap` is where "::" stands.
 * Returns the number of bytes, or -1. */
static int parse_groups(uint8_t out[IPV6], struct ws_str s, size_t *gap)
{
    size_t n = 0;

    *gap = NO_GAP;
    if (s.len >= 2 && s.data[0] == ':' && s.data[1] == ':') {
        *gap = 0;
        s = part(s, 2, s.len);
        if (s.len == 0)
            return 0;
    }
    for (;;) {
        size_t end = find_char(s, ':');
        struct ws_str group = part(s, 0, end);

        if (end == s.len && n + IPV4 <= IPV6 && parse_ipv4(out + n, group))
            return (int)n + IPV4;
        if (n + 2 > IPV6 || !parse_group(out + n, group))
            return -1;
        n += 2;
        if (end == s.len)
            return (int)n;
        s = part(s, end + 1, s.len);
        if (s.len > 0 && s.data[0] == ':') {
            if (*gap != NO_GAP)
                return -1;
            *gap = n;
            s = part(s, 1, s.len);
            if (s.len == 0)
                return (int)n;
        }
    }
}

static bool parse_ipv6(uint8_t out[IPV6], struct ws_str s)
{
    uint8_t groups[IPV6] = {0};
    size_t gap;
    int n = parse_groups(groups, s, &gap);
    size_t len = n < 0 ? 0 : (size_t)n;

    if (n < 0 || (gap == NO_GAP) != (len == IPV6))
        return false;
    memset(out, 0, IPV6);
    if (gap == NO_GAP)
        gap = len;
    memcpy(out, groups, gap);
    memcpy(out + IPV6 - (len - gap), groups + gap, len - gap);
    return true;
}

struct address address_from(const uint8_t *bytes, size_t len, uint16_t port)
{
    static const uint8_t mapped[IPV6 - IPV4] = {[10] = 0xff, [11] = 0xff};
    struct address a = {.port = port};

    if (len == IPV6 && memcmp(bytes, mapped, sizeof mapped) == 0) {
        bytes += sizeof mapped;
        len = IPV4;
    }
    memcpy(a.bytes, bytes, len);
    a.len = (uint8_t)len;
    return a;
}

/* An address without a port, brackets or a zone. */
static bool parse_bare(struct address *a, struct ws_str s, uint16_t port)
{
    uint8_t bytes[IPV6];
    bool v4 = parse_ipv4(bytes, s);

    if (!v4 && !parse_ipv6(bytes, s))
        return false;
    *a = address_from(bytes, v4 ? IPV4 : IPV6, port);
    return true;
}

/* Characters of a zone: RFC 6874 §2 allows no others without encoding. */
static bool is_zone(struct ws_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '.' || c == '-' || c == '_' || c == '~'))
            return false;
    }
    return s.len > 0;
}

static bool parse_with_zone(struct address *a, struct ws_str s, uint16_t port)
{
    size_t end = find_char(s, '%');
    uint8_t bytes[IPV6];

    if (end == s.len)
        return parse_bare(a, s, port);
    if (!is_zone(part(s, end + 1, s.len)) || !parse_ipv6(bytes, part(s, 0, end)))
        return false;
    *a = address_from(bytes, IPV6, port);
    return true;
}

/* ":80", or nothing. */
static bool parse_port_behind(uint16_t *port, struct ws_str s)
{
    unsigned n = 0;

    if (s.len > 0 && (s.data[0] != ':' || !address_number(&n, part(s, 1, s.len), UINT16_MAX)))
        return false;
    *port = (uint16_t)n;
    return true;
}

bool address_parse(struct address *a, struct ws_str text)
{
    bool brackets = text.len > 0 && text.data[0] == '[';
    size_t end = find_char(text, brackets ? ']' : ':');
    struct ws_str inside, behind;
    uint16_t port = 0;

    if (text.len == 0)
        return false;
    if (brackets && end < text.len) {
        inside = part(text, 1, end);
        behind = part(text, end + 1, text.len);
        /* IPv4 has no brackets, RFC 3986 §3.2.2 */
        return find_char(inside, ':') < inside.len && parse_port_behind(&port, behind) &&
               parse_with_zone(a, inside, port);
    }
    behind = part(text, end, text.len);
    if (behind.len > 0 && find_char(part(text, end + 1, text.len), ':') == behind.len - 1)
        return parse_port_behind(&port, behind) &&
               parse_bare(a, part(text, 0, end), port); /* one colon: IPv6 has two or more */
    return parse_with_zone(a, text, 0);
}

bool address_range_parse(struct address_range *range, struct ws_str text)
{
    size_t slash = find_char(text, '/');
    struct address_range r;
    bool mapped;

    if (slash == 0 || !parse_bare(&r.base, part(text, 0, slash), 0))
        return false;
    mapped = r.base.len == IPV4 && find_char(text, ':') < slash;
    r.bits = r.base.len * 8U;
    if (slash < text.len &&
        !address_number(&r.bits, part(text, slash + 1, text.len), mapped ? IPV6 * 8 : r.bits))
        return false;
    if (mapped && slash < text.len) { /* ::ffff:10.0.0.0/104 is 10.0.0.0/8 */
        if (r.bits < (IPV6 - IPV4) * 8)
            return false;
        r.bits -= (IPV6 - IPV4) * 8;
    }
    *range = r;
    return true;
}

bool address_is_in(const struct address *a, const struct address_range *range)
{
    size_t whole = range->bits / 8;
    unsigned rest = 8 - range->bits % 8; /* bits of the last byte that do not count */

    if (a->len != range->base.len || memcmp(a->bytes, range->base.bytes, whole) != 0)
        return false;
    return rest == 8 || (a->bytes[whole] ^ range->base.bytes[whole]) >> rest == 0;
}

bool address_is_in_any(const struct address *a, const struct address_range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (address_is_in(a, &ranges[i]))
            return true;
    return false;
}

bool address_is_same(const struct address *a, const struct address *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool address_is_loopback(const struct address *a)
{
    static const struct address one = {.bytes = {[15] = 1}, .len = IPV6};

    return (a->len == IPV4 && a->bytes[0] == 127) || address_is_same(a, &one);
}
