/* SPDX-License-Identifier: MIT
 *
 * The server's half of the opening handshake, RFC 6455 §4.2. conn_http.c calls it and sends the
 * answer. Left out: extensions (none is ever accepted, §9.1) and the uniqueness of offered
 * subprotocols (§4.1), which would need a set and protect against nothing. Pure. */
#include "http_upgrade.h"

#include <string.h>

#include "base64.h"
#include "http_host.h"
#include "sha1.h"

enum {
    HOST_MAX = 255,                          /* RFC 1035 §2.3.4 */
    KEY_SIZE = 16,                           /* bytes of the nonce, §4.1 */
    KEY_TEXT = BASE64_ENCODED_SIZE(KEY_SIZE) /* characters it is sent as */
};

bool http_upgrade_wanted(const struct http_request *r)
{
    return http_request_has_token(r, "Upgrade", "websocket");
}

static int fail_with(struct http_upgrade *u, int status, const char *why)
{
    u->why = why;
    u->advice = NULL;
    return status;
}

/* --- origin ----------------------------------------------------------------------------------- */

/* An origin of the web, RFC 6454 §4. */
struct web_origin {
    enum http_scheme scheme; /* never unknown */
    struct ws_str host;
    unsigned port; /* the scheme's own where none is written */
};

enum http_scheme http_scheme(struct ws_str name)
{
    if (http_is_nocase(name, "https") || http_is_nocase(name, "wss"))
        return HTTP_SCHEME_HTTPS;
    if (http_is_nocase(name, "http") || http_is_nocase(name, "ws"))
        return HTTP_SCHEME_HTTP;
    return HTTP_SCHEME_UNKNOWN;
}

static unsigned default_port(enum http_scheme scheme)
{
    return scheme == HTTP_SCHEME_HTTPS ? 443 : 80;
}

/* Cut "scheme://" off the front of `*s`. False, and nothing is cut, where there is none. */
static bool cut_scheme(struct ws_str *s, struct ws_str *scheme)
{
    static const char mark[] = "://";
    const char *colon = s->len > 0 ? memchr(s->data, ':', s->len) : NULL;
    size_t len = colon == NULL ? s->len : (size_t)(colon - s->data);

    if (s->len - len < sizeof mark - 1 || memcmp(s->data + len, mark, sizeof mark - 1) != 0)
        return false;
    *scheme = (struct ws_str){s->data, len};
    *s = http_skip(*s, len + sizeof mark - 1);
    return true;
}

/* What follows a host: nothing, which leaves `*port` as it is, or ':' and a port. */
static bool parse_port(struct ws_str s, unsigned *port)
{
    unsigned n = 0;

    if (s.len == 0)
        return true;
    if (s.data[0] != ':' || s.len < 2 || s.len > sizeof ":65535" - 1)
        return false;
    for (size_t i = 1; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        n = n * 10 + (unsigned)(s.data[i] - '0');
    }
    *port = n;
    return n <= UINT16_MAX;
}

/* host[:port] and nothing behind it, of an origin of this scheme. */
static bool parse_authority(struct web_origin *o, enum http_scheme scheme, struct ws_str s)
{
    size_t host_len = http_host_length(s);

    o->scheme = scheme;
    o->host = (struct ws_str){s.data, host_len};
    o->port = default_port(scheme);
    return host_len > 0 && host_len <= HOST_MAX && parse_port(http_skip(s, host_len), &o->port);
}

/* A proxy may drop the port of Host, as `proxy_set_header Host $host` of nginx does, so the port is
 * compared only where there is one. This also allows pages on other ports of the same host; cookies
 * do not distinguish ports either (RFC 6265 §8.5). */
static bool is_own_host(const struct web_origin *o, struct ws_str host)
{
    size_t name_len = http_host_length(host);
    struct ws_str port_text = http_skip(host, name_len);
    unsigned port = default_port(o->scheme); /* of "host:" as well, RFC 3986 §6.2.3 */

    if (!http_same_nocase(o->host, (struct ws_str){host.data, name_len}))
        return false;
    if (port_text.len == 0)
        return true;
    return (ws_str_is(port_text, ":") || parse_port(port_text, &port)) && o->port == port;
}

bool http_origin_is_own(struct ws_str origin, struct ws_str host, enum http_scheme scheme)
{
    struct ws_str name = {NULL, 0};
    enum http_scheme its;
    struct web_origin o;

    if (!cut_scheme(&origin, &name))
        return false; /* also "null", the origin of every sandboxed page, RFC 6454 §7.1 */
    its = http_scheme(name);
    return its != HTTP_SCHEME_UNKNOWN && (scheme == HTTP_SCHEME_UNKNOWN || scheme == its) &&
           parse_authority(&o, its, origin) && is_own_host(&o, host);
}

/* Cut the scheme of a page off the front of `*s`: http:// or https://, or unknown. */
static enum http_scheme cut_page_scheme(struct ws_str *s)
{
    struct ws_str rest = *s, name;

    if (!cut_scheme(&rest, &name) || name.len < sizeof "http" - 1) /* ws and wss are shorter */
        return HTTP_SCHEME_UNKNOWN;
    *s = rest;
    return http_scheme(name);
}

/* Does `origin` match the item of a list that has this scheme, and `item` behind it? */
static bool fits_page(struct ws_str origin, enum http_scheme scheme, struct ws_str item)
{
    enum http_scheme its = cut_page_scheme(&origin);
    bool below = http_host_cut_wildcard(&item);
    struct web_origin o, listed;

    return its == scheme && parse_authority(&o, its, origin) &&
           parse_authority(&listed, scheme, item) && o.port == listed.port &&
           (below ? http_host_is_below(o.host, listed.host)
                  : http_same_nocase(o.host, listed.host));
}

static bool fits(struct ws_str origin, struct ws_str item)
{
    struct ws_str rest = item;
    enum http_scheme scheme;

    if (ws_str_is(item, "*"))
        return true;
    if (origin.data == NULL)
        return false;
    scheme = cut_page_scheme(&rest);
    return scheme != HTTP_SCHEME_UNKNOWN ? fits_page(origin, scheme, rest)
                                         : http_same_nocase(origin, item);
}

bool http_origin_is_listed(struct ws_str origin, const char *const *origins)
{
    for (; origins != NULL && *origins != NULL; origins++)
        if (fits(origin, ws_str(*origins)))
            return true;
    return false;
}

static bool has(struct ws_str s, char c)
{
    return s.len > 0 && memchr(s.data, c, s.len) != NULL;
}

static const char stray_star[] =
    "a * stands alone, or for all hosts below one, as in https://*.example.org";

/* The fault of the text behind http:// or https://. */
static const char *page_fault(struct ws_str s)
{
    bool below = http_host_cut_wildcard(&s);
    size_t host_len = http_host_length(s);
    struct ws_str behind = http_skip(s, host_len);
    unsigned port;

    if (has(s, '*'))
        return stray_star;
    if (has(s, '/') || has(s, '?') || has(s, '#') || has(s, '@'))
        return "an origin is scheme, host and port: no user, path, query or fragment";
    if (s.len == 0 || s.data[0] == ':')
        return "no host";
    if (host_len == 0 || host_len > HOST_MAX || (behind.len > 0 && behind.data[0] != ':') ||
        (below && s.data[0] == '['))
        return "no host has such a name";
    return parse_port(behind, &port) ? NULL : "not a port from 0 to 65535";
}

const char *http_origin_fault(struct ws_str item)
{
    struct ws_str rest = item;

    for (size_t i = 0; i < item.len; i++) {
        unsigned char c = (unsigned char)item.data[i];

        if (c > 0x7f)
            return "write the host as browsers send it, xn--...";
        if (c == ' ' || c == ',')
            return "one origin at a time, without spaces and commas";
        if (c < ' ' || c == 0x7f)
            return "a control character";
    }
    if (ws_str_is(item, "*"))
        return NULL;
    if (cut_page_scheme(&rest) != HTTP_SCHEME_UNKNOWN)
        return page_fault(rest);
    if (http_host_cut_wildcard(&rest))
        return "write the scheme, too, as in https://*.example.org";
    return has(item, '*') ? stray_star : NULL;
}

/* The scheme in the last member of X-Forwarded-Proto, or proto in Forwarded, RFC 7239 §5.4: from
 * the proxy that connects to this server. It is safe to trust. A page cannot write a field of a
 * handshake, so it comes from a proxy or from a client that is no browser, which could write any
 * Origin as well. And it only restricts pages: while the scheme is unknown, both match. */
static enum http_scheme forwarded_scheme(const struct http_request *r)
{
    struct ws_str proto = http_request_last_member(r, "X-Forwarded-Proto");

    if (proto.data == NULL)
        proto = http_member_parameter(http_request_last_member(r, "Forwarded"), "proto");
    return http_scheme(proto);
}

static int refuse_origin(struct http_upgrade *u, const char *why, const char *advice)
{
    u->why = why;
    u->advice = advice;
    return 403;
}

/* RFC 6455 §10.2. Without Origin the client is no browser, so it cannot abuse a user's cookies. */
static int check_origin(const struct http_request *r, const struct http_upgrade_policy *policy,
                        struct http_upgrade *u)
{
    size_t count;
    struct ws_str origin = http_request_field(r, "Origin", &count);
    enum http_scheme scheme = policy->scheme;

    if (count > 1)
        return fail_with(u, 400, "more than one Origin field");
    if (count == 0 || http_origin_is_listed(origin, policy->origins))
        return 0;
    if (policy->local_files && http_is_nocase(origin, "file://"))
        return 0;
    if (scheme == HTTP_SCHEME_UNKNOWN)
        scheme = forwarded_scheme(r);
    if (http_origin_is_own(origin, r->host, scheme))
        return 0;
    if (policy->allow_origin != NULL && policy->allow_origin(policy->allow_origin_arg, origin))
        return 0;
    if (has(origin, '*') || http_origin_fault(origin) != NULL)
        return refuse_origin(u, "origin is not this host, and none that can be allowed", NULL);
    if (http_origin_is_own(origin, r->host, HTTP_SCHEME_UNKNOWN))
        return refuse_origin(u, "origin has another scheme than this host",
                             "by ws_options.scheme or X-Forwarded-Proto; ws_options.origins would "
                             "allow it");
    return refuse_origin(u, "origin is not this host", "ws_options.origins would allow it");
}

/* --- subprotocol ------------------------------------------------------------------------------ */

static const char protocol_field[] = "Sec-WebSocket-Protocol";

bool http_upgrade_offers(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->field_count; i++) {
        struct ws_str rest = r->fields[i].value, member;

        if (!http_is_nocase(r->fields[i].name, protocol_field))
            continue;
        while (http_list_next(&rest, &member))
            if (ws_str_is(member, name))
                return true;
    }
    return false;
}

/* §4.1: when the field is there, it lists one token or more. */
static bool offers_are_well_formed(const struct http_request *r)
{
    size_t fields = 0, members = 0;

    for (size_t i = 0; i < r->field_count; i++) {
        struct ws_str rest = r->fields[i].value, member;

        if (!http_is_nocase(r->fields[i].name, protocol_field))
            continue;
        fields++;
        for (; http_list_next(&rest, &member); members++)
            if (!http_is_token(member))
                return false;
    }
    return fields == 0 || members > 0;
}

/* The server's order decides, §4.2.2 item 5. It is no error when none is in common: then there is
 * no subprotocol. */
static int choose_subprotocol(const struct http_request *r, const char *const *ours,
                              struct http_upgrade *u)
{
    if (!offers_are_well_formed(r))
        return fail_with(u, 400, "malformed Sec-WebSocket-Protocol");
    for (; ours != NULL && *ours != NULL; ours++) {
        if (!http_upgrade_offers(r, *ours))
            continue;
        u->subprotocol = *ours;
        break;
    }
    return 0;
}

/* --- the handshake ---------------------------------------------------------------------------- */

/* §4.2.1 items 1, 3 and 4, and no body: its bytes would be parsed as frames. */
static int check_request(const struct http_request *r, struct http_upgrade *u)
{
    if (!ws_str_is(r->method, "GET"))
        return fail_with(u, 405, "a WebSocket begins with GET");
    if (r->minor < 1)
        return fail_with(u, 400, "a WebSocket needs HTTP/1.1");
    if (!http_upgrade_wanted(r))
        return fail_with(u, 400, "Upgrade does not list websocket");
    if (!http_request_has_token(r, "Connection", "upgrade"))
        return fail_with(u, 400, "Connection does not list upgrade");
    if (r->framing == HTTP_BODY_CHUNKED || r->content_length != 0)
        return fail_with(u, 400, "an opening handshake has no body");
    return 0;
}

/* §4.2.1 item 6, §4.4. */
static int check_version(const struct http_request *r, struct http_upgrade *u)
{
    size_t count;
    struct ws_str version = http_request_field(r, "Sec-WebSocket-Version", &count);

    if (count == 0)
        return fail_with(u, 400, "no Sec-WebSocket-Version");
    if (count > 1) /* §11.3.5 */
        return fail_with(u, 400, "more than one Sec-WebSocket-Version field");
    if (!ws_str_is(version, "13"))
        return fail_with(u, 426, "Sec-WebSocket-Version is not 13");
    return 0;
}

/* §4.2.2 item 5.4: SHA-1 of the key as it was sent and a GUID that no other protocol uses. */
static void write_accept(char out[HTTP_UPGRADE_ACCEPT_SIZE], const char key[KEY_TEXT])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[KEY_TEXT + sizeof guid - 1];
    uint8_t digest[SHA1_SIZE];

    memcpy(text, key, KEY_TEXT);
    memcpy(text + KEY_TEXT, guid, sizeof guid - 1);
    sha1(digest, text, sizeof text);
    base64_encode(out, digest, sizeof digest);
}

/* §4.2.1 item 5. */
static int check_key(const struct http_request *r, struct http_upgrade *u)
{
    uint8_t nonce[KEY_TEXT / 4 * 3];
    size_t count;
    struct ws_str key = http_request_field(r, "Sec-WebSocket-Key", &count);

    if (count == 0)
        return fail_with(u, 400, "no Sec-WebSocket-Key");
    if (count > 1)
        return fail_with(u, 400, "more than one Sec-WebSocket-Key field");
    if (key.len != KEY_TEXT || base64_decode(nonce, key.data, key.len) != KEY_SIZE)
        return fail_with(u, 400, "Sec-WebSocket-Key is not 16 bytes in base64");
    write_accept(u->accept, key.data);
    return 0;
}

int http_upgrade_check(const struct http_request *r, const struct http_upgrade_policy *policy,
                       struct http_upgrade *u)
{
    int status;

    memset(u, 0, sizeof *u);
    status = check_request(r, u);
    if (status == 0)
        status = check_version(r, u);
    if (status == 0)
        status = check_key(r, u);
    if (status == 0)
        status = check_origin(r, policy, u);
    if (status == 0)
        status = choose_subprotocol(r, policy->subprotocols, u);
    return status == 0 ? 101 : status;
}
