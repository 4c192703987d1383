/* SPDX-License-Identifier: MIT
 *
 * Packets in MessagePack; see sio_msgpack.h. */
#include "sio_msgpack.h"

#include "msgpack.h"

/* The members that count. Clients send more, such as "options", which are not for the server. */
enum member { TYPE, DATA, ID, NSP, MEMBERS };

static const char *const names[MEMBERS] = {"type", "data", "id", "nsp"};

/* A member with its value; `first` is the value or, of an array or a map, its beginning. */
struct found {
    bool is_there;
    struct msgpack_value first;
    struct ws_str bytes; /* the whole value */
};

/* --- reading ---------------------------------------------------------------------------------- */

/* Note a member; of two with one name the last counts. A value that is undefined is no member. */
static void note(struct found members[MEMBERS], const struct msgpack_value *key,
                 const struct found *value)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (key->type != MSGPACK_STRING || !ws_str_is(key->bytes, names[i]))
            continue;
        members[i] = *value;
        members[i].is_there = !msgpack_is_undefined(&value->first);
    }
}

static bool find_members(struct found members[MEMBERS], struct ws_str rest)
{
    struct msgpack_value map;
    struct msgpack_value key;
    struct found value = {0};

    if (!msgpack_next(&rest, &map) || map.type != MSGPACK_MAP)
        return false;
    for (; map.count > 0; map.count--) {
        if (!msgpack_take(&rest, &value.bytes, &key) ||
            !msgpack_take(&rest, &value.bytes, &value.first))
            return false;
        note(members, &key, &value);
    }
    return rest.len == 0;
}

/* A number without a fraction, from 0 to `max`. */
static bool read_number(const struct found *m, int64_t max, int64_t *out)
{
    double number = m->first.number;

    if (!m->is_there || (m->first.type != MSGPACK_INTEGER && m->first.type != MSGPACK_FLOAT) ||
        !(number >= 0 && number <= (double)max) || (double)(int64_t)number != number)
        return false;
    *out = (int64_t)number;
    return true;
}

static int read_head(struct sio_packet *p, const struct found members[MEMBERS])
{
    int64_t type;

    if (!read_number(&members[TYPE], SIO_CONNECT_ERROR, &type))
        return SIO_BAD_TYPE;
    p->type = (enum sio_type)type;
    if (!members[NSP].is_there || members[NSP].first.type != MSGPACK_STRING ||
        !sio_namespace_is_legal(members[NSP].first.bytes))
        return SIO_BAD_NAMESPACE;
    p->nsp = members[NSP].first.bytes;
    if (members[ID].is_there && !read_number(&members[ID], SIO_ID_MAX, &p->id))
        return SIO_BAD_ID;
    return 0;
}

static int read_data(struct sio_packet *p, struct ws_str bytes, struct json_writer *json,
                     struct ws_str *attachments)
{
    size_t count = SIO_BINARY_MAX;

    switch (msgpack_to_json(json, bytes, attachments, &count)) {
    case 0:
        p->json = json_written(json);
        p->attachments = (unsigned)count;
        return 0;
    case MSGPACK_TOO_MANY:
        return SIO_BAD_ATTACHMENTS;
    case MSGPACK_NOMEM:
        return SIO_PACKET_NOMEM;
    default:
        return SIO_BAD_JSON;
    }
}

/* An object that only looks like a placeholder stays what it is in a packet without binary values.
 * In others it has to name one of them. */
static int check_payload(const struct sio_packet *p)
{
    if (!sio_payload_fits(p) || (p->type == SIO_EVENT && p->json.data == NULL))
        return SIO_BAD_PAYLOAD;
    if (p->attachments != 0 && !sio_placeholders_fit(p->json, p->attachments))
        return SIO_BAD_PLACEHOLDER;
    return 0;
}

int sio_msgpack_decode(struct sio_packet *p, struct ws_str bytes, struct json_writer *json,
                       struct ws_str attachments[SIO_BINARY_MAX])
{
    struct found members[MEMBERS] = {0};
    int error;

    *p = (struct sio_packet){.id = SIO_NO_ID};
    if (!find_members(members, bytes))
        return SIO_BAD_JSON;
    error = read_head(p, members);
    if (error == 0 && members[DATA].is_there)
        error = read_data(p, members[DATA].bytes, json, attachments);
    return error != 0 ? error : check_payload(p);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_name(struct json_writer *w, enum member member)
{
    struct ws_str name = ws_str(names[member]);

    msgpack_write_string(w, name.data, name.len);
}

int sio_msgpack_encode(struct json_writer *w, const struct sio_packet *p,
                       const struct ws_str *attachments)
{
    bool has_data = p->json.len != 0;
    int error = 0;

    msgpack_write_map(w, 2u + has_data + (p->id != SIO_NO_ID));
    write_name(w, TYPE);
    msgpack_write_number(w, (double)p->type);
    if (has_data) {
        write_name(w, DATA);
        error = msgpack_write_valid(w, p->json, attachments, p->attachments);
    }
    if (p->id != SIO_NO_ID) {
        write_name(w, ID);
        msgpack_write_number(w, (double)p->id);
    }
    write_name(w, NSP);
    msgpack_write_string(w, p->nsp.data, p->nsp.len);
    return error == 0 && w->failed ? MSGPACK_NOMEM : error;
}
