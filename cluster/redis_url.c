/* SPDX-License-Identifier: MIT
 *
 * URLs of a Redis; see redis_url.h. RFC 3986 */
#include "redis_url.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../ws_str.h"

static const char tcp_scheme[] = "redis://";
static const char unix_scheme[] = "redis+unix://";
static const char tls_scheme[] = "rediss://";

static bool begins_with(const char *text, const char *beginning)
{
    return strncasecmp(text, beginning, strlen(beginning)) == 0;
}

/* Percent-decode `text[0..len)` into `out` of `size` bytes, with a NUL. Returns NULL or a fault. */
static const char *decode(char *out, size_t size, const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (n + 1 == size)
            return "a part of it is too long";
        if (c == '%') {
            int high = i + 2 < len ? ws_hex_value(text[i + 1]) : -1;
            int low = high < 0 ? -1 : ws_hex_value(text[i + 2]);

            if (low < 0 || high + low == 0)
                return "a % that no two hexadecimal digits follow, or %00";
            c = (char)(high * 16 + low);
            i += 2;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return NULL;
}

/* [user]:password@ */
static const char *parse_login(struct redis_url *url, const char *text, size_t len)
{
    const char *colon = memchr(text, ':', len);
    const char *fault;
    size_t user;

    if (colon == NULL)
        return "a login without ':', which is written as :PASSWORD@ or USER:PASSWORD@";
    user = (size_t)(colon - text);
    fault = decode(url->user, sizeof url->user, text, user);
    if (fault == NULL)
        fault = decode(url->password, sizeof url->password, colon + 1, len - user - 1);
    if (user == 0)
        strcpy(url->user, "default");
    url->has_login = true;
    return fault;
}

/* Digits of at most `max` and nothing else. */
static bool parse_number(const char *text, size_t len, unsigned long max, unsigned long *n)
{
    *n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *n = *n * 10 + (unsigned long)(text[i] - '0');
        if (*n > max)
            return false;
    }
    return len != 0;
}

/* :port, or nothing */
static const char *parse_port(struct redis_url *url, const char *text, size_t len)
{
    unsigned long port = 6379;

    if (len != 0 &&
        (text[0] != ':' || !parse_number(text + 1, len - 1, UINT16_MAX, &port) || port == 0))
        return "not a port from 1 to 65535 behind the host";
    url->port = (uint16_t)port;
    return NULL;
}

/* host[:port] */
static const char *parse_address(struct redis_url *url, const char *text, size_t len)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "-._";
    bool is_ipv6 = len != 0 && text[0] == '[';
    const char *end = is_ipv6 ? memchr(text, ']', len) : memchr(text, ':', len);
    size_t host = end == NULL ? len : (size_t)(end - text);
    const char *fault;

    if (is_ipv6 && end == NULL)
        return "a '[' without ']'";
    if (host - is_ipv6 == 0)
        return "no host";
    if (host - is_ipv6 >= sizeof url->host)
        return "a host that is too long";
    snprintf(url->host, sizeof url->host, "%.*s", (int)(host - is_ipv6), text + is_ipv6);
    if (url->host[strspn(url->host, is_ipv6 ? "0123456789abcdefABCDEF:.%" : allowed)] != '\0')
        return is_ipv6 ? "not an IPv6 address in brackets"
                       : "a host with other characters than "
                         "letters, digits, '-', '.' and '_'";
    fault = parse_port(url, text + host + is_ipv6, len - host - is_ipv6);
    snprintf(url->shown, sizeof url->shown, is_ipv6 ? "[%s]:%u" : "%s:%u", url->host,
             (unsigned)url->port);
    return fault;
}

/* host[:port][/db] */
static const char *parse_tcp(struct redis_url *url, const char *text)
{
    size_t len = strcspn(text, "/?#");
    const char *fault = parse_address(url, text, len);
    unsigned long db;

    if (fault != NULL)
        return fault;
    if (text[len] == '/')
        len++;
    if (text[len] != '\0' && !parse_number(text + len, strlen(text + len), 1000000, &db))
        return "not the number of a database behind the '/'";
    return NULL;
}

static const char *parse_unix(struct redis_url *url, const char *text)
{
    const char *fault = decode(url->path, sizeof url->path, text, strlen(text));

    if (fault != NULL)
        return fault;
    if (url->path[0] == '\0')
        return "no path";
    snprintf(url->shown, sizeof url->shown, "unix:%s", url->path);
    return NULL;
}

/* Behind the scheme: a login ends with the last '@' in front of the path. */
static const char *behind_login(const char *text)
{
    const char *end = text + strcspn(text, "/?#");

    for (const char *at = end; at > text; at--) {
        if (at[-1] == '@')
            return at;
    }
    return text;
}

static const char *behind_scheme(const char *text)
{
    const char *colon = strstr(text, "://");

    return colon == NULL ? text : colon + 3;
}

/* A password may have a '/' in it, which it should not: so all up to the last '@' is left out. */
const char *redis_url_shown(const char *text)
{
    const char *at = strrchr(text, '@');

    return at == NULL ? behind_scheme(text) : at + 1;
}

const char *redis_url_parse(struct redis_url *url, const char *text)
{
    bool is_unix = begins_with(text, unix_scheme);
    const char *fault = NULL;
    const char *login = behind_scheme(text);
    const char *rest = behind_login(login);

    *url = (struct redis_url){.port = 0};
    if (begins_with(text, tls_scheme))
        return "TLS is not supported: put a proxy for it in front of the Redis, such as stunnel";
    if (!is_unix && !begins_with(text, tcp_scheme))
        return "does not begin with redis:// or redis+unix://";
    if (rest != login)
        fault = parse_login(url, login, (size_t)(rest - login) - 1);
    if (fault != NULL)
        return fault;
    return is_unix ? parse_unix(url, rest) : parse_tcp(url, rest);
}
