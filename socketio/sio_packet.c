/* SPDX-License-Identifier: MIT
 *
 * The packets of Socket.IO, protocol 5; see sio_packet.h. The parser of the reference had security
 * advisories on numbers that were not checked (CVE-2022-2421, CVE-2026-33151), on names that are no
 * strings (CVE-2023-32695) and on payloads of the wrong kind; here each field is checked before it
 * is used. */
#include "sio_packet.h"

#include <string.h>

/* --- reading ---------------------------------------------------------------------------------- */

static void drop(struct ws_str *text, size_t n)
{
    text->data += n;
    text->len -= n;
}

static bool is_digit(struct ws_str text)
{
    return text.len != 0 && text.data[0] >= '0' && text.data[0] <= '9';
}

static bool has_attachments(enum sio_type type)
{
    return type == SIO_BINARY_EVENT || type == SIO_BINARY_ACK;
}

static int take_type(struct sio_packet *p, struct ws_str *rest)
{
    if (!is_digit(*rest) || rest->data[0] > '0' + SIO_BINARY_ACK)
        return SIO_BAD_TYPE;
    p->type = (enum sio_type)(rest->data[0] - '0');
    drop(rest, 1);
    return 0;
}

/* Read "1-" to "10-"; other spellings are refused. */
static int take_attachments(struct sio_packet *p, struct ws_str *rest)
{
    if (!is_digit(*rest) || rest->data[0] == '0')
        return SIO_BAD_ATTACHMENTS;
    for (; is_digit(*rest); drop(rest, 1)) {
        p->attachments = p->attachments * 10 + (unsigned)(rest->data[0] - '0');
        if (p->attachments > SIO_ATTACHMENTS_MAX)
            return SIO_BAD_ATTACHMENTS;
    }
    if (rest->len == 0 || rest->data[0] != '-')
        return SIO_BAD_ATTACHMENTS;
    drop(rest, 1);
    return 0;
}

static bool has_control(struct ws_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20)
            return true;
    return false;
}

bool sio_namespace_is_legal(struct ws_str name)
{
    return name.len != 0 && name.len <= SIO_NAME_MAX && name.data[0] == '/' && !has_control(name) &&
           memchr(name.data, ',', name.len) == NULL && ws_utf8_valid(name.data, name.len);
}

/* From '/' to the comma, or to the end of the packet. */
static int take_namespace(struct sio_packet *p, struct ws_str *rest)
{
    const char *comma;

    p->nsp = (struct ws_str){"/", 1};
    if (rest->len == 0 || rest->data[0] != '/')
        return 0;
    comma = memchr(rest->data, ',', rest->len);
    p->nsp = *rest;
    if (comma != NULL)
        p->nsp.len = (size_t)(comma - rest->data);
    if (p->nsp.len > SIO_NAME_MAX || has_control(p->nsp))
        return SIO_BAD_NAMESPACE;
    drop(rest, p->nsp.len + (comma != NULL));
    return 0;
}

static int take_id(struct sio_packet *p, struct ws_str *rest)
{
    p->id = is_digit(*rest) ? 0 : SIO_NO_ID;
    for (; is_digit(*rest); drop(rest, 1)) {
        p->id = p->id * 10 + (rest->data[0] - '0');
        if (p->id > SIO_ID_MAX)
            return SIO_BAD_ID;
    }
    return 0;
}

bool sio_name_is_reserved(struct ws_str name)
{
    static const char reserved[][15] = {"connect",       "connect_error", "disconnect",
                                        "disconnecting", "newListener",   "removeListener"};
    char text[sizeof reserved[0]] = ""; /* a longer name is none of the reserved ones */
    ptrdiff_t len = json_string(name, text, sizeof text);

    for (size_t i = 0; len > 0 && i < sizeof reserved / sizeof reserved[0]; i++)
        if (memcmp(text, reserved[i], sizeof text) == 0) /* up to the NULs behind it */
            return true;
    return false;
}

/* ["name", ...]; the name may be a number. */
static bool is_event(struct ws_str json)
{
    struct ws_str name = json_at(json_inside(json), 0);
    enum json_type type = json_type(name);

    return json_type(json) == JSON_ARRAY && name.len <= SIO_NAME_MAX &&
           (type == JSON_NUMBER || (type == JSON_STRING && !sio_name_is_reserved(name)));
}

bool sio_payload_fits(const struct sio_packet *p)
{
    enum json_type type = json_type(p->json);

    switch (p->type) {
    case SIO_CONNECT:
        return type == JSON_INVALID || type == JSON_OBJECT;
    case SIO_DISCONNECT:
        return type == JSON_INVALID;
    case SIO_EVENT:
        return type == JSON_INVALID || is_event(p->json);
    case SIO_BINARY_EVENT:
        return is_event(p->json);
    case SIO_ACK:
    case SIO_BINARY_ACK:
        return type == JSON_ARRAY;
    case SIO_CONNECT_ERROR:
        return type == JSON_STRING || type == JSON_OBJECT;
    }
    return false; /* uncovered: these are all types */
}

static int read_payload(struct sio_packet *p, struct ws_str rest)
{
    if (rest.len != 0) {
        p->json = json_parse(rest);
        if (p->json.data == NULL)
            return SIO_BAD_JSON;
    }
    if (!sio_payload_fits(p))
        return SIO_BAD_PAYLOAD;
    if (has_attachments(p->type) && !sio_placeholders_fit(json_inside(p->json), p->attachments))
        return SIO_BAD_PLACEHOLDER;
    return 0;
}

int sio_packet_decode(struct sio_packet *p, struct ws_str text)
{
    int error;

    *p = (struct sio_packet){.id = SIO_NO_ID};
    error = take_type(p, &text);
    if (error == 0 && has_attachments(p->type))
        error = take_attachments(p, &text);
    if (error == 0)
        error = take_namespace(p, &text);
    if (error == 0)
        error = take_id(p, &text);
    return error != 0 ? error : read_payload(p, text);
}

/* --- placeholders ----------------------------------------------------------------------------- */

/* What is known of an object while its members are read. */
struct object {
    bool marked;       /* "_placeholder" is true */
    struct ws_str num; /* data is NULL while there is none */
};

/* Note a member whose value begins with `token`; of two members with one name the last counts. */
static void note_member(struct object *o, struct ws_str name, struct ws_str token)
{
    bool mark = false;

    if (json_string_is(name, "_placeholder"))
        o->marked = json_bool(token, &mark) && mark;
    else if (json_string_is(name, "num"))
        o->num = token;
}

static bool object_fits(const struct object *o, unsigned attachments)
{
    int64_t num;

    return !o->marked || (json_integer(o->num, &num) && num >= 0 && num < attachments);
}

/* One pass over the tokens, so that the cost does not depend on the nesting. */
bool sio_placeholders_fit(struct ws_str list, unsigned attachments)
{
    struct object stack[JSON_DEPTH_MAX + 1];
    size_t depth = 0;
    struct ws_str before = {NULL, 0};
    struct ws_str name = {NULL, 0}; /* of the member whose value comes next */
    struct ws_str token;

    for (; json_token(&list, &token); before = token) {
        char c = token.data[0];

        if (c == ']' || c == '}') {
            if (depth == 0 || !object_fits(&stack[--depth], attachments))
                return false;
            continue;
        }
        if (name.data != NULL && depth != 0)
            note_member(&stack[depth - 1], name, token);
        name = c == ':' ? before : (struct ws_str){NULL, 0};
        if (c == '[' || c == '{') {
            if (depth == JSON_DEPTH_MAX)
                return false;
            stack[depth++] = (struct object){0};
        }
    }
    return true;
}

int sio_placeholder(struct ws_str value)
{
    bool mark = false;
    int64_t num;

    if (!json_bool(json_member(value, "_placeholder"), &mark) || !mark ||
        !json_integer(json_member(value, "num"), &num) || num < 0 || num >= SIO_BINARY_MAX)
        return -1;
    return (int)num;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_number(struct json_writer *w, uint64_t number)
{
    char text[20]; /* 2^64 has as many digits */
    size_t at = sizeof text;

    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    json_write_text(w, text + at, sizeof text - at);
}

void sio_packet_begin(struct json_writer *w, enum sio_type type, unsigned attachments,
                      struct ws_str nsp, int64_t id)
{
    write_number(w, (uint64_t)type);
    if (has_attachments(type)) {
        write_number(w, attachments);
        json_write_text(w, "-", 1);
    }
    if (nsp.len != 1) {
        json_write_text(w, nsp.data, nsp.len);
        json_write_text(w, ",", 1);
    }
    if (id != SIO_NO_ID)
        write_number(w, (uint64_t)id);
}

/* --- attachments ------------------------------------------------------------------------------ */

static int grow(struct sio_assembly *a, struct ws_account *account, const void *data, size_t len)
{
    char *grown;

    if (len > SIZE_MAX - a->len)
        return SIO_PACKET_NOMEM;
    if (len == 0)
        return 0;
    grown = ws_account_resize(account, a->data, a->len, a->len + len);
    if (grown == NULL)
        return SIO_PACKET_NOMEM;
    memcpy(grown + a->len, data, len);
    a->data = grown;
    a->len += len;
    return 0;
}

int sio_assembly_begin(struct sio_assembly *a, struct ws_account *account, struct ws_str text,
                       unsigned attachments)
{
    int error = grow(a, account, text.data, text.len);

    if (error != 0)
        return error;
    a->ends[0] = a->len;
    a->want = attachments;
    return 0;
}

int sio_assembly_add(struct sio_assembly *a, struct ws_account *account, const void *data,
                     size_t len)
{
    int error = grow(a, account, data, len);

    if (error != 0)
        return error;
    a->ends[++a->have] = a->len;
    return a->have == a->want;
}

struct ws_str sio_assembly_text(const struct sio_assembly *a)
{
    return (struct ws_str){a->data, a->ends[0]};
}

struct ws_str sio_assembly_attachment(const struct sio_assembly *a, unsigned index)
{
    return (struct ws_str){a->data + a->ends[index], a->ends[index + 1] - a->ends[index]};
}

void sio_assembly_release(struct sio_assembly *a, struct ws_account *account)
{
    ws_account_give(account, a->data, a->len);
    *a = (struct sio_assembly){0};
}
