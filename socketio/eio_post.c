/* SPDX-License-Identifier: MIT
 *
 * The POST of a session on polling, one at a time:
 *
 *     head --> uploading --> its packets --> "ok"
 *       |         ^              |  ^
 *       +-> waiting              +--+ the rest of them in the next turn
 *
 * While more than high_water bytes are queued, its body is not read: its packets would cause more
 * output. This lasts at most WAIT_MS, since a client with one connection at a time polls only after
 * its POST is answered. For the same reason "ok" is sent without waiting for a poll. */
#include "eio_post.h"

#include <string.h>

#include "eio_codec.h"
#include "eio_output.h"
#include "eio_session.h"

enum { WAIT_MS = 1000 };

/* --- the timer -------------------------------------------------------------------------------- */

static void work(struct eio_session *s, struct ws_str payload);

static void timer_fired(void *arg)
{
    struct eio_session *s = arg;
    struct eio_server *e = s->server;

    eio_enter(e);
    if (s->rest != NULL)
        work(s, (struct ws_str){s->rest + s->rest_at, s->rest_size - s->rest_at});
    else
        eio_output_resume_post(s);
    eio_leave(e);
}

/* False when out of memory. */
static bool post_timer_set(struct eio_session *s, unsigned ms)
{
    if (s->post_timer == NULL)
        s->post_timer = ws_timer_new(s->server->ws, s->account, timer_fired, s);
    if (s->post_timer != NULL)
        ws_timer_set(s->post_timer, ms);
    return s->post_timer != NULL;
}

/* --- from the head to the body ---------------------------------------------------------------- */

/* Protocol 3 sent binary payloads with this type. Only this spelling is refused, as in the
 * reference: some clients send text with another spelling. */
static bool is_octet_stream(struct ws_str type)
{
    return ws_str_is(type, "application/octet-stream");
}

static void wait_for_poll(struct eio_session *s)
{
    if (s->queue.len <= s->server->options.high_water || !post_timer_set(s, WAIT_MS))
        return;
    s->waiting = true;
    ws_pause(s->post.conn);
}

/* A second POST at the same time ends the session: its packets could be handled before those of the
 * first. */
void eio_post_admit(struct eio_session *s, const struct eio_asker *to, const struct ws_request *req)
{
    if (s->post.conn != NULL || s->rest != NULL ||
        is_octet_stream(ws_request_header(req, "Content-Type"))) {
        eio_session_end(s, EIO_TRANSPORT_ERROR);
        eio_reply(&s->server->options, to, 400, EIO_BODY_NONE, NULL, 0, NULL);
        return;
    }
    s->uploading = true;
    eio_session_hold(s, &s->post, to);
    wait_for_poll(s);
}

/* --- its packets ------------------------------------------------------------------------------ */

/* Handle packets. Returns true if some are left because the share of the turn is used up. */
static bool packets(struct eio_session *s, struct ws_str *payload)
{
    struct eio_server *e = s->server;
    struct ws_str packet;

    while (!s->ended && eio_payload_next(payload, &packet)) {
        size_t before = e->queued_count;

        eio_session_packet(s, packet, false);
        if (ws_turn_over(e->ws, e->queued_count - before) && !s->ended && payload->data != NULL)
            return true;
    }
    return false;
}

/* Go on with `payload` in the next turn. False when out of memory. */
static bool put_off(struct eio_session *s, struct ws_str payload)
{
    if (!post_timer_set(s, 0))
        return false;
    if (s->rest == NULL) {
        s->rest = ws_account_resize(s->account, NULL, 0, payload.len);
        if (s->rest == NULL)
            return false;
        memcpy(s->rest, payload.data, payload.len);
        s->rest_size = payload.len;
    }
    s->rest_at = s->rest_size - payload.len;
    return true;
}

/* All packets are handled, or the session has ended; then its reason decides the response. If there
 * is no request to answer, the client has either abandoned it, which ends the session, or moved to
 * a WebSocket. */
static void done(struct eio_session *s)
{
    if (s->post.conn == NULL && s->ws != NULL)
        ws_resume(s->ws);
    else if (s->post.conn == NULL)
        eio_session_end(s, EIO_TRANSPORT_ERROR);
    else if (s->ended && s->reason == EIO_PARSE_ERROR)
        eio_output_refuse_post(s, 400);
    else
        eio_output_answer_post(s);
}

/* While `working` is set, the end of the session does not answer the POST and does not free
 * `rest`. */
static void work(struct eio_session *s, struct ws_str payload)
{
    bool more;

    s->working = true;
    do
        more = packets(s, &payload);
    while (more && !put_off(s, payload));
    s->working = false;
    if (more)
        return;
    eio_session_drop_post(s);
    done(s);
}

void eio_post_come(struct eio_session *s, struct ws_str payload)
{
    eio_output_resume_post(s); /* the pause may be over because the client has closed */
    s->uploading = false;
    work(s, payload);
}

/* --- its end ---------------------------------------------------------------------------------- */

/* Packets that have arrived are still handled. */
bool eio_post_left(struct eio_session *s)
{
    eio_asker_release(&s->post, s->account);
    s->uploading = s->waiting = false;
    return s->rest == NULL && !s->working;
}
