/* SPDX-License-Identifier: MIT
 *
 * The script of Socket.IO's client; see minnow_script.h. The headers are those of the reference. */
#include "minnow_script.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRIPT_PATH "/socket.io/socket.io.js"

enum { SCRIPT_MAX = 4 << 20 /* bytes; those of npm have 50,000 to 150,000 */ };

/* Pages of any origin may import it as a module, as they may load it by <script> anyway. */
static void on_request(struct ws_conn *c, const struct ws_request *req)
{
    const struct minnow_script *script = ws_user(c);
    const struct ws_header headers[] = {
        {ws_str("Cache-Control"), ws_str("public, max-age=0")},
        {ws_str("Access-Control-Allow-Origin"), ws_str("*")},
    };

    if (ws_str_is(ws_request_path(req), SCRIPT_PATH))
        minnow_static_respond(&script->file, c, req, headers, sizeof headers / sizeof headers[0],
                              "application/javascript; charset=utf-8");
    else
        minnow_static_error(c, 404, "404 Not Found: the script is at " SCRIPT_PATH "\n");
}

int minnow_script_handle(struct minnow_script *script, struct ws_server *server)
{
    return ws_server_handle(server, SCRIPT_PATH,
                            &(struct ws_handlers){.on_request = on_request, .user = script});
}

/* Read up to `size` bytes; the file may have become shorter. -1 with errno. */
static ssize_t read_all(int fd, char *out, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, out + len, size - len);

        if (n < 0 && errno != EINTR)
            return -1;
        if (n == 0)
            break;
        len += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)len;
}

static const char *read_file(struct minnow_script *script, int fd)
{
    struct stat status;
    ssize_t len;
    char *text;

    if (fstat(fd, &status) != 0)
        return strerror(errno);
    if (!S_ISREG(status.st_mode))
        return "not a regular file";
    if (status.st_size == 0)
        return "empty";
    if (status.st_size > SCRIPT_MAX)
        return "over 4 MiB";
    text = malloc((size_t)status.st_size);
    if (text == NULL)
        return strerror(errno);
    len = read_all(fd, text, (size_t)status.st_size);
    if (len < 0) {
        int error = errno;

        free(text);
        return strerror(error);
    }
    minnow_static_init(&script->file, text, (size_t)len);
    return NULL;
}

/* O_NONBLOCK: nobody may ever write to a FIFO. */
const char *minnow_script_read(struct minnow_script *script, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *why;

    if (fd < 0)
        return strerror(errno);
    why = read_file(script, fd);
    close(fd);
    return why;
}

void minnow_script_release(struct minnow_script *script)
{
    minnow_static_release(&script->file);
}
