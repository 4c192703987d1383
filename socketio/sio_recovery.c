/* SPDX-License-Identifier: MIT
 *
 * Connection state recovery: a client whose connection was cut reconnects as the same socket, with
 * its id, rooms and data, and gets the events that it missed.
 *
 * For this each namespace keeps the sockets that ended in this way, for a while, by their secret
 * pid; and a log of the emitted events. A client sends its pid and the offset of the last event
 * that it got. It is recovered if that event, or the one after it, is in the log. Both the sockets
 * and the log are limited in time and in bytes; a client whose socket or offset is not kept any
 * more starts as a new socket. Namespaces that rules open share one limit, since clients may open
 * any number of them. */
#include "sio_recovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sio_conn.h"
#include "sio_room.h"

/* One event as it was sent: its parts, and the names of the target's rooms, each with a NUL. */
struct entry {
    struct entry *next;
    uint64_t time_ms;
    size_t size; /* of this with its bytes */
    size_t ends[1 + SIO_ATTACHMENTS_MAX];
    unsigned part_count;
    bool to_all;
    size_t to_count;
    size_t except_count;
    char bytes[];
};

/* One socket that may be recovered. */
struct kept {
    struct name_entry entry; /* in sessions, by pid */
    struct kept *next;       /* the next younger one */
    struct kept *previous;
    uint64_t time_ms;
    size_t size;
    size_t weight; /* its bytes, and those of the namespace that is kept for it */
    void *data;
    size_t room_count;
    char pid[EIO_ID_SIZE];
    char id[EIO_ID_SIZE];
    char rooms[]; /* names, each with a NUL */
};

struct sio_recovery {
    struct sio_namespace *nsp;
    struct name_table sessions;
    struct kept *oldest;
    struct kept *youngest;
    struct entry *first;
    struct entry *last;
    struct sio_usage own;
    struct sio_usage *usage; /* for the limits: `own`, or shared by all namespaces that rules
                                opened */
    uint64_t first_offset;   /* of `first`; offsets go up by one */
    uint64_t next_offset;
    bool timing; /* the timer of the namespace is set */
};

static bool is_over(const struct sio_recovery *r, uint64_t since, uint64_t now)
{
    return now - since >= r->nsp->server->options.recovery_ms;
}

/* --- forgetting ------------------------------------------------------------------------------- */

static void log_drop(struct sio_recovery *r)
{
    struct entry *e = r->first;

    r->first = e->next;
    if (r->first == NULL)
        r->last = NULL;
    r->first_offset++;
    r->usage->log_bytes -= e->size;
    ws_account_give(r->nsp->server->account, e, e->size);
}

static void log_prune(struct sio_recovery *r, uint64_t now)
{
    while (r->first != NULL && (is_over(r, r->first->time_ms, now) ||
                                r->usage->log_bytes > r->nsp->server->options.recovery_bytes))
        log_drop(r);
}

static void kept_free(struct sio_recovery *r, struct kept *k)
{
    name_table_remove(&r->sessions, &k->entry);
    *(k->previous == NULL ? &r->oldest : &k->previous->next) = k->next;
    *(k->next == NULL ? &r->youngest : &k->next->previous) = k->previous;
    r->usage->kept_bytes -= k->weight;
    ws_account_give(r->nsp->server->account, k, k->size);
}

static void forget(struct sio_namespace *n, void *data)
{
    if (data != NULL && n->handlers.on_forget != NULL)
        n->handlers.on_forget(n, data);
}

static void kept_forget(struct sio_recovery *r, struct kept *k)
{
    void *data = k->data;

    kept_free(r, k);
    forget(r->nsp, data);
}

/* Calls on_forget, so it must not be called inside a function of the API. */
static void kept_prune(struct sio_recovery *r, uint64_t now)
{
    while (r->oldest != NULL && (is_over(r, r->oldest->time_ms, now) ||
                                 r->usage->kept_bytes > r->nsp->server->options.recovery_bytes))
        kept_forget(r, r->oldest);
}

/* Set the timer to the time when all that is kept now will be too old. What is added later stays
 * longer than recovery_ms, but is not used for a recovery then. */
static void timer_start(struct sio_recovery *r)
{
    if (r->timing || (r->first == NULL && r->oldest == NULL))
        return;
    r->timing = true;
    ws_timer_set(r->nsp->recovery_timer, r->nsp->server->options.recovery_ms);
}

void sio_recovery_prune(struct sio_namespace *n)
{
    struct sio_recovery *r = n->recovery;
    uint64_t now = ws_now_ms(n->server->ws);

    r->timing = false;
    log_prune(r, now);
    kept_prune(r, now);
    timer_start(r);
}

bool sio_recovery_init(struct sio_namespace *n)
{
    struct sio_recovery *r = ws_account_take(n->account, sizeof *r);

    if (r == NULL)
        return false;
    r->nsp = n;
    r->usage = n->by_rule ? &n->server->recovery_by_rule : &r->own;
    name_table_init(&r->sessions, n->server->account, n->server->sockets.key);
    n->recovery = r;
    return true;
}

bool sio_recovery_is_idle(const struct sio_namespace *n)
{
    return n->recovery == NULL || n->recovery->oldest == NULL;
}

void sio_recovery_free(struct sio_namespace *n)
{
    struct sio_recovery *r = n->recovery;

    if (r == NULL)
        return;
    while (r->first != NULL)
        log_drop(r);
    while (r->oldest != NULL)
        kept_forget(r, r->oldest);
    name_table_release(&r->sessions);
    n->recovery = NULL;
    ws_account_give(n->account, r, sizeof *r);
}

/* --- the log ---------------------------------------------------------------------------------- */

bool sio_recovery_offset(struct sio_namespace *n, char out[SIO_OFFSET_SIZE])
{
    if (n->recovery == NULL)
        return false;
    snprintf(out, SIO_OFFSET_SIZE, "%llu", (unsigned long long)n->recovery->next_offset);
    return true;
}

/* Copy names behind `at`, or only count their bytes where `at` is NULL. Returns the bytes. */
static size_t put_names(char *at, const char *const *names, size_t *count)
{
    size_t bytes = 0;

    for (; names != NULL && *names != NULL; names++) {
        size_t len = strlen(*names) + 1;

        if (at != NULL)
            memcpy(at + bytes, *names, len);
        bytes += len;
        ++*count;
    }
    return bytes;
}

static void put_part(struct entry *e, size_t *at, struct ws_str part)
{
    if (part.len != 0)
        memcpy(e->bytes + *at, part.data, part.len);
    *at += part.len;
    e->ends[e->part_count++] = *at;
}

static size_t entry_size(const struct sio_target *t, struct ws_str message,
                         const struct sio_args *args)
{
    size_t behind = sio_parts_behind(t->nsp->server, args);
    size_t ignored = 0;
    size_t size = sizeof(struct entry) + message.len + put_names(NULL, t->to, &ignored) +
                  put_names(NULL, t->except, &ignored) + EIO_ID_SIZE;

    for (size_t i = 0; i < behind; i++)
        size += args->attachments[i].len;
    return size;
}

/* The sender is left out by the name of its own room, which is its id; this also works after a
 * recovery. */
static struct entry *entry_new(const struct sio_target *t, struct ws_str message,
                               const struct sio_args *args)
{
    size_t behind = sio_parts_behind(t->nsp->server, args);
    const char *const sender[] = {t->sender == NULL ? NULL : t->sender->id, NULL};
    size_t size = entry_size(t, message, args);
    struct entry *e = ws_account_take(t->nsp->server->account, size);
    size_t at = 0;

    if (e == NULL)
        return NULL;
    e->size = size;
    e->time_ms = ws_now_ms(t->nsp->server->ws);
    put_part(e, &at, message);
    for (size_t i = 0; i < behind; i++)
        put_part(e, &at, args->attachments[i]);
    e->to_all = t->to == NULL;
    at += put_names(e->bytes + at, t->to, &e->to_count);
    at += put_names(e->bytes + at, t->except, &e->except_count);
    put_names(e->bytes + at, sender, &e->except_count);
    return e;
}

void sio_recovery_log(const struct sio_target *t, struct ws_str message,
                      const struct sio_args *args)
{
    struct sio_recovery *r = t->nsp->recovery;
    struct entry *e = entry_new(t, message, args);

    r->next_offset++;
    if (e == NULL) { /* a log with a gap is useless: drop all of it */
        while (r->first != NULL)
            log_drop(r);
        r->first_offset = r->next_offset;
        return;
    }
    *(r->last == NULL ? &r->first : &r->last->next) = e;
    r->last = e;
    r->usage->log_bytes += e->size;
    log_prune(r, e->time_ms);
    timer_start(r);
}

/* Is the socket in any of `count` rooms? Moves `*names` behind them. */
static bool is_in_any(const struct sio_socket *s, const char **names, size_t count)
{
    bool found = false;

    for (; count != 0; count--) {
        found = found || sio_is_in(s, *names);
        *names += strlen(*names) + 1;
    }
    return found;
}

static bool is_for(const struct entry *e, const struct sio_socket *s)
{
    const char *names = e->bytes + e->ends[e->part_count - 1];
    bool to = is_in_any(s, &names, e->to_count) || e->to_all;

    return to && !is_in_any(s, &names, e->except_count);
}

static void send_entry(const struct entry *e, struct sio_conn *c)
{
    size_t at = 0;
    int result = 0;

    for (unsigned i = 0; result >= 0 && i < e->part_count; at = e->ends[i++])
        result = eio_send(c->engine, i == 0 ? sio_message_opcode(c->server) : WS_OP_BINARY,
                          e->bytes + at, e->ends[i] - at, 0);
    if (result < 0)
        sio_conn_fail(c);
}

/* All events are sent at once, since new events must not be sent between them: a log of 1 MiB takes
 * 1 to 2 ms. This counts in the connection's share of the turn. */
bool sio_recovery_replay(struct sio_socket *s)
{
    const struct sio_recovery *r = s->nsp->recovery;
    uint64_t offset = r->first_offset;

    if (s->missed < r->first_offset)
        return false;
    for (const struct entry *e = r->first; e != NULL; e = e->next, offset++)
        if (offset >= s->missed && is_for(e, s))
            send_entry(e, s->conn);
    ws_turn_over(r->nsp->server->ws, (size_t)(offset - r->first_offset));
    return true;
}

/* --- keeping and recovering ------------------------------------------------------------------- */

/* Like put_names(), for the rooms of a socket. */
static size_t put_rooms(char *at, const struct sio_socket *s, size_t *count)
{
    size_t bytes = 0;

    *count = 0;
    for (const struct sio_seat *seat = s->seats; seat != NULL; seat = sio_next_seat(seat)) {
        const char *const names[] = {sio_room_of(seat), NULL};

        bytes += put_names(at == NULL ? NULL : at + bytes, names, count);
    }
    return bytes;
}

static struct kept *kept_new(struct sio_recovery *r, const struct sio_socket *s)
{
    size_t count;
    size_t size = sizeof(struct kept) + put_rooms(NULL, s, &count);
    struct kept *k = ws_account_take(r->nsp->server->account, size);

    if (k == NULL)
        return NULL;
    memcpy(k->pid, s->pid, sizeof k->pid);
    if (!name_table_add(&r->sessions, &k->entry, (struct ws_str){k->pid, EIO_ID_LEN})) {
        ws_account_give(r->nsp->server->account, k, size);
        return NULL;
    }
    memcpy(k->id, s->id, sizeof k->id);
    put_rooms(k->rooms, s, &k->room_count);
    k->size = size;
    k->weight = size + (r->nsp->by_rule ? sio_namespace_size(r->nsp) + sizeof *r : 0);
    k->time_ms = ws_now_ms(r->nsp->server->ws);
    k->previous = r->youngest;
    *(r->youngest == NULL ? &r->oldest : &r->youngest->next) = k;
    r->youngest = k;
    r->usage->kept_bytes += k->weight;
    return k;
}

/* Keep a socket with its data. */
static void keep(struct sio_socket *s)
{
    struct sio_recovery *r = s->nsp->recovery;
    struct kept *k;

    if (s->pid == NULL || s->nsp->server->ws == NULL)
        return;
    k = kept_new(r, s);
    if (k == NULL)
        return;
    k->data = s->data;
    s->data = NULL;
    kept_prune(r, k->time_ms);
    timer_start(r);
}

void sio_recovery_end(struct sio_socket *s)
{
    if (s->recoverable)
        keep(s);
    forget(s->nsp, s->data);
}

/* Is `value` an offset that was sent, and is the log complete after it? */
static bool offset_is_known(const struct sio_recovery *r, struct ws_str value, uint64_t *offset)
{
    char text[SIO_OFFSET_SIZE];
    char again[SIO_OFFSET_SIZE];
    ptrdiff_t len = json_string(value, text, sizeof text);

    if (len <= 0)
        return false;
    *offset = strtoull(text, NULL, 10);
    snprintf(again, sizeof again, "%llu", (unsigned long long)*offset);
    return (size_t)len == strlen(again) && memcmp(text, again, (size_t)len) == 0 &&
           *offset < r->next_offset && *offset + 1 >= r->first_offset;
}

static struct kept *kept_find(struct sio_recovery *r, struct ws_str value)
{
    char pid[EIO_ID_SIZE];

    if (json_string(value, pid, sizeof pid) != EIO_ID_LEN)
        return NULL;
    return (struct kept *)name_table_find(&r->sessions, (struct ws_str){pid, EIO_ID_LEN});
}

/* Join all rooms again, or none if there is no memory for one of them: a client that is told that
 * it was recovered expects the events of all its rooms. */
static bool rejoin(struct sio_socket *s, const struct kept *k)
{
    const char *room = k->rooms;

    for (size_t i = 0; i < k->room_count; i++) {
        if (sio_join(s, room) != 0) {
            sio_leave_rooms(s);
            return false;
        }
        room += strlen(room) + 1;
    }
    return true;
}

/* The socket gets the id, pid and data of the kept one. It is already in the rooms. */
static void restore(struct sio_recovery *r, struct sio_socket *s, struct kept *k)
{
    struct name_table *sockets = &s->nsp->server->sockets;

    memcpy(s->id, k->id, sizeof s->id);
    name_table_rename(sockets, &s->entry, (struct ws_str){s->id, EIO_ID_LEN});
    memcpy(s->pid, k->pid, sizeof k->pid);
    s->data = k->data;
    s->recovered = true;
    kept_free(r, k);
}

bool sio_recovery_begin(struct sio_socket *s, struct ws_str auth)
{
    struct sio_recovery *r = s->nsp->recovery;
    uint64_t offset;
    uint64_t now = ws_now_ms(s->nsp->server->ws);
    struct kept *k;

    if (r == NULL)
        return true;
    s->pid = ws_account_take(s->conn->account, EIO_ID_SIZE);
    if (s->pid == NULL)
        return false;
    log_prune(r, now);
    kept_prune(r, now);
    k = kept_find(r, json_member(auth, "pid"));
    if (k != NULL && offset_is_known(r, json_member(auth, "offset"), &offset) && rejoin(s, k)) {
        s->missed = offset + 1;
        restore(r, s, k);
        return true;
    }
    return eio_id_new(s->nsp->server->engine, s->pid);
}
