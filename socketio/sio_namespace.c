/* SPDX-License-Identifier: MIT
 *
 * Namespaces: opened by the application, or by a rule of it when a client asks for one. */
#include "sio_namespace.h"

#include <string.h>

#include "sio_packet.h"
#include "sio_recovery.h"

/* A namespace for every name that `match` takes. */
struct sio_rule {
    struct sio_rule *next;
    bool (*match)(void *user, struct ws_str name, struct ws_str auth);
    struct sio_handlers handlers;
};

/* --- opening and freeing ---------------------------------------------------------------------- */

/* Free a namespace that is not in the table. */
static void namespace_free(struct sio_namespace *n)
{
    struct ws_account *account = n->account;

    if (n->server->relay != NULL)
        n->server->relay->closing(n->server->relay, n);
    sio_recovery_free(n);
    if (n->server->ws != NULL) /* else ws_server_free() has freed the timer */
        ws_timer_cancel(n->recovery_timer);
    name_table_release(&n->rooms);
    name_table_release(&n->seats);
    ws_account_give(account, n, sio_namespace_size(n));
    ws_account_release(account);
}

void sio_namespace_free_unused(struct sio_namespace *n)
{
    if (!n->by_rule || n->first != NULL || !sio_recovery_is_idle(n))
        return;
    name_table_remove(&n->server->namespaces, &n->entry);
    namespace_free(n);
}

static void recovery_timer_fired(void *arg)
{
    struct sio_namespace *n = arg;
    struct sio_server *io = n->server;

    sio_callback_begin(io);
    sio_recovery_prune(n);
    sio_namespace_free_unused(n);
    sio_callback_end(io);
}

/* False when out of memory. */
static bool start_recovery(struct sio_namespace *n)
{
    if (n->server->options.recovery_ms == 0)
        return true;
    n->recovery_timer = ws_timer_new(n->server->ws, n->account, recovery_timer_fired, n);
    return n->recovery_timer != NULL && sio_recovery_init(n);
}

/* `account`: of the client that asks for the namespace, or of the server. */
static struct sio_namespace *namespace_open(struct sio_server *io, struct ws_account *account,
                                            struct ws_str name, const struct sio_handlers *handlers)
{
    struct sio_namespace *n;

    if (!sio_namespace_is_legal(name) || sio_namespace_named(io, name) != NULL)
        return NULL;
    n = ws_account_take(account, sizeof *n + name.len + 1);
    if (n == NULL)
        return NULL;
    n->account = ws_account_keep(account);
    n->entry.len = (uint32_t)name.len;
    memcpy(n->name, name.data, name.len);
    n->server = io;
    n->handlers = *handlers;
    n->by_rule = account != io->account;
    name_table_init(&n->rooms, io->account, io->sockets.key); /* rooms of all clients */
    name_table_init(&n->seats, io->account, io->sockets.key);
    if (!start_recovery(n) || (io->relay != NULL && !io->relay->opened(io->relay, n)) ||
        !name_table_add(&io->namespaces, &n->entry, (struct ws_str){n->name, name.len})) {
        namespace_free(n);
        return NULL;
    }
    return n;
}

struct sio_namespace *sio_namespace_new(struct sio_server *io, const char *name,
                                        const struct sio_handlers *handlers)
{
    return namespace_open(io, io->account, ws_str(name), handlers);
}

void sio_namespaces_free(struct sio_server *io)
{
    struct name_entry *e;
    size_t from = 0;

    while ((e = name_table_pop(&io->namespaces, &from)) != NULL)
        namespace_free((struct sio_namespace *)e);
    name_table_release(&io->namespaces);
    while (io->rules != NULL) {
        struct sio_rule *rule = io->rules;

        io->rules = rule->next;
        ws_account_give(io->account, rule, sizeof *rule);
    }
}

/* --- rules ------------------------------------------------------------------------------------ */

int sio_namespace_rule(struct sio_server *io,
                       bool (*match)(void *user, struct ws_str name, struct ws_str auth),
                       const struct sio_handlers *handlers)
{
    struct sio_rule *rule = ws_account_take(io->account, sizeof *rule);
    struct sio_rule **end = &io->rules;

    if (rule == NULL)
        return WS_ERR_NOMEM;
    rule->match = match;
    rule->handlers = *handlers;
    while (*end != NULL)
        end = &(*end)->next;
    *end = rule;
    return 0;
}

struct sio_namespace *sio_namespace_by_rule(struct sio_conn *c, struct ws_str name,
                                            struct ws_str auth)
{
    struct sio_rule *rule = c->server->rules;

    while (rule != NULL && !rule->match(rule->handlers.user, name, auth))
        rule = rule->next;
    return rule == NULL ? NULL : namespace_open(c->server, c->account, name, &rule->handlers);
}

/* --- what is known of a namespace ------------------------------------------------------------- */

struct sio_namespace *sio_namespace_named(const struct sio_server *io, struct ws_str name)
{
    return (struct sio_namespace *)name_table_find(&io->namespaces, name);
}

struct sio_namespace *sio_namespace_find(const struct sio_server *io, const char *name)
{
    return sio_namespace_named(io, ws_str(name));
}

struct ws_str sio_namespace_name(const struct sio_namespace *n)
{
    return (struct ws_str){n->name, n->entry.len};
}

struct sio_server *sio_namespace_server(const struct sio_namespace *n)
{
    return n->server;
}

void *sio_namespace_user(const struct sio_namespace *n)
{
    return n->handlers.user;
}

size_t sio_namespace_count(const struct sio_namespace *n)
{
    return n->connected;
}

static struct sio_socket *from(struct sio_socket *s)
{
    while (s != NULL && s->state != SIO_CONNECTED)
        s = s->next;
    return s;
}

struct sio_socket *sio_first(const struct sio_namespace *n)
{
    return from(n->first);
}

struct sio_socket *sio_next(const struct sio_socket *s)
{
    return from(s->next);
}
