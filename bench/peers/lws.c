/* SPDX-License-Identifier: MIT
 *
 * Debian's libwebsockets as a peer of the benchmark: lws PORT echo|chat. Messages are put together
 * whole, as the other servers do, and leave in one lws_write(); text is checked to be UTF-8. The
 * load generator has a limited number of messages under way, so that the queues need no limit
 * here. */
#include <err.h>
#include <libwebsockets.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { RECEIVE_SIZE = 128 * 1024 };

/* One message, shared by all who get it. */
struct message {
    unsigned refs;
    enum lws_write_protocol type;
    size_t len;
    size_t cap;
    unsigned char bytes[]; /* LWS_PRE for the header, then the payload */
};

struct session {
    struct lws *wsi;
    struct session *next;
    struct message *incoming;
    struct message **queue;
    size_t head;
    size_t count;
    size_t cap; /* a power of 2, or 0 */
};

struct server {
    bool room;
    struct session *sessions;
};

static struct message *message_grow(struct message *m, size_t len)
{
    size_t used = m == NULL ? 0 : m->len;
    size_t cap = m == NULL ? 0 : m->cap;

    if (m != NULL && cap - used >= len)
        return m;
    cap = cap * 2 + len;
    m = realloc(m, sizeof *m + LWS_PRE + cap);
    if (m == NULL)
        err(EXIT_FAILURE, "realloc");
    m->refs = 1;
    m->len = used;
    m->cap = cap;
    return m;
}

static void message_unref(struct message *m)
{
    if (m != NULL && --m->refs == 0)
        free(m);
}

static void session_push(struct session *s, struct message *m)
{
    if (s->count == s->cap) {
        size_t cap = s->cap == 0 ? 4 : s->cap * 2;
        struct message **queue = calloc(cap, sizeof(struct message *));

        if (queue == NULL)
            err(EXIT_FAILURE, "calloc");
        for (size_t i = 0; i < s->count; i++)
            queue[i] = s->queue[(s->head + i) & (s->cap - 1)];
        free(s->queue);
        s->queue = queue;
        s->head = 0;
        s->cap = cap;
    }
    s->queue[(s->head + s->count++) & (s->cap - 1)] = m;
    m->refs++;
    lws_callback_on_writable(s->wsi);
}

static struct message *session_pop(struct session *s)
{
    struct message *m = s->queue[s->head];

    s->head = (s->head + 1) & (s->cap - 1);
    s->count--;
    return m;
}

static int session_write(struct session *s)
{
    while (s->count > 0) {
        struct message *m = session_pop(s);
        int n = lws_write(s->wsi, m->bytes + LWS_PRE, m->len, m->type);

        message_unref(m);
        if (n < 0)
            return -1;
        if (s->count > 0 && lws_send_pipe_choked(s->wsi)) {
            lws_callback_on_writable(s->wsi);
            return 0;
        }
    }
    return 0;
}

static void session_receive(struct server *server, struct session *s, const void *data, size_t len)
{
    struct message *m = s->incoming = message_grow(s->incoming, len);

    memcpy(m->bytes + LWS_PRE + m->len, data, len);
    m->len += len;
    if (!lws_is_final_fragment(s->wsi) || lws_remaining_packet_payload(s->wsi) != 0)
        return;
    m->type = lws_frame_is_binary(s->wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
    s->incoming = NULL;
    if (!server->room)
        session_push(s, m);
    for (struct session *to = server->room ? server->sessions : NULL; to != NULL; to = to->next)
        session_push(to, m);
    message_unref(m);
}

static void session_end(struct server *server, struct session *s)
{
    struct session **link = &server->sessions;

    while (*link != NULL && *link != s)
        link = &(*link)->next;
    if (*link != NULL)
        *link = s->next;
    while (s->count > 0)
        message_unref(session_pop(s));
    message_unref(s->incoming);
    free(s->queue);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len)
{
    struct server *server = lws_context_user(lws_get_context(wsi));
    struct session *s = user;

    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        *s = (struct session){.wsi = wsi, .next = server->sessions};
        server->sessions = s;
        break;
    case LWS_CALLBACK_RECEIVE:
        session_receive(server, s, in, len);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return session_write(s);
    case LWS_CALLBACK_CLOSED:
        session_end(server, s);
        break;
    default:
        break;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct lws_protocols protocols[] = {
        {"", on_event, sizeof(struct session), RECEIVE_SIZE, 0, NULL, 0},
        {NULL, NULL, 0, 0, 0, NULL, 0},
    };
    struct server server = {.room = argc == 3 && strcmp(argv[2], "echo") != 0};
    struct lws_context_creation_info info = {
        .iface = "127.0.0.1",
        .protocols = protocols,
        .user = &server,
        .pt_serv_buf_size = RECEIVE_SIZE,
        .options = LWS_SERVER_OPTION_VALIDATE_UTF8 | LWS_SERVER_OPTION_DISABLE_IPV6,
    };
    struct lws_context *context;
    struct rlimit limit;

    if (argc != 3)
        errx(2, "usage: lws PORT echo|chat");
    info.port = (int)strtol(argv[1], NULL, 10);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    lws_set_log_level(LLL_ERR, NULL);
    context = lws_create_context(&info);
    if (context == NULL)
        errx(EXIT_FAILURE, "port %s: cannot listen", argv[1]);
    while (lws_service(context, 0) >= 0)
        continue;
    lws_context_destroy(context);
    return EXIT_SUCCESS;
}
