/* SPDX-License-Identifier: MIT
 *
 * The PROXY protocol; see proxy_protocol.h. Section numbers are those of proxy-protocol.txt. */
#include "proxy_protocol.h"

#include <string.h>

static const uint8_t signature[12] = {'\r', '\n', '\r', '\n', '\0', '\r',
                                      '\n', 'Q',  'U',  'I',  'T',  '\n'};
static const uint8_t line_start[6] = {'P', 'R', 'O', 'X', 'Y', ' '};

enum {
    MALFORMED = -400,
    FIXED = 16,        /* bytes of version 2 in front of the addresses */
    COMMAND_LOCAL = 0, /* the proxy itself connects */
    COMMAND_PROXY = 1,
    TCP_OVER_IPV4 = 0x11,
    TCP_OVER_IPV6 = 0x21
};

static bool begins_with(const uint8_t *data, size_t len, const uint8_t *text, size_t text_len)
{
    return memcmp(data, text, len < text_len ? len : text_len) == 0;
}

/* --- version 1: a line of text, §2.1 ---------------------------------------------------------- */

/* The next word; one space stands between two words. False at the end. */
static bool next_word(struct ws_str *line, struct ws_str *word)
{
    size_t n = 0;

    if (line->data == NULL)
        return false;
    while (n < line->len && line->data[n] != ' ')
        n++;
    *word = (struct ws_str){line->data, n};
    *line = n < line->len ? (struct ws_str){line->data + n + 1, line->len - n - 1}
                          : (struct ws_str){NULL, 0};
    return true;
}

/* An address as inet_ntop() writes it, of this family. */
static bool next_address(struct ws_str *line, bool v6, struct address *a)
{
    struct address_range range;
    struct ws_str word;

    if (!next_word(line, &word) || word.len == 0 || memchr(word.data, '/', word.len) != NULL ||
        (memchr(word.data, ':', word.len) != NULL) != v6 || !address_range_parse(&range, word))
        return false;
    *a = range.base;
    return true;
}

static bool next_port(struct ws_str *line, uint16_t *port)
{
    struct ws_str word;
    unsigned n;

    if (!next_word(line, &word) || !address_number(&n, word, UINT16_MAX))
        return false;
    *port = (uint16_t)n;
    return true;
}

/* What stands behind "PROXY ". */
static bool read_line(struct address *client, struct ws_str line)
{
    struct address destination;
    struct ws_str protocol = {NULL, 0};
    uint16_t port;
    bool v6;

    next_word(&line, &protocol); /* the first one is always there, though it may be empty */
    if (ws_str_is(protocol, "UNKNOWN"))
        return true; /* whatever follows */
    v6 = ws_str_is(protocol, "TCP6");
    return (v6 || ws_str_is(protocol, "TCP4")) && next_address(&line, v6, client) &&
           next_address(&line, v6, &destination) && next_port(&line, &client->port) &&
           next_port(&line, &port) && line.data == NULL;
}

static int parse_version_1(struct proxy_protocol *p, const uint8_t *data, size_t len)
{
    size_t at = sizeof line_start;
    struct address client = {0};

    while (at < len && at < PROXY_PROTOCOL_MAX && data[at] >= ' ' && data[at] <= '~')
        at++;
    if (at + 1 >= PROXY_PROTOCOL_MAX || (at < len && data[at] != '\r') ||
        (at + 1 < len && data[at + 1] != '\n'))
        return MALFORMED;
    if (at + 1 >= len)
        return PROXY_PROTOCOL_NEED_MORE;
    if (!read_line(&client,
                   (struct ws_str){(const char *)data + sizeof line_start, at - sizeof line_start}))
        return MALFORMED;
    *p = (struct proxy_protocol){.client = client};
    return (int)at + 2;
}

/* --- version 2: binary, §2.2 ------------------------------------------------------------------ */

/* Values that are not assigned must be refused; those for which there is no address here are legal.
 */
static bool is_assigned(uint8_t family)
{
    return family == 0 ||
           (family >> 4 >= 1 && family >> 4 <= 3 && (family & 15) >= 1 && (family & 15) <= 2);
}

static int take_addresses(struct proxy_protocol *p, const uint8_t *data, size_t len, size_t size,
                          uint32_t announced)
{
    size_t all = 2 * size + 4; /* source, destination, and their ports */
    const uint8_t *port = data + FIXED + 2 * size;

    if (announced < all)
        return MALFORMED;
    if (len < FIXED + all)
        return PROXY_PROTOCOL_NEED_MORE;
    p->client = address_from(data + FIXED, size, (uint16_t)(port[0] << 8 | port[1]));
    p->skip = announced - (uint32_t)all;
    return (int)(FIXED + all);
}

static int parse_version_2(struct proxy_protocol *p, const uint8_t *data, size_t len)
{
    uint32_t announced;

    if (len > 12 && (data[12] >> 4 != 2 || (data[12] & 15) > COMMAND_PROXY))
        return MALFORMED;
    if (len > 13 && (data[12] & 15) == COMMAND_PROXY && !is_assigned(data[13]))
        return MALFORMED;
    if (len < FIXED)
        return PROXY_PROTOCOL_NEED_MORE;
    announced = (uint32_t)data[14] << 8 | data[15];
    if ((data[12] & 15) == COMMAND_PROXY && data[13] == TCP_OVER_IPV4)
        return take_addresses(p, data, len, 4, announced);
    if ((data[12] & 15) == COMMAND_PROXY && data[13] == TCP_OVER_IPV6)
        return take_addresses(p, data, len, 16, announced);
    *p = (struct proxy_protocol){.skip = announced};
    return FIXED;
}

int proxy_protocol_parse(struct proxy_protocol *p, const uint8_t *data, size_t len)
{
    if (len == 0)
        return PROXY_PROTOCOL_NEED_MORE;
    if (begins_with(data, len, signature, sizeof signature))
        return parse_version_2(p, data, len);
    if (!begins_with(data, len, line_start, sizeof line_start))
        return MALFORMED;
    return len < sizeof line_start ? PROXY_PROTOCOL_NEED_MORE : parse_version_1(p, data, len);
}

size_t proxy_protocol_write(uint8_t out[PROXY_PROTOCOL_WRITTEN_MAX], const struct address *client)
{
    size_t size = client->len;
    size_t all = size == 0 ? 0 : 2 * size + 4;

    memset(out, 0, PROXY_PROTOCOL_WRITTEN_MAX);
    memcpy(out, signature, sizeof signature);
    out[12] = size == 0 ? 2 << 4 | COMMAND_LOCAL : 2 << 4 | COMMAND_PROXY;
    out[13] = size == 0 ? 0 : size == 4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6;
    out[15] = (uint8_t)all;
    if (size == 0)
        return FIXED;
    memcpy(out + FIXED, client->bytes, size);
    out[FIXED + 2 * size] = (uint8_t)(client->port >> 8);
    out[FIXED + 2 * size + 1] = (uint8_t)client->port;
    return FIXED + all;
}
