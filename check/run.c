/* SPDX-License-Identifier: MIT
 *
 * Plays cases; see run.h.
 *
 * A job is a case on its connection. Its script is played step by step: a step that sends is over
 * when the socket has taken all of it, a step that expects when what it waits for is among the
 * items that have come. What comes is cut into items as soon as it is there, whatever the step: so
 * the server may answer while a large message is still on its way to it. */
#include "run.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024, HEAD_MAX = 64 * 1024 };

enum item_kind { ITEM_MESSAGE, ITEM_PONG, ITEM_CLOSE, ITEM_END };

/* Something that has come from the server, and no step has taken yet. */
struct item {
    struct item *next;
    enum item_kind kind;
    unsigned opcode; /* of a message */
    unsigned code;   /* of a Close; 0: it has no status */
    struct bytes payload;
};

struct job {
    int fd; /* -1: it plays no case */
    struct result *result;
    struct script script;
    size_t step;
    size_t sent;       /* bytes of a step that sends */
    uint64_t begun_ms; /* when the case was begun */
    uint64_t due_ms;   /* when the step has taken too long, or a wait is over */
    bool connecting;
    bool upgraded;      /* frames follow */
    bool closed_by_us;  /* a Close frame was sent */
    bool send_failed;   /* the server takes no more */
    bool reset;         /* the server has sent RST */
    bool ended;         /* no more comes */
    bool want_write;    /* epoll reports when the socket takes more */
    struct bytes in;    /* not cut into items yet */
    struct bytes reply; /* Pongs and a Close, sent between steps */
    struct bytes head;  /* of the last response, with its empty line */
    struct bytes part;  /* of a fragmented message */
    unsigned part_opcode;
    bool in_part;
    struct item *items;
    struct item **items_end;
};

struct run {
    const struct target *target;
    const struct run_options *options;
    int epoll_fd;
    struct job jobs[JOBS_MAX];
    uint8_t buffer[READ_SIZE];
};

const char *verdict_name(enum verdict v)
{
    static const char *const names[VERDICTS] = {"pass", "fail", "warn", "skip"};

    return names[v];
}

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- results ---------------------------------------------------------------------------------- */

static void note(struct job *job, bool sent, const void *data, size_t len)
{
    struct result *r = job->result;
    bool full = r->event_count == EVENTS_KEPT;
    struct event *e = &r->events[full ? EVENTS_KEPT - 1 : r->event_count];
    size_t max = job->upgraded ? EVENT_KEPT : HEAD_KEPT;

    r->event_count += !full;
    r->dropped += full;

    bytes_release(&e->bytes);
    *e = (struct event){.sent = sent, .http = !job->upgraded, .end = data == NULL, .total = len};
    bytes_add(&e->bytes, data, len < max ? len : max);
}

void result_release(struct result *r)
{
    for (size_t i = 0; i < r->event_count; i++)
        bytes_release(&r->events[i].bytes);
    r->event_count = 0;
}

/* The case is decided, unless it is a warning: then it goes on, and the first one stays. */
static void decide(struct job *job, enum verdict verdict, const char *reason)
{
    struct result *r = job->result;

    if (r->verdict == VERDICT_WARN && verdict == VERDICT_WARN)
        return;
    r->verdict = verdict;
    snprintf(r->reason, sizeof r->reason, "%s", reason);
}

/* --- items ------------------------------------------------------------------------------------ */

static struct item *add_item(struct job *job, enum item_kind kind, const uint8_t *data, size_t len)
{
    struct item *item = calloc(1, sizeof *item);

    if (item == NULL)
        abort();
    item->kind = kind;
    bytes_add(&item->payload, data, len);
    *job->items_end = item;
    job->items_end = &item->next;
    return item;
}

static struct item *find_item(const struct job *job, enum item_kind kind)
{
    struct item *item = job->items;

    while (item != NULL && item->kind != kind)
        item = item->next;
    return item;
}

static void take_item(struct job *job, struct item *item)
{
    struct item **link = &job->items;

    while (*link != item)
        link = &(*link)->next;
    *link = item->next;
    if (job->items_end == &item->next)
        job->items_end = link;
    bytes_release(&item->payload);
    free(item);
}

/* Answer a frame of the server's, as a client has to. */
static void reply(struct job *job, unsigned opcode, const uint8_t *data, size_t len)
{
    size_t at = job->reply.len;

    if (job->closed_by_us)
        return;
    job->closed_by_us = opcode == OP_CLOSE;
    frame_write(&job->reply,
                &(struct out_frame){.opcode = opcode, .fin = true, .payload = data, .len = len});
    note(job, true, job->reply.data + at, job->reply.len - at);
}

/* Returns what is wrong with a Close frame of the server, or NULL. */
static const char *take_close(struct job *job, const struct in_frame *f)
{
    unsigned code = f->len >= 2 ? (unsigned)f->payload[0] << 8 | f->payload[1] : 0;

    add_item(job, ITEM_CLOSE, f->payload, (size_t)f->len)->code = code;
    reply(job, OP_CLOSE, f->payload, f->len >= 2 ? 2 : 0);
    if (f->len == 1)
        return "the server's Close frame has a payload of one byte (RFC 6455 §5.5.1)";
    if (f->len >= 2 && is_forbidden_status(code))
        return "the server's Close frame has a status that must not be sent (RFC 6455 §7.4)";
    if (f->len > 2 && !is_utf8(f->payload + 2, (size_t)f->len - 2))
        return "the reason in the server's Close frame is not UTF-8 (RFC 6455 §5.5.1)";
    return NULL;
}

/* Returns what is wrong with a data frame of the server, or NULL. */
static const char *take_data(struct job *job, const struct in_frame *f)
{
    struct item *item;

    if ((f->opcode == OP_CONTINUATION) != job->in_part)
        return job->in_part
                   ? "the server begins a message before its last one has ended (RFC 6455 §5.4)"
                   : "the server continues a message that it has not begun (RFC 6455 §5.4)";
    if (f->opcode != OP_CONTINUATION)
        job->part_opcode = f->opcode;
    job->in_part = !f->fin;
    bytes_add(&job->part, f->payload, (size_t)f->len);
    if (!f->fin)
        return NULL;
    item = add_item(job, ITEM_MESSAGE, NULL, 0);
    item->opcode = job->part_opcode;
    item->payload = job->part;
    job->part = (struct bytes){0};
    if (item->opcode == OP_TEXT && !is_utf8(item->payload.data, item->payload.len))
        return "the server sends text that is not UTF-8 (RFC 6455 §5.6)";
    return NULL;
}

static const char *take_frame(struct job *job, const struct in_frame *f)
{
    if (find_item(job, ITEM_CLOSE) != NULL)
        return "the server sends a frame after its Close frame (RFC 6455 §5.5.1)";
    switch (f->opcode) {
    case OP_CLOSE:
        return take_close(job, f);
    case OP_PING:
        reply(job, OP_PONG, f->payload, (size_t)f->len);
        return NULL;
    case OP_PONG:
        add_item(job, ITEM_PONG, f->payload, (size_t)f->len);
        return NULL;
    default:
        return take_data(job, f);
    }
}

static void cut_frames(struct job *job)
{
    const char *fault = NULL;
    size_t at = 0;

    while (job->result->verdict != VERDICT_FAIL) {
        struct in_frame f;
        ptrdiff_t n = frame_read(&f, job->in.data + at, job->in.len - at, &fault);

        if (n == 0)
            break;
        note(job, false, job->in.data + at, n > 0 ? (size_t)n : job->in.len - at);
        if (n > 0)
            fault = take_frame(job, &f);
        if (fault != NULL)
            decide(job, VERDICT_FAIL, fault);
        at += n > 0 ? (size_t)n : job->in.len - at;
    }
    memmove(job->in.data, job->in.data + at, job->in.len - at);
    job->in.len -= at;
}

static void input_ended(struct job *job)
{
    if (job->ended)
        return;
    if (job->in.len > 0)
        note(job, false, job->in.data, job->in.len);
    note(job, false, NULL, 0);
    job->ended = true;
    add_item(job, ITEM_END, NULL, 0);
}

static void read_input(struct run *run, struct job *job)
{
    ssize_t n;

    if (job->ended)
        return;
    n = recv(job->fd, run->buffer, sizeof run->buffer, 0);
    if (n > 0)
        bytes_add(&job->in, run->buffer, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        job->reset |= n < 0;
        input_ended(job);
    }
    if (job->upgraded && job->in.len > 0)
        cut_frames(job);
}

/* --- responses -------------------------------------------------------------------------------- */

/* The value of field `name` in the head, without white space around it, or NULL. */
static bool header_of(const struct job *job, const char *name, char *out, size_t size)
{
    const char *line = job->head.len > 0 ? (const char *)job->head.data : "";
    size_t len = strlen(name);

    while ((line = strstr(line, "\r\n")) != NULL) {
        const char *value, *end;

        line += 2;
        if (strncasecmp(line, name, len) != 0 || line[len] != ':')
            continue;
        value = line + len + 1 + strspn(line + len + 1, " \t");
        end = strstr(value, "\r\n");
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        snprintf(out, size, "%.*s", (int)(end - value), value);
        return true;
    }
    return false;
}

static bool has_token(const char *list, const char *token)
{
    size_t len = strlen(token);

    while (*list != '\0') {
        size_t item = strcspn(list, ",");
        size_t skip = strspn(list, " \t");
        size_t end = item;

        while (end > skip && (list[end - 1] == ' ' || list[end - 1] == '\t'))
            end--;
        if (end - skip == len && strncasecmp(list + skip, token, len) == 0)
            return true;
        list += item;
        list += *list == ',';
    }
    return false;
}

/* The body's length where the head says it; -1: until the end; -2: it is chunked. */
static long body_length(const struct job *job, int status)
{
    char value[64];

    if (status < 200 || status == 204 || status == 304)
        return 0;
    if (header_of(job, "Transfer-Encoding", value, sizeof value) && has_token(value, "chunked"))
        return -2;
    if (header_of(job, "Content-Length", value, sizeof value))
        return atol(value);
    return -1;
}

static bool has_last_chunk(const struct bytes *in)
{
    return in->len >= 5 && (memcmp(in->data, "0\r\n\r\n", 5) == 0 ||
                            memmem(in->data, in->len, "\r\n0\r\n\r\n", 7) != NULL);
}

/* Is the body there? Then it is dropped. */
static bool drop_body(struct job *job, int status)
{
    long len = body_length(job, status);

    if (len >= 0 && job->in.len >= (size_t)len) {
        memmove(job->in.data, job->in.data + len, job->in.len - (size_t)len);
        job->in.len -= (size_t)len;
        return true;
    }
    if (job->ended || (len == -2 && has_last_chunk(&job->in))) {
        job->in.len = 0;
        return true;
    }
    return false;
}

/* Move a head that has come whole from `in` to `head`. */
static bool take_head(struct job *job)
{
    uint8_t *end = job->in.len == 0 ? NULL : memmem(job->in.data, job->in.len, "\r\n\r\n", 4);
    size_t len = end == NULL ? 0 : (size_t)(end - job->in.data) + 4;

    if (end == NULL)
        return false;
    job->head.len = 0;
    bytes_add(&job->head, job->in.data, len);
    bytes_add(&job->head, "", 1);
    note(job, false, job->in.data, len);
    memmove(job->in.data, job->in.data + len, job->in.len - len);
    job->in.len -= len;
    return true;
}

/* --- steps: each returns whether it is over --------------------------------------------------- */

enum progress { MORE, OVER };

static void fall_short(struct job *job, const struct step *step, const char *reason)
{
    decide(job, step->should ? VERDICT_WARN : VERDICT_FAIL, reason);
}

/* Send what is in `b` from `*at` on, at most `max` bytes in one piece. */
static enum progress send_some(struct job *job, const struct bytes *b, size_t *at, size_t max)
{
    while (*at < b->len && !job->send_failed) {
        size_t left = b->len - *at;
        ssize_t n = send(job->fd, b->data + *at, max != 0 && max < left ? max : left, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN)
            return MORE;
        if (n < 0 && errno != EINTR)
            job->send_failed = job->reset = true; /* Close comes before our FIN */
        *at += n > 0 ? (size_t)n : 0;
        if (max != 0 && *at < b->len)
            return MORE;
    }
    return OVER;
}

static enum progress step_send(struct job *job, const struct step *step)
{
    if (job->sent == 0) {
        note(job, true, step->bytes.len == 0 ? (const void *)"" : step->bytes.data,
             step->bytes.len);
        job->closed_by_us |= step->closes;
    }
    if (send_some(job, &step->bytes, &job->sent, step->chunk) == MORE)
        return MORE;
    job->sent = 0;
    return OVER;
}

static enum progress step_fin(struct job *job)
{
    shutdown(job->fd, SHUT_WR);
    note(job, true, NULL, 0);
    return OVER;
}

static enum progress step_response(struct job *job, const struct step *step)
{
    char reason[REASON_SIZE];
    int status = 0;

    if (job->head.len == 0 && !take_head(job)) {
        if (!job->ended && job->in.len <= HEAD_MAX)
            return MORE;
        if (!step->or_end || job->in.len > 0)
            fall_short(job, step, "the connection ended without a response");
        return OVER;
    }
    if (sscanf((const char *)job->head.data, "HTTP/1.%*1[01] %3d", &status) != 1) {
        decide(job, VERDICT_FAIL, "what came is not a response of HTTP/1.1");
        return OVER;
    }
    job->upgraded = status == 101;
    if (!drop_body(job, status))
        return MORE;
    if (status < step->low || status > step->high) {
        snprintf(reason, sizeof reason, "the response has status %d", status);
        fall_short(job, step, reason);
    }
    if (job->upgraded)
        cut_frames(job);
    return OVER;
}

static bool header_matches(const struct step *step, const char *value)
{
    const char *text = (const char *)step->bytes.data;

    switch (step->match) {
    case MATCH_ABSENT:
        return value == NULL;
    case MATCH_ABSENT_OR_IS:
        return value == NULL || strcasecmp(value, text) == 0;
    case MATCH_IS:
        return value != NULL && strcasecmp(value, text) == 0;
    case MATCH_EXACTLY:
        return value != NULL && strcmp(value, text) == 0;
    case MATCH_HAS_TOKEN:
        return value != NULL && has_token(value, text);
    }
    return false;
}

static enum progress step_header(struct job *job, const struct step *step)
{
    char value[512];
    char reason[REASON_SIZE];
    bool there = header_of(job, step->name, value, sizeof value);

    if (header_matches(step, there ? value : NULL))
        return OVER;
    if (there)
        snprintf(reason, sizeof reason, "the response has \"%s: %.160s\"", step->name, value);
    else
        snprintf(reason, sizeof reason, "the response has no field %s", step->name);
    fall_short(job, step, reason);
    return OVER;
}

/* Why what is awaited will not come any more; `out` gets a sentence. */
static bool is_hopeless(const struct job *job, char out[REASON_SIZE])
{
    const struct item *close = find_item(job, ITEM_CLOSE);

    if (close != NULL)
        snprintf(out, REASON_SIZE, "the server closes the connection, with status %u", close->code);
    else if (job->ended)
        snprintf(out, REASON_SIZE, "the server ends the TCP connection without a Close frame");
    return close != NULL || job->ended;
}

/* Where two payloads differ, as a sentence. */
static void say_difference(char out[REASON_SIZE], const struct bytes *wanted,
                           const struct bytes *came)
{
    size_t at = 0;

    while (at < wanted->len && at < came->len && wanted->data[at] == came->data[at])
        at++;
    if (wanted->len != came->len)
        snprintf(out, REASON_SIZE, "%zu bytes come, not %zu; they differ from byte %zu on",
                 came->len, wanted->len, at);
    else
        snprintf(out, REASON_SIZE, "byte %zu is %02x, not %02x", at, came->data[at],
                 wanted->data[at]);
}

static bool are_equal(const struct bytes *a, const struct bytes *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* A server may have limits, RFC 6455 §10.4, and says so by one of these. */
static bool is_limit(const struct job *job, const struct item *close)
{
    return close != NULL && job->result->of->level == LEVEL_LIMITS &&
           (close->code == 1008 || close->code == 1009 || close->code == 1013);
}

static enum progress step_message(struct job *job, const struct step *step)
{
    char reason[REASON_SIZE];
    struct item *item = find_item(job, ITEM_MESSAGE);
    const struct item *close = find_item(job, ITEM_CLOSE);

    if (item == NULL && !is_hopeless(job, reason))
        return MORE;
    if (item == NULL && is_limit(job, close)) {
        snprintf(reason, sizeof reason, "the server has a lower limit: it closes with %u",
                 close->code);
        decide(job, VERDICT_SKIP, reason);
    } else if (item == NULL && close == NULL && job->ended &&
               job->result->of->level == LEVEL_LIMITS) {
        decide(job, VERDICT_WARN, reason); /* a limit, too, but not said by a Close */
    } else if (item == NULL) {
        fall_short(job, step, reason);
    } else if (item->opcode != step->opcode) {
        fall_short(job, step,
                   step->opcode == OP_TEXT ? "a binary message comes, not text"
                                           : "a text message comes, not binary");
    } else if (!are_equal(&item->payload, &step->bytes)) {
        say_difference(reason, &step->bytes, &item->payload);
        fall_short(job, step, reason);
    }
    if (item != NULL)
        take_item(job, item);
    return OVER;
}

/* Pongs to earlier Pings, and unsolicited ones, may come before it. */
static enum progress step_pong(struct job *job, const struct step *step)
{
    char reason[REASON_SIZE];
    struct item *item;
    bool seen = false;

    while ((item = find_item(job, ITEM_PONG)) != NULL && !seen) {
        seen = are_equal(&item->payload, &step->bytes);
        take_item(job, item);
    }
    if (seen)
        return OVER;
    if (!is_hopeless(job, reason))
        return MORE;
    fall_short(job, step, reason);
    return OVER;
}

static bool code_will_do(const struct step *step, const struct item *close)
{
    return close->code == step->code || (step->other != 0 && close->code == step->other) ||
           step->any_code;
}

/* The TCP connection has ended. */
static void judge_end(struct job *job, const struct step *step)
{
    const struct item *close = find_item(job, ITEM_CLOSE);
    char reason[REASON_SIZE];

    if (!step->may_answer && find_item(job, ITEM_MESSAGE) != NULL) {
        fall_short(job, step, "the server answers with a message");
    } else if (!job->upgraded && job->in.len > 0) {
        fall_short(job, step, "more comes than one response");
    } else if (step->kind == STEP_END) {
        return;
    } else if (close == NULL) {
        decide(job, step->kind == STEP_FAILURE ? VERDICT_WARN : VERDICT_FAIL,
               "the connection ends without a Close frame");
    } else if (!code_will_do(step, close)) {
        snprintf(reason, sizeof reason, "the server closes with %u, not %u", close->code,
                 step->code);
        decide(job, VERDICT_WARN, reason);
    } else if (step->kind == STEP_CLOSE && job->reset) {
        decide(job, VERDICT_WARN, "the server resets the TCP connection behind its Close frame");
    }
}

static enum progress step_end(struct job *job, const struct step *step)
{
    bool answered = !step->may_answer && find_item(job, ITEM_MESSAGE) != NULL;

    if (!job->ended && !answered)
        return MORE;
    judge_end(job, step);
    return OVER;
}

/* A message that comes too early is an answer to what should have been refused. */
static enum progress step_quiet(struct job *job, const struct step *step)
{
    char reason[REASON_SIZE];

    if (is_hopeless(job, reason)) {
        fall_short(job, step, reason);
        return OVER;
    }
    if (find_item(job, ITEM_MESSAGE) != NULL) {
        fall_short(job, step, "the server sends a message");
        return OVER;
    }
    return MORE;
}

static enum progress play_step(struct job *job, const struct step *step)
{
    switch (step->kind) {
    case STEP_SEND:
        return step_send(job, step);
    case STEP_FIN:
        return step_fin(job);
    case STEP_WAIT:
        return MORE;
    case STEP_RESPONSE:
        return step_response(job, step);
    case STEP_HEADER:
        return step_header(job, step);
    case STEP_MESSAGE:
        return step_message(job, step);
    case STEP_PONG:
        return step_pong(job, step);
    case STEP_CLOSE:
    case STEP_FAILURE:
    case STEP_END:
        return step_end(job, step);
    case STEP_QUIET:
        return step_quiet(job, step);
    }
    return OVER;
}

/* What it means that a step has taken its time. */
static void step_expired(struct job *job, const struct step *step)
{
    switch (step->kind) {
    case STEP_WAIT:
    case STEP_QUIET:
        break; /* as it should be */
    case STEP_SEND:
        decide(job, VERDICT_FAIL, "the server stops reading");
        break;
    case STEP_RESPONSE:
        fall_short(job, step, "no response comes");
        break;
    case STEP_PONG:
        fall_short(job, step, "no Pong with that payload comes");
        break;
    case STEP_CLOSE:
    case STEP_FAILURE:
    case STEP_END:
        fall_short(job, step,
                   find_item(job, ITEM_CLOSE) != NULL
                       ? "the server sends Close, but does not end the TCP connection"
                   : find_item(job, ITEM_MESSAGE) != NULL ? "the server answers with a message"
                                                          : "the connection goes on");
        break;
    default:
        fall_short(job, step, "nothing comes");
        break;
    }
}

/* --- jobs ------------------------------------------------------------------------------------- */

static bool is_decided(const struct job *job)
{
    return job->result->verdict == VERDICT_FAIL || job->result->verdict == VERDICT_SKIP;
}

static bool is_over(const struct job *job)
{
    return is_decided(job) || (!job->connecting && job->step == job->script.count);
}

static void begin_step(const struct run *run, struct job *job)
{
    const struct step *step = &job->script.steps[job->step];

    if (job->step < job->script.count)
        job->due_ms = now_ms() + (step->ms != 0 ? step->ms : run->options->timeout_ms);
    if (job->step < job->script.count && step->kind == STEP_RESPONSE)
        job->head.len = 0;
}

static void watch(const struct run *run, struct job *job, bool write)
{
    struct epoll_event event = {.events = (job->ended ? 0 : EPOLLIN) | (write ? EPOLLOUT : 0),
                                .data.ptr = job};

    job->want_write = write;
    epoll_ctl(run->epoll_fd, EPOLL_CTL_MOD, job->fd, &event);
}

/* Play steps until one has to wait. */
static void play(const struct run *run, struct job *job)
{
    size_t at = 0;
    bool sending = false;

    while (!is_over(job)) {
        const struct step *step = &job->script.steps[job->step];

        if (job->sent == 0 && job->reply.len > 0) {
            sending = send_some(job, &job->reply, &at, 0) == MORE;
            memmove(job->reply.data, job->reply.data + at, job->reply.len - at);
            job->reply.len = job->send_failed ? 0 : job->reply.len - at;
            at = 0;
        }
        if (play_step(job, step) == MORE) {
            sending = sending || step->kind == STEP_SEND;
            break;
        }
        job->step++;
        begin_step(run, job);
    }
    if (!is_over(job))
        watch(run, job, sending);
}

static void finish(const struct run *run, struct job *job)
{
    job->result->ms = (unsigned)(now_ms() - job->begun_ms);
    epoll_ctl(run->epoll_fd, EPOLL_CTL_DEL, job->fd, NULL);
    close(job->fd);
    while (job->items != NULL)
        take_item(job, job->items);
    script_release(&job->script);
    bytes_release(&job->in);
    bytes_release(&job->reply);
    bytes_release(&job->head);
    bytes_release(&job->part);
    *job = (struct job){.fd = -1};
}

/* Returns 0 or an errno. */
static int begin(const struct run *run, struct job *job, const struct check_case *c,
                 struct result *result)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = job};
    const struct target *t = run->target;
    int one = 1;

    *result = (struct result){.of = c};
    *job = (struct job){.result = result, .connecting = true, .begun_ms = now_ms()};
    job->items_end = &job->items;
    job->script = (struct script){.host = t->host, .path = t->path};
    c->build(&job->script, c);
    job->due_ms = job->begun_ms + run->options->timeout_ms;
    job->fd = socket(t->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (job->fd < 0)
        return errno;
    setsockopt(job->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(job->fd, (const struct sockaddr *)&t->address, t->address_len) != 0 &&
        errno != EINPROGRESS)
        return errno;
    return epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, job->fd, &event) == 0 ? 0 : errno;
}

static void connected(const struct run *run, struct job *job)
{
    int error = 0;
    socklen_t len = sizeof error;

    getsockopt(job->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    job->connecting = false;
    if (error != 0)
        decide(job, VERDICT_FAIL, "the server does not accept the connection");
    begin_step(run, job);
}

/* The timeout of a message is for silence, since a large one takes its time. */
static void moved(const struct run *run, struct job *job)
{
    const struct step *step = &job->script.steps[job->step];

    if (job->step < job->script.count && (step->kind == STEP_SEND || step->kind == STEP_MESSAGE))
        job->due_ms = now_ms() + run->options->timeout_ms;
}

static void ready(struct run *run, struct job *job, uint32_t events)
{
    if (job->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        connected(run, job);
    if (job->connecting)
        return;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        read_input(run, job);
    moved(run, job);
    play(run, job);
}

static void expire(const struct run *run, struct job *job)
{
    if (job->connecting) {
        decide(job, VERDICT_FAIL, "the server does not accept the connection");
        return;
    }
    step_expired(job, &job->script.steps[job->step]);
    job->step++;
    job->sent = 0;
    begin_step(run, job);
    play(run, job);
}

/* --- the run ---------------------------------------------------------------------------------- */

static int next_timeout(const struct run *run)
{
    uint64_t now = now_ms();
    uint64_t first = UINT64_MAX;

    for (unsigned i = 0; i < run->options->jobs; i++)
        if (run->jobs[i].fd >= 0 && run->jobs[i].due_ms < first)
            first = run->jobs[i].due_ms;
    return first == UINT64_MAX ? -1 : first <= now ? 0 : (int)(first - now);
}

static void wait_and_serve(struct run *run)
{
    struct epoll_event events[JOBS_MAX];
    int n = epoll_wait(run->epoll_fd, events, JOBS_MAX, next_timeout(run));

    for (int i = 0; i < n; i++)
        ready(run, events[i].data.ptr, events[i].events);
}

static size_t end_those_that_are_over(struct run *run)
{
    size_t count = 0;
    uint64_t now = now_ms();

    for (unsigned i = 0; i < run->options->jobs; i++) {
        struct job *job = &run->jobs[i];

        if (job->fd >= 0 && !is_over(job) && job->due_ms <= now)
            expire(run, job);
        if (job->fd >= 0 && is_over(job)) {
            finish(run, job);
            count++;
        }
    }
    return count;
}

/* A server that is slow with large messages has less time for each the more come at once. */
enum { LIMITS_AT_ONCE = 4 };

static bool must_wait(const struct run *run, const struct check_case *c)
{
    unsigned busy = 0;

    for (unsigned i = 0; i < run->options->jobs; i++)
        busy += run->jobs[i].fd >= 0 && run->jobs[i].result->of->level == LEVEL_LIMITS;
    return c->level == LEVEL_LIMITS && busy >= LIMITS_AT_ONCE;
}

static int fill(struct run *run, const struct check_case *const *cases, size_t count, size_t *next,
                struct result *results)
{
    for (unsigned i = 0; i < run->options->jobs && *next < count; i++) {
        int error;

        if (run->jobs[i].fd >= 0)
            continue;
        if (must_wait(run, cases[*next]))
            break;
        error = begin(run, &run->jobs[i], cases[*next], &results[*next]);
        if (error != 0)
            return error;
        ++*next;
    }
    return 0;
}

int run_cases(const struct target *target, const struct check_case *const *cases, size_t count,
              struct result *results, const struct run_options *options, unsigned *ms)
{
    struct run *run = calloc(1, sizeof *run);
    uint64_t begun_ms = now_ms();
    size_t next = 0, done = 0;
    int error = 0;

    if (run == NULL)
        return ENOMEM;
    run->target = target;
    run->options = options;
    for (unsigned i = 0; i < JOBS_MAX; i++)
        run->jobs[i].fd = -1;
    run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (run->epoll_fd < 0)
        error = errno;
    while (error == 0 && done < count) {
        error = fill(run, cases, count, &next, results);
        if (error == 0)
            wait_and_serve(run);
        done += end_those_that_are_over(run);
        if (options->progress != NULL)
            options->progress(options->arg, done, count);
    }
    if (run->epoll_fd >= 0)
        close(run->epoll_fd);
    free(run);
    *ms = (unsigned)(now_ms() - begun_ms);
    return error;
}

int target_probe(const struct target *target, unsigned timeout_ms)
{
    int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;

    if (fd < 0)
        return errno;
    if (connect(fd, (const struct sockaddr *)&target->address, target->address_len) != 0 &&
        errno != EINPROGRESS)
        error = errno;
    else if (poll(&p, 1, (int)timeout_ms) <= 0)
        error = ETIMEDOUT;
    else
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    close(fd);
    return error;
}
