/* SPDX-License-Identifier: MIT
 *
 * The list of sessions, and questions about the server; see eio_server.h. */
#include "eio_server.h"

#include <string.h>

/* 15 random bytes are 20 digits of base64url without padding, RFC 4648 §5. Asking the kernel takes
 * two fifths of the time of a new socket, so it is asked for those of several ids at once. No byte
 * is used twice. */
bool eio_id_new(struct eio_server *e, char out[EIO_ID_SIZE])
{
    if (e->random_left == 0 && ws_random(e->random, sizeof e->random) != 0)
        return false;
    if (e->random_left == 0)
        e->random_left = sizeof e->random;
    e->random_left -= EIO_ID_BYTES;
    if (e->options.hand_over != NULL) {
        e->random[e->random_left] = (uint8_t)(e->options.node >> 8);
        e->random[e->random_left + 1] = (uint8_t)e->options.node;
    }
    ws_base64_encode(out, e->random + e->random_left, EIO_ID_BYTES);
    memset(e->random + e->random_left, 0, EIO_ID_BYTES);
    out[EIO_ID_LEN] = '\0';
    for (char *p = out; *p != '\0'; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    return true;
}

bool eio_id_is_foreign(const struct eio_server *e, const char *id, unsigned *node)
{
    char start[4];
    uint8_t bytes[3];

    if (e->options.hand_over == NULL || strlen(id) != EIO_ID_LEN)
        return false;
    for (size_t i = 0; i < sizeof start; i++)
        start[i] = id[i] == '-' ? '+' : id[i] == '_' ? '/' : id[i];
    if (ws_base64_decode(bytes, start, sizeof start) != sizeof bytes)
        return false;
    *node = (unsigned)bytes[0] << 8 | bytes[1];
    return *node != e->options.node;
}

struct eio_session *eio_server_find(const struct eio_server *e, const char *id)
{
    return (struct eio_session *)name_table_find(&e->sessions, ws_str(id));
}

bool eio_server_add(struct eio_server *e, struct eio_session *s)
{
    if (!name_table_add(&e->sessions, &s->entry, ws_str(s->id)))
        return false;
    s->known = true;
    s->previous = e->last;
    *(e->last == NULL ? &e->first : &e->last->next) = s;
    e->last = s;
    e->session_count++;
    return true;
}

void eio_server_forget(struct eio_session *s)
{
    if (s->known)
        name_table_remove(&s->server->sessions, &s->entry);
    s->known = false;
}

void eio_server_remove(struct eio_session *s)
{
    struct eio_server *e = s->server;

    *(s->previous == NULL ? &e->first : &s->previous->next) = s->next;
    *(s->next == NULL ? &e->last : &s->next->previous) = s->previous;
    e->session_count--;
}

/* Without memory for the post, the timer does it, which was made with the server. */
void eio_server_mark(struct eio_session *s)
{
    struct eio_server *e = s->server;

    if (!settle_mark(&e->marked, &s->mark))
        return;
    e->marked.requested = true;
    if (ws_post(e->ws, e->settle_posted, e) != 0)
        ws_timer_set(e->settle_timer, 0);
}

struct eio_session *eio_first(const struct eio_server *e)
{
    struct eio_session *s = e->first;

    return s == NULL || !s->ended ? s : eio_next(s);
}

struct eio_session *eio_next(const struct eio_session *s)
{
    struct eio_session *next = s->next;

    while (next != NULL && next->ended)
        next = next->next;
    return next;
}

void *eio_user(const struct eio_server *e)
{
    return e->options.user;
}

struct ws_server *eio_ws_server(const struct eio_server *e)
{
    return e->ws;
}

size_t eio_session_count(const struct eio_server *e)
{
    return e->open_count;
}
