/* SPDX-License-Identifier: MIT
 *
 * Decisions about handshakes that come later; see eio_waits.h and eio_decide() in engineio.h. */
#include "eio_waits.h"

#include <string.h>

/* The name of a wait in the table: the bytes of the connection's id. */
static struct ws_str name_of(const uint64_t *conn_id)
{
    return (struct ws_str){(const char *)conn_id, sizeof *conn_id};
}

static struct eio_wait *find(const struct eio_server *e, uint64_t conn_id)
{
    return (struct eio_wait *)name_table_find(&e->waits, name_of(&conn_id));
}

struct eio_wait *eio_wait_find(const struct eio_server *e, const struct ws_conn *c)
{
    return e->waits.count == 0 ? NULL : find(e, ws_conn_id(c));
}

static void wait_free(struct eio_server *e, struct eio_wait *w)
{
    name_table_remove(&e->waits, &w->entry);
    ws_account_give(e->account, w, sizeof *w);
}

void eio_wait_end(struct eio_server *e, const struct ws_conn *c)
{
    struct eio_wait *w = eio_wait_find(e, c);

    if (w != NULL)
        wait_free(e, w);
}

void eio_waits_close(struct eio_server *e)
{
    struct name_entry *each = NULL;

    while ((each = name_table_next(&e->waits, each)) != NULL) {
        struct eio_wait *w = (struct eio_wait *)each;

        w->decided = true;
        ws_retry(w->conn);
    }
}

void eio_waits_release(struct eio_server *e)
{
    struct name_entry *each;
    size_t from = 0;

    while ((each = name_table_pop(&e->waits, &from)) != NULL)
        ws_account_give(e->account, each, sizeof(struct eio_wait));
    name_table_release(&e->waits);
}

/* --- the API ---------------------------------------------------------------------------------- */

struct eio_decision eio_decide_later(struct eio_server *e, const struct eio_handshake *h)
{
    struct eio_wait *w = eio_wait_find(e, h->conn);
    struct eio_decision none = {.server = NULL};

    if (w == NULL) {
        w = ws_account_take(e->account, sizeof *w);
        e->wait_failed = true;
        if (w == NULL)
            return none;
        w->conn = h->conn;
        w->conn_id = ws_conn_id(h->conn);
        w->number = ++e->last_wait;
        if (!name_table_add(&e->waits, &w->entry, name_of(&w->conn_id))) {
            ws_account_give(e->account, w, sizeof *w);
            return none;
        }
        e->wait_failed = false;
    }
    return (struct eio_decision){.server = e, .connection = w->conn_id, .number = w->number};
}

int eio_decide(struct eio_decision *d, const char *refusal)
{
    struct eio_wait *w = d->server == NULL ? NULL : find(d->server, d->connection);
    bool is_open = w != NULL && w->number == d->number && !w->decided;

    d->server = NULL;
    if (!is_open)
        return WS_ERR_CLOSED;
    w->decided = true;
    w->refused = refusal != NULL;
    if (refusal != NULL)
        memcpy(w->text, refusal, eio_refusal_len(refusal)); /* a NUL is behind it */
    ws_retry(w->conn); /* it is not deferred yet where on_handshake has not returned */
    return 0;
}
