/* SPDX-License-Identifier: MIT
 *
 * The names that a server answers to; see http_host.h. conn_http.c refuses the others. */
#include "http_host.h"

#include <string.h>

#include "address.h"
#include "http.h"

bool http_host_cut_wildcard(struct ws_str *host)
{
    if (host->len < 2 || memcmp(host->data, "*.", 2) != 0)
        return false;
    *host = http_skip(*host, 2);
    return true;
}

bool http_host_is_below(struct ws_str host, struct ws_str domain)
{
    size_t dot = host.len - domain.len - 1;

    return host.len > domain.len + 1 && host.data[dot] == '.' &&
           http_same_nocase(http_skip(host, dot + 1), domain);
}

/* Without a dot at its end. */
static struct ws_str without_dot(struct ws_str name)
{
    if (name.len > 1 && name.data[name.len - 1] == '.')
        name.len--;
    return name;
}

/* The name or address in front of the port. */
static struct ws_str name_of(struct ws_str host)
{
    return without_dot((struct ws_str){host.data, http_host_length(host)});
}

bool http_host_is_local(struct ws_str host)
{
    struct ws_str name = name_of(host);
    struct address a;

    if (address_parse(&a, name))
        return address_is_loopback(&a);
    return http_is_nocase(name, "localhost") || http_host_is_below(name, ws_str("localhost"));
}

/* IPv6 has many ways to write one address. */
static bool is_same_host_name(struct ws_str a, struct ws_str b)
{
    struct address x, y;

    if (a.len > 0 && a.data[0] == '[' && address_parse(&x, a) && address_parse(&y, b))
        return address_is_same(&x, &y);
    return http_same_nocase(a, b);
}

bool http_host_is_listed(struct ws_str host, const char *const *hosts)
{
    struct ws_str name = name_of(host);

    for (; hosts != NULL && *hosts != NULL; hosts++) {
        struct ws_str item = without_dot(ws_str(*hosts));
        bool below = http_host_cut_wildcard(&item);

        if (ws_str_is(item, "*") ||
            (below ? http_host_is_below(name, item) : is_same_host_name(name, item)))
            return true;
    }
    return false;
}

const char *http_host_fault(struct ws_str item)
{
    bool below;
    struct address a;
    size_t len;

    if (ws_str_is(item, "*"))
        return NULL;
    below = http_host_cut_wildcard(&item);
    len = http_host_length(item);
    for (size_t i = 0; i < item.len; i++) {
        if ((unsigned char)item.data[i] > 0x7f)
            return "write the host as browsers send it, xn--...";
        if (item.data[i] == '*')
            return "a * stands alone, or for all names below one, as in *.example.org";
    }
    if (len == item.len && len > 0 && item.data[0] == '[')
        return below || !address_parse(&a, item) ? "not an IPv6 address" : NULL;
    if (address_parse(&a, item) && a.len == 16)
        return "write an IPv6 address in brackets, as in [::1]";
    if (len > 0 && len < item.len && item.data[len] == ':' &&
        memchr(item.data, '/', item.len) == NULL)
        return "a host without a port: it is ignored";
    return len == 0 || len < item.len ? "no host has such a name" : NULL;
}
