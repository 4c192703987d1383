/* SPDX-License-Identifier: MIT
 *
 * Writes lines without blocking; see minnow_log.h. */
#include "minnow_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static const char cut[] = "...";

/* --- the descriptor --------------------------------------------------------------------------- */

/* Open the same pipe or terminal once more, to set O_NONBLOCK for this process only. -1: not
 * allowed, for instance because another user has made it, or /proc is missing. */
static int reopen(int fd)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void minnow_log_init(struct minnow_log *log, int fd)
{
    struct stat st;
    int own;

    *log = (struct minnow_log){.fd = fd, .way = MINNOW_LOG_PLAIN};
    if (fstat(fd, &st) != 0)
        return;
    if (S_ISSOCK(st.st_mode)) {
        log->way = MINNOW_LOG_SOCKET;
    } else if (S_ISFIFO(st.st_mode) || isatty(fd)) {
        own = reopen(fd);
        log->is_own = own >= 0;
        log->fd = log->is_own ? own : fd;
        log->way = log->is_own ? MINNOW_LOG_PLAIN : MINNOW_LOG_POLLED;
    }
}

void minnow_log_release(struct minnow_log *log)
{
    minnow_log_flush(log);
    if (log->is_own)
        close(log->fd);
    log->is_own = false;
}

/* As write(). If poll() says that a pipe is writable, it has room for PIPE_BUF bytes. This is not
 * certain for a terminal, or if another process writes to the pipe in between; then write() may
 * block. */
static ssize_t put(const struct minnow_log *log, const char *data, size_t len)
{
    struct pollfd ready = {.fd = log->fd, .events = POLLOUT};

    switch (log->way) {
    case MINNOW_LOG_SOCKET:
        return send(log->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case MINNOW_LOG_POLLED:
        errno = EAGAIN;
        if (poll(&ready, 1, 0) <= 0)
            return -1;
        break;
    case MINNOW_LOG_PLAIN:
        break;
    }
    return write(log->fd, data, len);
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Room that is left in the line, apart from its end. */
static size_t line_room(const struct minnow_log *log)
{
    return sizeof log->line - sizeof cut - log->line_len; /* cut's NUL stands for the newline */
}

static void add(struct minnow_log *log, const char *text, size_t len)
{
    size_t room = line_room(log);

    if (len > room) {
        log->is_cut = true;
        len = room;
    }
    memcpy(log->line + log->line_len, text, len);
    log->line_len += len;
}

void minnow_log_add(struct minnow_log *log, const char *format, ...)
{
    char text[MINNOW_LOG_LINE];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0)
        return; /* uncovered: no format of the program can fail */
    add(log, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

/* Is the first character a control character: C0, DEL, or C1 (two bytes in UTF-8)? Returns its
 * length, else 0. */
static size_t control_len(const char *text, size_t len)
{
    unsigned char first = (unsigned char)text[0];

    if (first < ' ' || first == 0x7f)
        return 1;
    return first == 0xc2 && len > 1 && (unsigned char)text[1] < 0xa0 ? 2 : 0;
}

void minnow_log_add_text(struct minnow_log *log, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t control = control_len(text + i, len - i);

        add(log, control > 0 ? "?" : text + i, 1);
        i += control > 0 ? control : 1;
    }
}

void minnow_log_add_beginning(struct minnow_log *log, const char *text, size_t len)
{
    minnow_log_add_text(log, text, len < MINNOW_LOG_BEGINNING ? len : MINNOW_LOG_BEGINNING);
    if (len > MINNOW_LOG_BEGINNING)
        minnow_log_add(log, "...");
}

/* --- kept lines ------------------------------------------------------------------------------- */

/* Once a line was dropped, later lines are dropped, too, until all kept lines are written: then one
 * line with their number takes their place. */
static bool must_drop(const struct minnow_log *log)
{
    return log->dropped > 0 || log->line_len > sizeof log->kept - log->kept_len;
}

static void keep_line(struct minnow_log *log)
{
    memcpy(log->kept + log->kept_len, log->line, log->line_len);
    log->kept_len += log->line_len;
}

static void end_line(struct minnow_log *log)
{
    if (log->is_cut) {
        memcpy(log->line + log->line_len, cut, strlen(cut));
        log->line_len += strlen(cut);
    }
    log->line[log->line_len++] = '\n';
    log->is_cut = false;
}

void minnow_log_drop(struct minnow_log *log)
{
    log->line_len = 0;
    log->is_cut = false;
}

void minnow_log_take(struct minnow_log *log, char *out, size_t size)
{
    size_t len = log->line_len < size ? log->line_len : size - 1;

    memcpy(out, log->line, len);
    out[len] = '\0';
    minnow_log_drop(log);
}

void minnow_log_end(struct minnow_log *log)
{
    int error = 0;

    end_line(log);
    if (must_drop(log))
        error = minnow_log_flush(log);
    if (!must_drop(log))
        keep_line(log);
    else if (log->dropped++ == 0)
        log->why = error;
    log->line_len = 0;
}

/* How many bytes to write at once: whole lines, at most as many bytes as a pipe accepts at once. So
 * lines of other processes do not appear inside one of ours. */
static size_t piece_len(const struct minnow_log *log)
{
    const char *end;

    if (log->kept_len <= PIPE_BUF)
        return log->kept_len;
    end = memrchr(log->kept, '\n', PIPE_BUF);
    return end == NULL ? PIPE_BUF : (size_t)(end + 1 - log->kept);
}

static int write_kept(struct minnow_log *log)
{
    while (log->kept_len > 0) {
        ssize_t n = put(log, log->kept, piece_len(log));

        if (n < 0 && errno == EINTR)
            continue; /* uncovered: `make campaign` lets it fail */
        if (n <= 0)
            return n == 0 ? EAGAIN : errno;
        log->kept_len -= (size_t)n;
        memmove(log->kept, log->kept + n, log->kept_len);
    }
    return 0;
}

int minnow_log_flush(struct minnow_log *log)
{
    int error = write_kept(log);

    if (error != 0 || log->dropped == 0)
        return error;
    log->kept_len = (size_t)snprintf(
        log->kept, sizeof log->kept, "minnow: %llu %s dropped here: %s\n", log->dropped,
        log->dropped == 1 ? "line of the log was" : "lines of the log were",
        log->why == EAGAIN ? "nobody read it" : strerror(log->why));
    log->dropped = 0;
    return write_kept(log);
}
