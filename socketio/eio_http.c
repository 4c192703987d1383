/* SPDX-License-Identifier: MIT
 *
 * Requests and responses of Engine.IO. The headers are those of the reference: its clients and test
 * suites check them. */
#define _GNU_SOURCE 1 /* for memmem(), which -std=c11 hides */
#include "eio_http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    HEADERS_MAX = 12,
    MAX_AGE_SIZE = 16,
    ERROR_BODY_SIZE = 6 * EIO_REFUSAL_MAX + 64 /* each byte may become \u00xx */
};

/* --- requests --------------------------------------------------------------------------------- */

bool eio_query_next(struct ws_str *rest, struct ws_str *name, struct ws_str *value)
{
    while (rest->len > 0) {
        const char *end = memchr(rest->data, '&', rest->len);
        size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
        const char *equals = memchr(rest->data, '=', len);
        size_t name_len = equals == NULL ? len : (size_t)(equals - rest->data);
        size_t value_at = equals == NULL ? len : name_len + 1;

        *name = (struct ws_str){rest->data, name_len};
        *value = (struct ws_str){rest->data + value_at, len - value_at};
        rest->data += end == NULL ? len : len + 1;
        rest->len -= end == NULL ? len : len + 1;
        if (len > 0)
            return true;
    }
    return false;
}

size_t eio_query_decode(char *out, size_t size, struct ws_str raw)
{
    size_t n = 0;

    for (size_t i = 0; i < raw.len; i++, n++) {
        char c = raw.data[i] == '+' ? ' ' : raw.data[i];

        if (c == '%' && raw.len - i > 2 && ws_hex_value(raw.data[i + 1]) >= 0 &&
            ws_hex_value(raw.data[i + 2]) >= 0) {
            c = (char)(ws_hex_value(raw.data[i + 1]) * 16 + ws_hex_value(raw.data[i + 2]));
            i += 2;
        }
        if (n < size)
            out[n] = c;
    }
    return n;
}

ptrdiff_t eio_query_get(struct ws_str query, const char *name, char *out, size_t size)
{
    struct ws_str raw_name;
    struct ws_str value;
    ptrdiff_t len = -1;

    while (eio_query_next(&query, &raw_name, &value)) {
        char decoded[32];
        size_t name_len = eio_query_decode(decoded, sizeof decoded, raw_name);

        if (name_len > sizeof decoded || !ws_str_is((struct ws_str){decoded, name_len}, name))
            continue;
        len = (ptrdiff_t)eio_query_decode(out, size - 1, value);
        out[(size_t)len < size - 1 ? (size_t)len : size - 1] = '\0';
    }
    return len;
}

static enum eio_method read_method(const struct ws_request *req)
{
    struct ws_str method = ws_request_method(req);

    if (ws_str_is(method, "GET"))
        return EIO_GET;
    if (ws_str_is(method, "POST"))
        return EIO_POST;
    return ws_str_is(method, "OPTIONS") ? EIO_OPTIONS : EIO_OTHER_METHOD;
}

/* Is the value `text`, once it is decoded? The lengths are compared, too: a NUL does not end the
 * value. */
static bool value_is(struct ws_str raw, const char *text)
{
    char value[16];
    size_t len = eio_query_decode(value, sizeof value, raw);

    return len <= sizeof value && ws_str_is((struct ws_str){value, len}, text);
}

static unsigned read_transport(struct ws_str value)
{
    if (value_is(value, "polling"))
        return EIO_POLLING;
    return value_is(value, "websocket") ? (unsigned)EIO_WEBSOCKET : 0;
}

static void read_sid(struct eio_request *r, struct ws_str value)
{
    size_t len = eio_query_decode(r->sid, EIO_ID_LEN, value);

    r->has_sid = len != 0;
    r->sid[len == EIO_ID_LEN ? len : 0] = '\0';
    if (strlen(r->sid) != EIO_ID_LEN)
        r->sid[0] = '\0';
}

/* Of two parameters of one name the later one counts. */
static void read_parameter(struct eio_request *r, struct ws_str raw_name, struct ws_str value)
{
    char text[16];
    struct ws_str name = {text, eio_query_decode(text, sizeof text, raw_name)};

    if (name.len > sizeof text)
        return;
    if (ws_str_is(name, "transport"))
        r->transport = read_transport(value);
    else if (ws_str_is(name, "EIO"))
        r->protocol_4 = value_is(value, "4");
    else if (ws_str_is(name, "sid"))
        read_sid(r, value);
    else if (ws_str_is(name, "b64"))
        r->no_binary = value.len != 0;
}

void eio_request_read(struct eio_request *r, const struct ws_request *req)
{
    struct ws_str rest = ws_request_query(req);
    struct ws_str name;
    struct ws_str value;

    *r = (struct eio_request){.method = read_method(req)};
    while (eio_query_next(&rest, &name, &value))
        read_parameter(r, name, value);
}

/* --- headers ---------------------------------------------------------------------------------- */

struct headers {
    struct ws_header list[HEADERS_MAX];
    size_t count;
    char max_age[MAX_AGE_SIZE];
};

static void add(struct headers *h, const char *name, struct ws_str value)
{
    h->list[h->count++] = (struct ws_header){ws_str(name), value};
}

bool eio_has_cors(const struct eio_options *o)
{
    return o->origins != NULL || o->allow_origin != NULL;
}

static bool is_allowed(const struct eio_options *o, struct ws_str origin)
{
    return ws_origin_allowed(origin, o->origins) ||
           (origin.data != NULL && o->allow_origin != NULL &&
            o->allow_origin(o->allow_origin_arg, origin));
}

/* The value of Access-Control-Allow-Origin: "*" where any origin is allowed, else the request's own
 * Origin unchanged, since browsers compare it as text. If an item of the options is the same text,
 * that is used: it outlives the request. */
static void allow_origin(struct eio_asker *a, const struct eio_options *o, struct ws_str origin)
{
    const char *const *item = o->origins;
    bool any = ws_origin_allowed((struct ws_str){NULL, 0}, o->origins);
    bool listed;

    if (!any && !is_allowed(o, origin))
        return;
    while (item != NULL && *item != NULL && !ws_str_is(any ? ws_str("*") : origin, *item))
        item++;
    listed = item != NULL && *item != NULL;
    a->origin = listed ? *item : origin.data;
    a->origin_len = (uint16_t)(any ? 1 : origin.len); /* a head has 16 KiB */
    a->origin_in = listed ? EIO_ORIGIN_CONSTANT : EIO_ORIGIN_REQUEST;
}

static bool contains(struct ws_str text, const char *part)
{
    return text.len != 0 && memmem(text.data, text.len, part, strlen(part)) != NULL;
}

struct eio_asker eio_asker(const struct eio_options *o, struct ws_conn *c,
                           const struct ws_request *req)
{
    struct ws_str agent = ws_request_header(req, "User-Agent");
    struct eio_asker a = {.conn = c,
                          .old_browser = contains(agent, ";MSIE") || contains(agent, "Trident/")};

    allow_origin(&a, o, ws_request_header(req, "Origin"));
    return a;
}

/* The copy is short: an origin that is listed is as long as its item, or has a host of 255
 * characters at most; one that the application allows may have a whole head. It is counted all the
 * same, since clients decide how many copies there are. */
void eio_asker_keep(struct eio_asker *a, struct ws_account *account)
{
    char *copy;

    if (a->origin_in != EIO_ORIGIN_REQUEST)
        return;
    copy = ws_account_take(account, a->origin_len);
    if (copy != NULL)
        memcpy(copy, a->origin, a->origin_len);
    a->origin = copy;
    a->origin_len = copy != NULL ? a->origin_len : 0;
    a->origin_in = copy != NULL ? EIO_ORIGIN_OWN : EIO_ORIGIN_CONSTANT;
}

void eio_asker_release(struct eio_asker *a, struct ws_account *account)
{
    if (a->origin_in == EIO_ORIGIN_OWN)
        ws_account_give(account, (char *)a->origin, a->origin_len);
    *a = (struct eio_asker){.conn = NULL};
}

/* The CORS headers of every response, where CORS is on. A response that depends on the Origin has
 * "Vary: Origin" for caches, also when this Origin is not allowed. */
static void add_cors(struct headers *h, const struct eio_options *o, const struct eio_asker *to)
{
    struct ws_str origin = {to->origin, to->origin_len};

    if (!eio_has_cors(o))
        return;
    if (origin.data != NULL)
        add(h, "Access-Control-Allow-Origin", origin);
    if (!ws_str_is(origin, "*"))
        add(h, "Vary", ws_str("Origin"));
    if (o->cors_credentials)
        add(h, "Access-Control-Allow-Credentials", ws_str("true"));
    if (o->cors_exposed_headers != NULL)
        add(h, "Access-Control-Expose-Headers", ws_str(o->cors_exposed_headers));
}

static void add_common(struct headers *h, const struct eio_options *o, const struct eio_asker *to)
{
    add(h, "Cache-Control", ws_str("no-store"));
    if (to->old_browser)
        add(h, "X-XSS-Protection", ws_str("0"));
    add_cors(h, o, to);
}

/* If a header is not legal (one of the application, or too many bytes), the client gets 500: it
 * must not wait in vain. */
static int respond(const struct eio_asker *to, int status, const struct headers *h,
                   const struct ws_str *body, size_t pieces)
{
    int result = ws_respond_pieces(to->conn, status, h->list, h->count, body, pieces);

    return result == WS_ERR_INVALID ? ws_respond(to->conn, 500, NULL, 0, NULL, 0) : result;
}

/* --- answers ---------------------------------------------------------------------------------- */

static const char *content_type(enum eio_body type)
{
    switch (type) {
    case EIO_BODY_TEXT:
        return "text/plain; charset=UTF-8";
    case EIO_BODY_HTML:
        return "text/html";
    case EIO_BODY_JSON:
        return "application/json";
    case EIO_BODY_NONE:
        break;
    }
    return NULL;
}

static int reply(const struct eio_options *o, const struct eio_asker *to, int status,
                 enum eio_body type, const struct ws_str *body, size_t pieces,
                 const struct ws_header *extra)
{
    const char *content = content_type(type);
    struct headers h = {.count = 0};

    if (content != NULL)
        add(&h, "Content-Type", ws_str(content));
    add_common(&h, o, to);
    if (extra != NULL)
        h.list[h.count++] = *extra;
    return respond(to, status, &h, body, pieces);
}

int eio_reply(const struct eio_options *o, const struct eio_asker *to, int status,
              enum eio_body type, const void *body, size_t len, const struct ws_header *extra)
{
    struct ws_str whole = {body, len};

    return reply(o, to, status, type, &whole, 1, extra);
}

int eio_reply_pieces(const struct eio_options *o, const struct eio_asker *to, int status,
                     enum eio_body type, const struct ws_str *body, size_t pieces)
{
    return reply(o, to, status, type, body, pieces, NULL);
}

const char *eio_error_message(enum eio_error error)
{
    switch (error) {
    case EIO_UNKNOWN_TRANSPORT:
        return "Transport unknown";
    case EIO_UNKNOWN_SID:
        return "Session ID unknown";
    case EIO_BAD_METHOD:
        return "Bad handshake method";
    case EIO_FORBIDDEN:
        return "Forbidden";
    case EIO_UNSUPPORTED_PROTOCOL:
        return "Unsupported protocol version";
    case EIO_BAD_REQUEST:
    case EIO_OK:
        break;
    }
    return "Bad request";
}

/* An application's text replaces the message, unless it is empty. */
static const char *message_of(enum eio_error error, const char *text)
{
    return error == EIO_FORBIDDEN && text != NULL && text[0] != '\0' ? text
                                                                     : eio_error_message(error);
}

size_t eio_refusal_len(const char *text)
{
    size_t len = strnlen(text, EIO_REFUSAL_MAX + 1);

    if (len <= EIO_REFUSAL_MAX)
        return len;
    len = EIO_REFUSAL_MAX;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

/* `text` inside a JSON string, cut to EIO_REFUSAL_MAX. Returns its length. */
static size_t escape_json(char *out, const char *text)
{
    size_t len = eio_refusal_len(text);
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20) {
            n += (size_t)sprintf(out + n, "\\u%04x", c);
            continue;
        }
        if (c == '"' || c == '\\')
            out[n++] = '\\';
        out[n++] = (char)c;
    }
    return n;
}

int eio_reply_error(const struct eio_options *o, const struct eio_asker *to, enum eio_error error,
                    const char *text)
{
    char body[ERROR_BODY_SIZE];
    size_t len = (size_t)sprintf(body, "{\"code\":%d,\"message\":\"", (int)error);

    len += escape_json(body + len, message_of(error, text));
    body[len++] = '"';
    body[len++] = '}';
    return eio_reply(o, to, error == EIO_FORBIDDEN ? 403 : 400, EIO_BODY_JSON, body, len, NULL);
}

int eio_reply_preflight(const struct eio_options *o, const struct eio_asker *to,
                        const struct ws_request *req)
{
    struct ws_str asked = ws_request_header(req, "Access-Control-Request-Headers");
    struct headers h = {.count = 0};

    add_cors(&h, o, to);
    add(&h, "Access-Control-Allow-Methods",
        ws_str(o->cors_methods != NULL ? o->cors_methods : "GET,HEAD,PUT,PATCH,POST,DELETE"));
    if (o->cors_headers != NULL) {
        add(&h, "Access-Control-Allow-Headers", ws_str(o->cors_headers));
    } else {
        add(&h, "Vary", ws_str("Access-Control-Request-Headers"));
        if (asked.len != 0)
            add(&h, "Access-Control-Allow-Headers", asked);
    }
    if (o->cors_max_age_s != 0) {
        snprintf(h.max_age, sizeof h.max_age, "%u", o->cors_max_age_s);
        add(&h, "Access-Control-Max-Age", ws_str(h.max_age));
    }
    return respond(to, 204, &h, NULL, 0);
}

int eio_refuse_upgrade(const struct eio_options *o, const struct eio_asker *to,
                       enum eio_error error, const char *text)
{
    const char *message = message_of(error, text);

    return eio_reply(o, to, 400, EIO_BODY_HTML, message, strlen(message), NULL);
}

/* The first member of a list, or an empty one. Empty members do not count, RFC 9110 §5.6.1. */
static struct ws_str first_member(struct ws_str list)
{
    size_t start = 0;
    size_t end;

    while (start < list.len && strchr(", \t", list.data[start]) != NULL)
        start++;
    end = start;
    while (end < list.len && strchr(", \t", list.data[end]) == NULL)
        end++;
    return (struct ws_str){list.data + start, end - start};
}

/* The first subprotocol offered in any Sec-WebSocket-Protocol field. NULL when there is none, or
 * when it does not fit `size` with its NUL. */
static const char *first_subprotocol(const struct ws_request *req, char *out, size_t size)
{
    static const char name[] = "Sec-WebSocket-Protocol";
    struct ws_str first = {NULL, 0};
    struct ws_header h;

    for (size_t i = 0; first.len == 0 && ws_request_header_at(req, i, &h); i++) {
        if (h.name.len == sizeof name - 1 && strncasecmp(h.name.data, name, h.name.len) == 0)
            first = first_member(h.value);
    }
    if (first.len == 0 || first.len >= size)
        return NULL;
    memcpy(out, first.data, first.len);
    out[first.len] = '\0';
    return out;
}

int eio_accept_upgrade(const struct eio_options *o, const struct eio_asker *to,
                       const struct ws_request *req)
{
    struct headers h = {.count = 0};
    char subprotocol[128];

    add_cors(&h, o, to);
    return ws_accept(to->conn, first_subprotocol(req, subprotocol, sizeof subprotocol), h.list,
                     h.count);
}
