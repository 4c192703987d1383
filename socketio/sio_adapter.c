/* SPDX-License-Identifier: MIT
 *
 * Messages between Socket.IO servers; see sio_adapter.h. A message in MessagePack is read by making
 * JSON of it, and written by making it of JSON, so all that is known of the fields stands here
 * once. */
#include "sio_adapter.h"

#include <string.h>

#include "msgpack.h"

/* Types as numbers of the protocol; -1: it has none there. */
static const struct {
    int classic;
    int sharded;
} numbers[] = {
    [SIO_BROADCAST] = {7, 3},      [SIO_JOIN] = {2, 4},           [SIO_LEAVE] = {3, 5},
    [SIO_DISCONNECT_ALL] = {4, 6}, [SIO_FETCH] = {5, 7},          [SIO_LIST_SOCKETS] = {0, -1},
    [SIO_LIST_ROOMS] = {1, -1},    [SIO_SERVER_EMIT] = {6, 9},    [SIO_ANSWER_SOCKETS] = {-1, 8},
    [SIO_ANSWER_ROOMS] = {-1, -1}, [SIO_ANSWER_SERVER] = {6, 10}, [SIO_ANSWER_COUNT] = {8, 11},
    [SIO_ANSWER_CLIENT] = {9, 12}, [SIO_ANSWER_DONE] = {-1, -1},  [SIO_ADAPTER_OTHER] = {-1, -1},
};

/* --- reading fields --------------------------------------------------------------------------- */

static const struct ws_str none = {NULL, 0};

/* A member that is missing, or `undefined` in the sender's language, or null, is no member. */
static struct ws_str member(struct ws_str object, const char *name)
{
    struct ws_str value = json_member(object, name);

    return json_type(value) == JSON_NULL ? none : value;
}

/* A string that may be missing. */
static bool take_string(struct ws_str object, const char *name, struct ws_str *out)
{
    *out = member(object, name);
    return out->data == NULL || json_type(*out) == JSON_STRING;
}

static bool take_array(struct ws_str object, const char *name, struct ws_str *out)
{
    struct ws_str array = member(object, name);

    *out = json_inside(array);
    return json_type(array) == JSON_ARRAY;
}

/* A list of names, which may be missing. What is no string and no number is the name of nothing. */
static bool take_names(struct ws_str object, const char *name, struct ws_str *out)
{
    *out = none;
    return member(object, name).data == NULL || take_array(object, name, out);
}

/* Is it the boolean `true`? Senders use no other type. */
static bool is_true(struct ws_str object, const char *name)
{
    bool value = false;

    return json_bool(member(object, name), &value) && value;
}

/* A number of 0 or more, which may be missing. */
static bool take_count(struct ws_str object, const char *name, int64_t *out)
{
    struct ws_str value = member(object, name);

    *out = 0;
    return value.data == NULL || (json_integer(value, out) && *out >= 0);
}

/* A timeout, of which servers of Node make no use: it may be any number there, and is no reason to
 * drop the message. */
static int64_t read_timeout(struct ws_str value)
{
    const double most = 1e15;
    double ms = 0;

    if (!json_number(value, &ms) || !(ms >= 0))
        return 0;
    return (int64_t)(ms < most ? ms : most);
}

static bool take_opts(struct sio_adapter_message *m, struct ws_str opts)
{
    struct ws_str flags = member(opts, "flags");

    m->is_volatile = is_true(flags, "volatile");
    m->timeout_ms = read_timeout(member(flags, "timeout"));
    return json_type(opts) == JSON_OBJECT && take_names(opts, "rooms", &m->rooms) &&
           take_names(opts, "except", &m->except);
}

/* An event is a list with a name as its first value. */
static bool take_event(struct ws_str object, const char *name, struct ws_str *out)
{
    return take_array(object, name, out) && json_at(*out, 0).data != NULL;
}

static bool take_packet(struct sio_adapter_message *m, struct ws_str packet)
{
    int64_t type;

    return json_integer(json_member(packet, "type"), &type) &&
           (type == SIO_EVENT || type == SIO_BINARY_EVENT) && take_event(packet, "data", &m->list);
}

static bool is_answer(enum sio_adapter_type type)
{
    return type >= SIO_ANSWER_SOCKETS && type <= SIO_ANSWER_DONE;
}

/* --- classic ---------------------------------------------------------------------------------- */

/* [uid, packet, opts] */
static bool read_broadcast(struct sio_adapter_message *m, struct ws_str json)
{
    struct ws_str rest = json_inside(json);
    struct ws_str packet;
    struct ws_str opts;

    m->type = SIO_BROADCAST;
    return json_type(json) == JSON_ARRAY && json_next(&rest, &m->uid) &&
           json_type(m->uid) == JSON_STRING && json_next(&rest, &packet) &&
           json_next(&rest, &opts) && take_packet(m, packet) &&
           take_string(packet, "nsp", &m->nsp) && take_opts(m, opts);
}

/* The old form names one socket, and one room. */
static bool read_old_form(struct sio_adapter_message *m, struct ws_str json)
{
    m->sid = member(json, "sid");
    m->names = m->type == SIO_DISCONNECT_ALL ? none : member(json, "room");
    return json_type(m->sid) == JSON_STRING &&
           (m->type == SIO_DISCONNECT_ALL || json_type(m->names) == JSON_STRING ||
            json_type(m->names) == JSON_NUMBER);
}

static bool read_request_fields(struct sio_adapter_message *m, struct ws_str json)
{
    struct ws_str packet = member(json, "packet");
    struct ws_str opts = member(json, "opts");

    switch (m->type) {
    case SIO_BROADCAST:
        return m->request_id.data != NULL && take_packet(m, packet) &&
               take_string(packet, "nsp", &m->nsp) && take_opts(m, opts);
    case SIO_JOIN:
    case SIO_LEAVE:
        return opts.data == NULL ? read_old_form(m, json)
                                 : take_opts(m, opts) && take_names(json, "rooms", &m->names);
    case SIO_DISCONNECT_ALL:
        m->close = is_true(json, "close");
        return opts.data == NULL ? read_old_form(m, json) : take_opts(m, opts);
    case SIO_FETCH:
        return m->request_id.data != NULL && take_opts(m, opts);
    case SIO_LIST_SOCKETS:
        return m->request_id.data != NULL && take_names(json, "rooms", &m->rooms);
    case SIO_LIST_ROOMS:
        return m->request_id.data != NULL;
    case SIO_SERVER_EMIT:
        return take_event(json, "data", &m->list);
    default:          /* uncovered: these are all requests */
        return false; /* uncovered: the same */
    }
}

static bool read_request(struct sio_adapter_message *m, struct ws_str json)
{
    int64_t number;

    if (json_type(json) != JSON_OBJECT || !json_integer(json_member(json, "type"), &number) ||
        !take_string(json, "uid", &m->uid) || !take_string(json, "requestId", &m->request_id))
        return false;
    for (m->type = SIO_BROADCAST; m->type <= SIO_SERVER_EMIT; m->type++)
        if (numbers[m->type].classic == number)
            return read_request_fields(m, json);
    m->type = SIO_ADAPTER_OTHER;
    return true;
}

/* Answers to the first requests say by their fields alone what they are. */
static bool read_untyped_answer(struct sio_adapter_message *m, struct ws_str json)
{
    m->type = SIO_ANSWER_DONE;
    if (member(json, "sockets").data != NULL) {
        m->type = SIO_ANSWER_SOCKETS;
        return take_array(json, "sockets", &m->names);
    }
    if (member(json, "rooms").data != NULL) {
        m->type = SIO_ANSWER_ROOMS;
        return take_names(json, "rooms", &m->names);
    }
    return true;
}

static bool read_answer(struct sio_adapter_message *m, struct ws_str json)
{
    struct ws_str type = member(json, "type");
    int64_t number;

    if (json_type(json) != JSON_OBJECT || !take_string(json, "requestId", &m->request_id) ||
        m->request_id.data == NULL)
        return false;
    if (type.data == NULL)
        return read_untyped_answer(m, json);
    if (!json_integer(type, &number))
        return false;
    m->type = SIO_ADAPTER_OTHER;
    for (int t = SIO_ANSWER_SERVER; t <= SIO_ANSWER_CLIENT; t++)
        if (numbers[t].classic == number)
            m->type = (enum sio_adapter_type)t;
    if (m->type == SIO_ANSWER_COUNT)
        return take_count(json, "clientCount", &m->count);
    if (m->type != SIO_ADAPTER_OTHER)
        m->list = json_member(json, m->type == SIO_ANSWER_SERVER ? "data" : "packet");
    return true;
}

/* --- sharded ---------------------------------------------------------------------------------- */

static bool read_shard_fields(struct sio_adapter_message *m, struct ws_str data)
{
    struct ws_str opts = member(data, "opts");

    switch (m->type) {
    case SIO_BROADCAST:
        return take_packet(m, member(data, "packet")) && take_opts(m, opts);
    case SIO_JOIN:
    case SIO_LEAVE:
        return take_opts(m, opts) && take_names(data, "rooms", &m->names);
    case SIO_DISCONNECT_ALL:
        m->close = is_true(data, "close");
        return take_opts(m, opts);
    case SIO_FETCH:
        return m->request_id.data != NULL && take_opts(m, opts);
    case SIO_SERVER_EMIT:
        return take_event(data, "packet", &m->list);
    case SIO_ANSWER_SOCKETS:
        return take_array(data, "sockets", &m->names);
    case SIO_ANSWER_COUNT:
        return take_count(data, "clientCount", &m->count);
    default: /* SIO_ANSWER_SERVER, SIO_ANSWER_CLIENT */
        m->list = json_member(data, "packet");
        return true;
    }
}

static bool read_shard(struct sio_adapter_message *m, struct ws_str json)
{
    struct ws_str data = member(json, "data");
    int64_t number;

    if (json_type(json) != JSON_OBJECT || !json_integer(json_member(json, "type"), &number) ||
        !take_string(json, "uid", &m->uid) || !take_string(json, "nsp", &m->nsp) ||
        m->uid.data == NULL || m->nsp.data == NULL)
        return false;
    for (m->type = SIO_BROADCAST; m->type < SIO_ADAPTER_OTHER; m->type++)
        if (number >= 0 && numbers[m->type].sharded == number)
            break;
    if (m->type == SIO_ADAPTER_OTHER)
        return true;
    return json_type(data) == JSON_OBJECT && take_string(data, "requestId", &m->request_id) &&
           (!is_answer(m->type) || m->request_id.data != NULL) && read_shard_fields(m, data);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool read_json(struct sio_adapter_message *m, enum sio_source from, struct ws_str json)
{
    *m = (struct sio_adapter_message){.type = SIO_ADAPTER_OTHER};
    switch (from) {
    case SIO_FROM_BROADCASTS:
        return read_broadcast(m, json);
    case SIO_FROM_REQUESTS:
        return read_request(m, json);
    case SIO_FROM_ANSWERS:
        return read_answer(m, json);
    case SIO_FROM_SHARDS:
        return read_shard(m, json);
    }
    return false; /* uncovered: these are all sources */
}

/* The bytes as JSON; data is NULL where they are none. */
static int to_json(struct ws_str bytes, struct sio_adapter_space *space, struct ws_str *attachments,
                   size_t *count)
{
    int error;

    json_writer_clear(&space->text);
    *count = space->attachments_max != 0 ? space->attachments_max : SIO_ATTACHMENTS_MAX;
    error = msgpack_to_json(&space->text, bytes, attachments, count);
    return error == MSGPACK_NOMEM ? SIO_ADAPTER_NOMEM : error;
}

/* Sockets may have any number of binary values in their data; these are not given as attachments.
 * The types are known only after reading. */
static int read_msgpack(struct sio_adapter_message *m, enum sio_source from, struct ws_str bytes,
                        struct sio_adapter_space *space)
{
    size_t count;
    int error = to_json(bytes, space, space->attachments, &count);
    bool ok = error == 0 && read_json(m, from, json_written(&space->text));

    if (ok && (m->type != SIO_ANSWER_SOCKETS || count == 0)) {
        m->attachments = space->attachments;
        m->attachment_count = count;
        return 0;
    }
    if (error != MSGPACK_TOO_MANY && !ok)
        return error == SIO_ADAPTER_NOMEM ? error : SIO_ADAPTER_BAD;
    error = to_json(bytes, space, NULL, &count);
    if (error != 0 || !read_json(m, from, json_written(&space->text)) ||
        m->type != SIO_ANSWER_SOCKETS)
        return error == SIO_ADAPTER_NOMEM ? error : SIO_ADAPTER_BAD;
    return 0;
}

int sio_adapter_read(struct sio_adapter_message *m, enum sio_source from, struct ws_str bytes,
                     struct sio_adapter_space *space)
{
    struct ws_str json;

    if (bytes.len == 0)
        return SIO_ADAPTER_BAD;
    if (from == SIO_FROM_BROADCASTS || bytes.data[0] != '{')
        return read_msgpack(m, from, bytes, space);
    json = json_parse(bytes);
    return json.data != NULL && read_json(m, from, json) ? 0 : SIO_ADAPTER_BAD;
}

struct ws_str sio_adapter_sender(struct ws_str bytes)
{
    struct msgpack_value v;

    if (!msgpack_next(&bytes, &v) || v.type != MSGPACK_ARRAY || v.count != 3 ||
        !msgpack_next(&bytes, &v) || v.type != MSGPACK_STRING)
        return none;
    return v.bytes;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A member whose value is a slice of JSON; none if that is missing. */
static void write_member(struct json_writer *w, const char *name, struct ws_str value)
{
    if (value.data == NULL)
        return;
    json_write_name(w, name);
    json_write_raw(w, value);
}

static void write_list(struct json_writer *w, const char *name, struct ws_str list)
{
    json_write_name(w, name);
    json_begin_array(w);
    json_write_raw(w, list);
    json_end_array(w);
}

static void write_number(struct json_writer *w, const char *name, int64_t number)
{
    json_write_name(w, name);
    json_write_integer(w, number);
}

static void write_flags(struct json_writer *w, const struct sio_adapter_message *m)
{
    json_write_name(w, "flags");
    json_begin_object(w);
    if (m->is_volatile) {
        json_write_name(w, "volatile");
        json_write_bool(w, true);
    }
    if (m->timeout_ms != 0)
        write_number(w, "timeout", m->timeout_ms);
    json_end_object(w);
}

/* In the classic dialect only events have flags. */
static void write_opts_value(struct json_writer *w, const struct sio_adapter_message *m, bool flags)
{
    json_begin_object(w);
    write_list(w, "rooms", m->rooms);
    write_list(w, "except", m->except);
    if (flags)
        write_flags(w, m);
    json_end_object(w);
}

static void write_opts(struct json_writer *w, const struct sio_adapter_message *m, bool flags)
{
    json_write_name(w, "opts");
    write_opts_value(w, m, flags);
}

static void write_packet_value(struct json_writer *w, const struct sio_adapter_message *m,
                               struct ws_str nsp)
{
    json_begin_object(w);
    write_number(w, "type", SIO_EVENT);
    write_list(w, "data", m->list);
    write_member(w, "nsp", nsp);
    json_end_object(w);
}

static void write_broadcast(struct json_writer *w, const struct sio_adapter_message *m)
{
    json_begin_array(w);
    json_write_raw(w, m->uid);
    write_packet_value(w, m, m->nsp);
    write_opts_value(w, m, true);
    json_end_array(w);
}

static void write_old_form(struct json_writer *w, const struct sio_adapter_message *m)
{
    write_member(w, "sid", m->sid);
    write_member(w, "room", m->names);
}

static void write_request_fields(struct json_writer *w, const struct sio_adapter_message *m)
{
    switch (m->type) {
    case SIO_BROADCAST:
        json_write_name(w, "packet");
        write_packet_value(w, m, m->nsp);
        write_opts(w, m, true);
        break;
    case SIO_LIST_SOCKETS:
        write_list(w, "rooms", m->rooms);
        break;
    case SIO_SERVER_EMIT:
        write_list(w, "data", m->list);
        break;
    case SIO_LIST_ROOMS:
        break;
    default: /* about the sockets of a target */
        if (m->sid.data != NULL)
            write_old_form(w, m);
        else
            write_opts(w, m, false);
        if (m->sid.data == NULL && (m->type == SIO_JOIN || m->type == SIO_LEAVE))
            write_list(w, "rooms", m->names);
        if (m->type == SIO_DISCONNECT_ALL) {
            json_write_name(w, "close");
            json_write_bool(w, m->close);
        }
        break;
    }
}

static void write_request(struct json_writer *w, const struct sio_adapter_message *m)
{
    json_begin_object(w);
    write_member(w, "uid", m->uid);
    write_member(w, "requestId", m->request_id);
    write_number(w, "type", numbers[m->type].classic);
    write_request_fields(w, m);
    json_end_object(w);
}

/* The one value of an answer, or no member where there is none. */
static void write_value(struct json_writer *w, const char *name, struct ws_str list)
{
    write_member(w, name, list.len == 0 ? none : list);
}

static void write_answer(struct json_writer *w, const struct sio_adapter_message *m)
{
    json_begin_object(w);
    if (numbers[m->type].classic >= 0)
        write_number(w, "type", numbers[m->type].classic);
    write_member(w, "requestId", m->request_id);
    if (m->type == SIO_ANSWER_SOCKETS)
        write_list(w, "sockets", m->names);
    else if (m->type == SIO_ANSWER_ROOMS)
        write_list(w, "rooms", m->names);
    else if (m->type == SIO_ANSWER_SERVER)
        write_value(w, "data", m->list);
    else if (m->type == SIO_ANSWER_CLIENT)
        write_value(w, "packet", m->list);
    else if (m->type == SIO_ANSWER_COUNT)
        write_number(w, "clientCount", m->count);
    json_end_object(w);
}

static void write_shard_data(struct json_writer *w, const struct sio_adapter_message *m)
{
    switch (m->type) {
    case SIO_BROADCAST:
        json_write_name(w, "packet");
        write_packet_value(w, m, none);
        write_member(w, "requestId", m->request_id);
        write_opts(w, m, true);
        break;
    case SIO_FETCH:
        write_opts(w, m, true);
        write_member(w, "requestId", m->request_id);
        break;
    case SIO_JOIN:
    case SIO_LEAVE:
        write_opts(w, m, true);
        write_list(w, "rooms", m->names);
        break;
    case SIO_DISCONNECT_ALL:
        write_opts(w, m, true);
        json_write_name(w, "close");
        json_write_bool(w, m->close);
        break;
    case SIO_SERVER_EMIT:
        write_member(w, "requestId", m->request_id);
        write_list(w, "packet", m->list);
        break;
    default:
        write_member(w, "requestId", m->request_id);
        if (m->type == SIO_ANSWER_SOCKETS)
            write_list(w, "sockets", m->names);
        else if (m->type == SIO_ANSWER_COUNT)
            write_number(w, "clientCount", m->count);
        else
            write_value(w, "packet", m->list);
        break;
    }
}

static void write_shard(struct json_writer *w, const struct sio_adapter_message *m)
{
    json_begin_object(w);
    write_number(w, "type", numbers[m->type].sharded);
    json_write_name(w, "data");
    json_begin_object(w);
    write_shard_data(w, m);
    json_end_object(w);
    write_member(w, "uid", m->uid);
    write_member(w, "nsp", m->nsp);
    json_end_object(w);
}

/* What Node writes as MessagePack, and what only that can carry. */
static bool is_msgpack(enum sio_dialect dialect, const struct sio_adapter_message *m)
{
    return m->attachment_count != 0 ||
           (dialect == SIO_CLASSIC && (m->type == SIO_BROADCAST || m->type == SIO_ANSWER_CLIENT));
}

int sio_adapter_write(struct json_writer *w, struct json_writer *text, enum sio_dialect dialect,
                      const struct sio_adapter_message *m)
{
    struct json_writer *json = is_msgpack(dialect, m) ? text : w;
    int error = 0;

    json_writer_clear(text);
    if (dialect == SIO_SHARDED)
        write_shard(json, m);
    else if (is_answer(m->type))
        write_answer(json, m);
    else if (m->type == SIO_BROADCAST && m->request_id.data == NULL)
        write_broadcast(json, m);
    else
        write_request(json, m);
    if (json->failed)
        return SIO_ADAPTER_NOMEM;
    if (json == text)
        error = msgpack_write_valid(w, json_written(text), m->attachments, m->attachment_count);
    else if (json_parse(json_written(w)).data == NULL)
        error = MSGPACK_BAD;
    return error == 0 ? 0 : error == MSGPACK_NOMEM ? SIO_ADAPTER_NOMEM : SIO_ADAPTER_BAD;
}
