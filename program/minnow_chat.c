/* SPDX-License-Identifier: MIT
 *
 * Echo and chat; see minnow_chat.h. */
#include "minnow_chat.h"

#include <stdlib.h>
#include <string.h>

#include "minnow.h"

/* What the line at the end of a connection needs; only with -v. */
struct visit {
    unsigned long long messages;
    unsigned long long bytes;
    char address[WS_ADDRESS_SIZE]; /* copied at the start: the socket of a lost peer has no
                                      address */
    size_t path_len;               /* of the whole path; `path` has the beginning of it */
    char path[MINNOW_LOG_BEGINNING];
};

static struct minnow *minnow_of(const struct ws_conn *c)
{
    return ws_user(c);
}

/* "minnow: #7 127.0.0.1:5000 opened /room", without the end of the line. */
static void log_visit(const struct ws_conn *c, const struct visit *visit, const char *what)
{
    struct minnow_log *log = minnow_streams_begin_line(&minnow_of(c)->streams);

    minnow_log_add(log, "#%llu %s %s ", (unsigned long long)ws_conn_id(c), visit->address, what);
    minnow_log_add_beginning(log, visit->path, visit->path_len);
}

static bool visit_begin(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str path = ws_request_path(req);
    struct visit *visit = calloc(1, sizeof *visit);

    if (visit == NULL)
        return false; /* uncovered: no test makes malloc() fail in the program */
    visit->path_len = path.len;
    memcpy(visit->path, path.data,
           path.len < MINNOW_LOG_BEGINNING ? path.len : MINNOW_LOG_BEGINNING);
    ws_conn_address(c, visit->address);
    ws_set_data(c, visit);
    log_visit(c, visit, "opened");
    minnow_streams_end_line(&minnow_of(c)->streams);
    return true;
}

static void visit_end(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    struct minnow_log *log = &minnow_of(c)->streams.log;
    struct visit *visit = ws_data(c);

    if (visit == NULL)
        return; /* uncovered: the same, and the connection that was closed for it */
    log_visit(c, visit, "closed");
    minnow_log_add(log, ": %u \"", code);
    minnow_log_add_text(log, reason, len);
    minnow_log_add(log, "\", %llu message%s, %llu byte%s received", visit->messages,
                   visit->messages == 1 ? "" : "s", visit->bytes, visit->bytes == 1 ? "" : "s");
    minnow_streams_end_line(&minnow_of(c)->streams);
    free(visit);
}

static void on_open(struct ws_conn *c, const struct ws_request *req)
{
    const struct minnow_options *options = minnow_of(c)->options;
    int error = 0;

    if (options->verbosity == MINNOW_VERBOSE && !visit_begin(c, req))
        error = WS_ERR_NOMEM; /* uncovered: the same */
    if (error == 0 && !options->echo)
        error = ws_join(c, ws_request_path(req)); /* the path is the room */
    if (error != 0)
        ws_close(c, WS_CLOSE_TRY_LATER, ws_strerror(error));
}

static void visit_message(struct ws_conn *c, size_t len)
{
    struct visit *visit = ws_data(c);

    if (visit == NULL)
        return;
    visit->messages++;
    visit->bytes += len;
}

static void close_unsent(struct ws_conn *c, ptrdiff_t error)
{
    ws_close(c, WS_CLOSE_TRY_LATER, ws_strerror((int)error));
}

static void on_echo(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    int result;

    visit_message(c, len);
    result = ws_send(c, opcode, data, len);
    if (result < 0)
        close_unsent(c, result);
}

static void on_chat(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    ptrdiff_t result;

    visit_message(c, len);
    result = ws_publish(ws_conn_server(c), ws_conn_room(c, 0), NULL, opcode, data, len);
    if (result < 0)
        close_unsent(c, result);
}

void minnow_chat_handle(struct ws_handlers *handlers, const struct minnow_options *options)
{
    handlers->on_open = on_open;
    handlers->on_message = options->echo ? on_echo : on_chat;
    handlers->on_close = options->verbosity == MINNOW_VERBOSE ? visit_end : NULL;
}
