/* SPDX-License-Identifier: MIT
 *
 * The program: command line, signals, echo and chat, the page. Uses nothing of the core but
 * ws.h. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "minnow_log.h"
#include "minnow_socketio.h"
#include "ws.h"

#define MINNOW_VERSION "0.1.0"

/* web/index.html, made into an array by the Makefile. */
extern const unsigned char minnow_page[];
extern const size_t minnow_page_len;
extern const char minnow_page_policy[]; /* its Content-Security-Policy */

enum {
    EXIT_USAGE = 2,
    LIST_MAX = 64,         /* --bind, --origin, --subprotocol */
    LOGGED_PATH_MAX = 200, /* bytes of a path in a log line; the rest is cut off */
    LOG_RETRY_MS = 50
};

/* -q and -v; the last one given counts. */
enum verbosity { QUIET, NORMAL, VERBOSE };

struct settings {
    struct ws_options options;
    const char *bind[LIST_MAX + 1]; /* ends with NULL */
    const char *origins[LIST_MAX + 1];
    const char *subprotocols[LIST_MAX + 1];
    size_t bind_count;
    size_t origin_count;
    size_t subprotocol_count;
    bool mode_given;
    bool echo;
    bool no_socketio;
    const char *socket_mode; /* as given, for what is said of it; NULL: not given */
    enum verbosity verbosity;
};

/* What callbacks reach through ws_user(). */
struct program {
    const struct settings *settings;
    struct ws_server *server;
    struct sio_server *socketio; /* NULL: --no-socketio */
    bool serving; /* from here on -q silences the log; before it, the log says why we can't start */
    bool complained;       /* the log has said what is wrong */
    bool retrying;         /* flush_streams() will be called */
    struct minnow_log out; /* stdout */
    struct minnow_log log; /* stderr */
    int signal_fd;
    char *page; /* as it is served in this mode */
    char etag[24];
};

static bool is_unix(const char *address)
{
    return strncmp(address, "unix:", 5) == 0;
}

/* What is known of a connection for the line at its end; only with -v. */
struct visit {
    unsigned long long messages;
    unsigned long long bytes;
    char address[WS_ADDRESS_SIZE]; /* asked for at the start: the socket of a lost peer has none */
    size_t path_len;               /* of the whole path, of which `path` is the beginning */
    char path[LOGGED_PATH_MAX];
};

/* --- the log ---------------------------------------------------------------------------------- */

static void flush_streams(void *arg);

/* In a post, since the log's callback may call nothing else. Without memory the next line tries. */
static void retry_later(void *arg)
{
    struct program *program = arg;

    if (ws_timer_start(program->server, LOG_RETRY_MS, flush_streams, program) == NULL)
        program->retrying = false;
}

/* Will it pass, without a new line that asks? What is gone stays so, and needs no clock. */
static bool is_for_now(int error)
{
    return error == EAGAIN || error == ENOSPC || error == EDQUOT || error == EFBIG;
}

/* Write what is kept of both streams; what cannot be written now has another try. */
static void flush_streams(void *arg)
{
    struct program *program = arg;
    int out = minnow_log_flush(&program->out);
    int log = minnow_log_flush(&program->log);

    program->retrying = is_for_now(out) || is_for_now(log);
    if (program->retrying &&
        (program->server == NULL || ws_post(program->server, retry_later, program) != 0))
        program->retrying = false;
}

/* The line of the log is complete. It is written now, or by flush_streams(), or dropped. */
static void end_log_line(struct program *program)
{
    minnow_log_end(&program->log);
    if (!program->retrying)
        flush_streams(program);
    else
        minnow_log_flush(&program->log);
}

/* Text of somebody else, its beginning. `len` may be more than what `text` has of it. */
static void add_beginning(struct minnow_log *log, const char *text, size_t len)
{
    minnow_log_add_text(log, text, len < LOGGED_PATH_MAX ? len : LOGGED_PATH_MAX);
    if (len > LOGGED_PATH_MAX)
        minnow_log_add(log, "...");
}

/* --- WebSocket -------------------------------------------------------------------------------- */

static struct program *program_of(const struct ws_conn *c)
{
    return ws_user(c);
}

/* "minnow: #7 127.0.0.1:5000 opened /room", and the line goes on. */
static void log_visit(const struct ws_conn *c, const struct visit *visit, const char *what)
{
    struct minnow_log *log = &program_of(c)->log;

    minnow_log_add(log, "minnow: #%llu %s %s ", (unsigned long long)ws_conn_id(c), visit->address,
                   what);
    add_beginning(log, visit->path, visit->path_len);
}

static bool visit_begin(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str path = ws_request_path(req);
    struct visit *visit = calloc(1, sizeof *visit);

    if (visit == NULL)
        return false;
    visit->path_len = path.len;
    memcpy(visit->path, path.data, path.len < LOGGED_PATH_MAX ? path.len : LOGGED_PATH_MAX);
    ws_conn_address(c, visit->address);
    ws_set_data(c, visit);
    log_visit(c, visit, "opened");
    end_log_line(program_of(c));
    return true;
}

static void visit_end(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    struct minnow_log *log = &program_of(c)->log;
    struct visit *visit = ws_data(c);

    if (visit == NULL)
        return;
    log_visit(c, visit, "closed");
    minnow_log_add(log, ": %u \"", code);
    minnow_log_add_text(log, reason, len);
    minnow_log_add(log, "\", %llu message%s, %llu byte%s received", visit->messages,
                   visit->messages == 1 ? "" : "s", visit->bytes, visit->bytes == 1 ? "" : "s");
    end_log_line(program_of(c));
    free(visit);
}

static void on_open(struct ws_conn *c, const struct ws_request *req)
{
    const struct settings *settings = program_of(c)->settings;
    int error = 0;

    if (settings->verbosity == VERBOSE && !visit_begin(c, req))
        error = WS_ERR_NOMEM;
    if (error == 0 && !settings->echo)
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

/* --- the page --------------------------------------------------------------------------------- */

static const char page_methods[] = "GET, HEAD, OPTIONS";

static void respond_text(struct ws_conn *c, int status, const char *text)
{
    const struct ws_header headers[] = {
        {ws_str("Content-Type"), ws_str("text/plain; charset=utf-8")},
        {ws_str("X-Content-Type-Options"), ws_str("nosniff")},
        {ws_str("Allow"), ws_str(page_methods)},
    };

    ws_respond(c, status, headers, status == 405 ? 3 : 2, text, strlen(text));
}

/* Whoever checks whether we are up and what may be asked, RFC 9110 §9.3.7. */
static void respond_options(struct ws_conn *c)
{
    const struct ws_header allow = {ws_str("Allow"), ws_str(page_methods)};

    ws_respond(c, 204, &allow, 1, NULL, 0);
}

/* Is `etag` in `list`? Compared weakly: W/ in front does not matter. What is no entity tag ends the
 * list, since a comma may stand inside the quotes. RFC 9110 §8.8.3, §13.1.2 */
static bool etag_listed(struct ws_str list, const char *etag)
{
    const char *at = list.data;
    const char *end = list.data + list.len;
    const char *quote;
    size_t etag_len = strlen(etag);

    while (at < end) {
        if (*at == ',' || *at == ' ' || *at == '\t') {
            at++;
            continue;
        }
        if (end - at >= 2 && at[0] == 'W' && at[1] == '/')
            at += 2;
        quote = at < end && *at == '"' ? memchr(at + 1, '"', (size_t)(end - at - 1)) : NULL;
        if (quote == NULL)
            return false;
        if ((size_t)(quote + 1 - at) == etag_len && memcmp(at, etag, etag_len) == 0)
            return true;
        at = quote + 1;
    }
    return false;
}

/* Does the client have the page as it is? Fields of the same name are one list. */
static bool is_fresh(const struct ws_request *req, const char *etag)
{
    struct ws_header h;

    for (size_t i = 0; ws_request_header_at(req, i, &h); i++) {
        if (h.name.len == strlen("If-None-Match") &&
            strncasecmp(h.name.data, "If-None-Match", h.name.len) == 0 &&
            (ws_str_is(h.value, "*") || etag_listed(h.value, etag)))
            return true;
    }
    return false;
}

static void respond_page(struct ws_conn *c, const struct ws_request *req)
{
    const struct program *program = program_of(c);
    const struct ws_header headers[] = {
        {ws_str("Cache-Control"), ws_str("no-cache")}, /* keep it, but ask each time */
        {ws_str("ETag"), ws_str(program->etag)},
        {ws_str("Content-Security-Policy"), ws_str(minnow_page_policy)},
        {ws_str("X-Content-Type-Options"), ws_str("nosniff")},
        {ws_str("Referrer-Policy"), ws_str("no-referrer")},
        {ws_str("Content-Type"), ws_str("text/html; charset=utf-8")}, /* not in a 304 */
    };
    size_t count = sizeof headers / sizeof headers[0];

    if (is_fresh(req, program->etag))
        ws_respond(c, 304, headers, count - 1, NULL, 0);
    else
        ws_respond(c, 200, headers, count, program->page, minnow_page_len);
}

static void on_request(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str method = ws_request_method(req);

    if (!ws_str_is(ws_request_path(req), "/"))
        respond_text(c, 404, "404 Not Found: the page is at /, a WebSocket anywhere\n");
    else if (ws_str_is(method, "OPTIONS"))
        respond_options(c);
    else if (!ws_str_is(method, "GET") && !ws_str_is(method, "HEAD"))
        respond_text(c, 405, "405 Method Not Allowed\n");
    else
        respond_page(c, req);
}

/* The page says in one word which mode it is for; both words have four letters. */
static bool page_init(struct program *program)
{
    static const char chat[] = "data-mode=\"chat\"";
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a: any change gives another ETag */
    char *mode;

    program->page = malloc(minnow_page_len + 1);
    if (program->page == NULL)
        return false;
    memcpy(program->page, minnow_page, minnow_page_len);
    program->page[minnow_page_len] = '\0';
    mode = strstr(program->page, chat);
    if (program->settings->echo && mode != NULL)
        memcpy(mode + strlen("data-mode=\""), "echo", 4);
    for (size_t i = 0; i < minnow_page_len; i++)
        hash = (hash ^ (unsigned char)program->page[i]) * 0x100000001b3u;
    snprintf(program->etag, sizeof program->etag, "\"%016llx\"", (unsigned long long)hash);
    return true;
}

/* --- the command line ------------------------------------------------------------------------- */

/* What was to be read on stdout is there, or the exit status says that it is not. */
static bool stdout_is_written(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    fprintf(stderr, "minnow: cannot write to stdout: %s\n", strerror(errno));
    return false;
}

_Noreturn static void say_and_exit(const char *text)
{
    fputs(text, stdout);
    exit(stdout_is_written() ? EXIT_SUCCESS : EXIT_FAILURE);
}

static const char usage[] =
    "usage: minnow [echo|chat] [options]          default: chat\n"
    "  -p, --port N               8080; 0 picks a free one\n"
    "  -b, --bind ADDR            127.0.0.1; repeatable; IPv6 too; unix:PATH for a Unix socket\n"
    "      --socket-mode MODE     rights of Unix sockets such as 0660; what the umask leaves\n"
    "      --origin ORIGIN        allow this Origin too; https://*.HOST, '*' for any; repeatable\n"
    "      --scheme http|https    how browsers get here; without it X-Forwarded-Proto tells\n"
    "      --subprotocol NAME     agree on it where a client offers it; repeatable, best first\n"
    "      --max-message SIZE     16M\n"
    "      --max-queue SIZE       unsent bytes of one client; --max-message + 1M\n"
    "      --max-memory SIZE      buffered bytes of all clients; 256M\n"
    "      --max-clients N        as many as there are descriptors\n"
    "      --handshake-timeout S  10\n"
    "      --close-timeout S      5\n"
    "      --message-timeout S    for 64 KiB of a message, or all of it; 30\n"
    "      --ping-interval S      30\n"
    "      --ping-timeout S       20\n"
    "      --no-socketio          /socket.io/ is a path like any other\n"
    "      --trace                every frame, annotated, on stderr\n"
    "  -q, --quiet                no log\n"
    "  -v, --verbose              a line per connection opened and closed\n"
    "  -h, --help    --version\n"
    "SIZE takes K, M, G; S is in seconds, fractions too.\n";

_Noreturn static void bad_usage(const char *option, const char *value, const char *wanted)
{
    struct minnow_log log;

    minnow_log_init(&log, STDERR_FILENO);
    minnow_log_add(&log, "minnow: %s '", option);
    add_beginning(&log, value, strlen(value));
    minnow_log_add(&log, "': %s (try --help)", wanted);
    minnow_log_end(&log);
    minnow_log_release(&log);
    exit(EXIT_USAGE);
}

/* Decimal digits, then whatever: `*end` is set to it. False without digits and on overflow. */
static bool parse_digits(const char *text, unsigned long long *n, char **end)
{
    if (text[0] < '0' || text[0] > '9') /* strtoull would take " -1" */
        return false;
    errno = 0;
    *n = strtoull(text, end, 10);
    return errno == 0;
}

/* The right to read does nothing for a socket, and what is beyond rwxrwxrwx neither. */
static unsigned parse_rights(const char *option, const char *text)
{
    size_t len = strspn(text, "01234567");
    unsigned long rights = 0;

    if (len >= 3 && len <= 4 && text[len] == '\0')
        rights = strtoul(text, NULL, 8);
    if (rights == 0 || rights > 0777)
        bad_usage(option, text, "not rights in octal such as 0660");
    if ((rights & 0222) == 0)
        bad_usage(option, text, "lets nobody connect, which takes the right to write");
    return (unsigned)rights;
}

static uint16_t parse_port(const char *option, const char *text)
{
    unsigned long long n;
    char *end;

    if (!parse_digits(text, &n, &end) || *end != '\0' || n > UINT16_MAX)
        bad_usage(option, text, "not a port from 0 to 65535");
    return (uint16_t)n;
}

static size_t parse_count(const char *option, const char *text)
{
    unsigned long long n;
    char *end;

    if (!parse_digits(text, &n, &end) || *end != '\0' || n == 0 || n > SIZE_MAX)
        bad_usage(option, text, "not a number from 1");
    return (size_t)n;
}

static size_t parse_size(const char *option, const char *text)
{
    static const char units[] = "KMG";
    unsigned long long n = 0;
    const char *unit = NULL;
    bool good;
    char *end;
    int shift;

    good = parse_digits(text, &n, &end) && n != 0;
    if (good && *end != '\0') {
        unit = strchr(units, *end);
        good = unit != NULL && end[1] == '\0';
    }
    shift = unit == NULL ? 0 : 10 * (int)(unit - units + 1);
    if (!good || n > SIZE_MAX >> shift)
        bad_usage(option, text, "not a size such as 65536, 64K, 16M or 1G");
    return (size_t)n << shift;
}

static unsigned parse_seconds(const char *option, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    /* strtod() would take "inf", "0x1p3" and " 1" too */
    if (text[strspn(text, "0123456789.")] != '\0' || *end != '\0' ||
        !(seconds >= 0.001 && seconds <= 86400))
        bad_usage(option, text, "not a time of 0.001 to 86400 seconds");
    return (unsigned)(seconds * 1000 + 0.5);
}

static void add_to_list(const char *option, const char **list, size_t *count, const char *value)
{
    if (*count == LIST_MAX)
        bad_usage(option, value, "too many of these");
    list[(*count)++] = value;
}

static void add_address(struct settings *s, const char *value)
{
    if (value[0] == '\0')
        bad_usage("--bind", value, "empty");
    add_to_list("--bind", s->bind, &s->bind_count, value);
}

static void add_origin(struct settings *s, const char *value)
{
    const char *fault = ws_origin_fault(value);

    if (fault != NULL)
        bad_usage("--origin", value, fault);
    add_to_list("--origin", s->origins, &s->origin_count, value);
}

static void set_socket_mode(struct settings *s, const char *value)
{
    s->options.unix_mode = parse_rights("--socket-mode", value);
    s->socket_mode = value;
}

/* Whoever restricts what is not there thinks that it is. */
static void check_socket_mode(const struct settings *s)
{
    if (s->socket_mode == NULL)
        return;
    for (size_t i = 0; i < s->bind_count; i++) {
        if (is_unix(s->bind[i]))
            return;
    }
    bad_usage("--socket-mode", s->socket_mode, "without --bind unix:PATH");
}

static const char *parse_scheme(const char *option, const char *text)
{
    if (strcmp(text, "http") != 0 && strcmp(text, "https") != 0)
        bad_usage(option, text, "neither http nor https");
    return text;
}

static void add_subprotocol(struct settings *s, const char *value)
{
    static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "!#$%&'*+-.^_`|~"; /* RFC 9110 §5.6.2 */

    if (value[0] == '\0' || value[strspn(value, token)] != '\0')
        bad_usage("--subprotocol", value, "not a name of letters, digits and !#$%&'*+-.^_`|~");
    add_to_list("--subprotocol", s->subprotocols, &s->subprotocol_count, value);
}

static void set_mode(struct settings *s, const char *mode)
{
    bool echo = strcmp(mode, "echo") == 0;

    if (!echo && strcmp(mode, "chat") != 0)
        bad_usage("argument", mode, "not a mode, echo or chat");
    if (s->mode_given)
        bad_usage("argument", mode, "one mode at a time");
    s->mode_given = true;
    s->echo = echo;
}

enum {
    OPT_NONE = 1,     /* getopt_long()'s number for what is no option */
    OPT_ORIGIN = 256, /* behind all letters */
    OPT_SOCKET_MODE,
    OPT_SCHEME,
    OPT_SUBPROTOCOL,
    OPT_MAX_MESSAGE,
    OPT_MAX_QUEUE,
    OPT_MAX_MEMORY,
    OPT_MAX_CLIENTS,
    OPT_HANDSHAKE_TIMEOUT,
    OPT_CLOSE_TIMEOUT,
    OPT_MESSAGE_TIMEOUT,
    OPT_PING_INTERVAL,
    OPT_PING_TIMEOUT,
    OPT_NO_SOCKETIO,
    OPT_TRACE,
    OPT_VERSION
};

static void apply_limit(struct ws_options *o, int option, const char *value)
{
    switch (option) {
    case OPT_MAX_MESSAGE:
        o->max_message = parse_size("--max-message", value);
        break;
    case OPT_MAX_QUEUE:
        o->max_queue = parse_size("--max-queue", value);
        break;
    case OPT_MAX_MEMORY:
        o->max_memory = parse_size("--max-memory", value);
        break;
    case OPT_MAX_CLIENTS:
        o->max_clients = parse_count("--max-clients", value);
        break;
    case OPT_HANDSHAKE_TIMEOUT:
        o->handshake_timeout_ms = parse_seconds("--handshake-timeout", value);
        break;
    case OPT_CLOSE_TIMEOUT:
        o->close_timeout_ms = parse_seconds("--close-timeout", value);
        break;
    case OPT_MESSAGE_TIMEOUT:
        o->message_timeout_ms = parse_seconds("--message-timeout", value);
        break;
    case OPT_PING_INTERVAL:
        o->ping_interval_ms = parse_seconds("--ping-interval", value);
        break;
    case OPT_PING_TIMEOUT:
        o->ping_timeout_ms = parse_seconds("--ping-timeout", value);
        break;
    }
}

static void apply_option(struct settings *s, int option, const char *value)
{
    switch (option) {
    case OPT_NONE:
        set_mode(s, value);
        break;
    case 'p':
        s->options.port = parse_port("--port", value);
        break;
    case 'b':
        add_address(s, value);
        break;
    case OPT_SOCKET_MODE:
        set_socket_mode(s, value);
        break;
    case OPT_ORIGIN:
        add_origin(s, value);
        break;
    case OPT_SCHEME:
        s->options.scheme = parse_scheme("--scheme", value);
        break;
    case OPT_SUBPROTOCOL:
        add_subprotocol(s, value);
        break;
    case OPT_NO_SOCKETIO:
        s->no_socketio = true;
        break;
    case OPT_TRACE:
        s->options.log_level = WS_LOG_TRACE;
        break;
    case 'q':
        s->verbosity = QUIET;
        break;
    case 'v':
        s->verbosity = VERBOSE;
        break;
    case 'h':
        say_and_exit(usage);
    case OPT_VERSION:
        say_and_exit("minnow " MINNOW_VERSION "\n");
    default:
        apply_limit(&s->options, option, value);
    }
}

/* What getopt_long() does not understand in `word`. Where several letters share one, only optopt
 * says which letter it is; it may be beyond a char where musl reads what is not ASCII. */
_Noreturn static void bad_option(int fault, const char *word)
{
    bool is_long = word[1] == '-';
    char letter[] = "-x";

    if (fault == ':')
        bad_usage("option", word, "needs a value");
    if (is_long && optopt == 0)
        bad_usage("option", word, "unknown, or short for more than one");
    if (is_long)
        bad_usage("option", word, "takes no value");
    letter[1] = (char)optopt;
    bad_usage("option", optopt > ' ' && optopt <= '~' ? letter : word, "unknown");
}

static void parse_command_line(struct settings *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"bind", required_argument, NULL, 'b'},
        {"socket-mode", required_argument, NULL, OPT_SOCKET_MODE},
        {"origin", required_argument, NULL, OPT_ORIGIN},
        {"scheme", required_argument, NULL, OPT_SCHEME},
        {"subprotocol", required_argument, NULL, OPT_SUBPROTOCOL},
        {"max-message", required_argument, NULL, OPT_MAX_MESSAGE},
        {"max-queue", required_argument, NULL, OPT_MAX_QUEUE},
        {"max-memory", required_argument, NULL, OPT_MAX_MEMORY},
        {"max-clients", required_argument, NULL, OPT_MAX_CLIENTS},
        {"handshake-timeout", required_argument, NULL, OPT_HANDSHAKE_TIMEOUT},
        {"close-timeout", required_argument, NULL, OPT_CLOSE_TIMEOUT},
        {"message-timeout", required_argument, NULL, OPT_MESSAGE_TIMEOUT},
        {"ping-interval", required_argument, NULL, OPT_PING_INTERVAL},
        {"ping-timeout", required_argument, NULL, OPT_PING_TIMEOUT},
        {"no-socketio", no_argument, NULL, OPT_NO_SOCKETIO},
        {"trace", no_argument, NULL, OPT_TRACE},
        {"quiet", no_argument, NULL, 'q'},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, OPT_VERSION},
        {NULL, 0, NULL, 0},
    };
    int option;
    int at; /* the word of the option; optind ends behind it, in musl even behind argv */

    opterr = 0; /* what is wrong we say ourselves */
    /* With '-' what is no option comes as OPT_NONE, in its place. Otherwise the environment would
     * decide whether options may follow it (POSIXLY_CORRECT). */
    while (at = optind, (option = getopt_long(argc, argv, "-:p:b:qvh", options, NULL)) != -1) {
        if (option == '?' || option == ':')
            bad_option(option, argv[at]);
        apply_option(s, option, optarg);
    }
    for (; optind < argc; optind++)
        set_mode(s, argv[optind]);
    check_socket_mode(s);
    if (s->verbosity == VERBOSE && s->options.log_level < WS_LOG_INFO)
        s->options.log_level = WS_LOG_INFO;
}

/* --- start ------------------------------------------------------------------------------------ */

static bool is_wanted(const struct program *program, enum ws_log_level level)
{
    switch (level) {
    case WS_LOG_ERROR:
        return program->settings->verbosity > QUIET || !program->serving;
    case WS_LOG_INFO:
        return program->settings->verbosity == VERBOSE;
    case WS_LOG_TRACE:
        return true; /* it comes only with --trace */
    }
    return true;
}

static void log_line(void *arg, enum ws_log_level level, const char *line)
{
    struct program *program = arg;

    program->complained |= level == WS_LOG_ERROR;
    if (!is_wanted(program, level))
        return;
    minnow_log_add(&program->log, "minnow: %s", line);
    end_log_line(program);
}

/* As many clients as the system lets this process have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void add_address_line(struct minnow_log *out, const char *mode, const char *host,
                             unsigned port)
{
    bool bare_ipv6 = strchr(host, ':') != NULL;
    const char *left = bare_ipv6 ? "[" : "";
    const char *right = bare_ipv6 ? "]" : "";

    if (is_unix(host))
        minnow_log_add(out, "minnow: %s on %s", mode, host);
    else
        minnow_log_add(out, "minnow: %s on http://%s%s%s:%u/ (ws://%s%s%s:%u/)", mode, left, host,
                       right, port, left, host, right, port);
    minnow_log_end(out);
}

/* The first line is for programs to wait for and to read the port from. False when nobody will ever
 * read it; one who only has not yet does not keep us from serving. */
static bool print_start(struct program *program)
{
    const struct settings *s = program->settings;
    unsigned port = ws_server_port(program->server);
    int error;

    for (size_t i = 0; s->bind[i] != NULL; i++)
        add_address_line(&program->out, s->echo ? "echo" : "chat", s->bind[i], port);
    if (s->verbosity > QUIET) {
        minnow_log_add(&program->out, "minnow: up to %zu clients",
                       ws_server_stats(program->server).max_clients);
        minnow_log_end(&program->out);
    }
    error = minnow_log_flush(&program->out);
    if (error != 0 && error != EAGAIN) {
        minnow_log_add(&program->log, "minnow: cannot write to stdout: %s", strerror(error));
        end_log_line(program);
        return false;
    }
    flush_streams(program);
    return true;
}

static void signal_arrived(void *arg, uint32_t ready)
{
    const struct program *program = arg;
    struct signalfd_siginfo info;

    (void)ready;
    if (read(program->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (program->socketio != NULL)
        sio_server_close(program->socketio);
    ws_server_stop(program->server); /* the second one ends the waiting */
}

/* One that the parent ignores, say a shell for what it starts in the background, stays ignored. A
 * signalfd would get it all the same: the kernel drops what is ignored only where it is not
 * blocked. */
static void add_unless_ignored(sigset_t *set, int signal_number)
{
    struct sigaction action;

    if (sigaction(signal_number, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
        sigaddset(set, signal_number);
}

/* Signals come as bytes to read, like all else: a handler would need a variable for all to see. */
static int watch_signals(struct program *program)
{
    sigset_t set;

    sigemptyset(&set);
    add_unless_ignored(&set, SIGINT);
    add_unless_ignored(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    program->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (program->signal_fd < 0)
        return WS_ERR_SYSTEM;
    return ws_watch(program->server, program->signal_fd, EPOLLIN, signal_arrived, program);
}

static bool complain(struct program *program, const char *what, int error)
{
    const char *why = error == WS_ERR_SYSTEM ? strerror(errno) : ws_strerror(error);

    minnow_log_add(&program->log, "minnow: %s: %s", what, why);
    end_log_line(program);
    return false;
}

/* Everything up to the line that says that we are there. */
static bool start(struct program *program)
{
    const struct settings *s = program->settings;
    struct ws_handlers handlers = {.on_request = on_request,
                                   .on_open = on_open,
                                   .on_message = s->echo ? on_echo : on_chat,
                                   .on_close = s->verbosity == VERBOSE ? visit_end : NULL,
                                   .subprotocols = s->subprotocols,
                                   .user = program};
    int error;

    if (!page_init(program))
        return complain(program, "cannot start", WS_ERR_NOMEM);
    program->server = ws_server_new(&s->options);
    if (program->server == NULL)
        return program->complained ? false : complain(program, "cannot start", WS_ERR_SYSTEM);
    if (!s->no_socketio) {
        program->socketio = minnow_socketio_new(program->server, &s->options, s->echo);
        if (program->socketio == NULL)
            return complain(program, "cannot start", WS_ERR_SYSTEM);
    }
    error = ws_server_handle(program->server, "/", &handlers);
    if (error == 0)
        error = watch_signals(program);
    if (error != 0)
        return complain(program, "cannot start", error);
    program->serving = true;
    return print_start(program);
}

static int serve(struct program *program)
{
    int error;

    if (!start(program))
        return EXIT_FAILURE;
    error = ws_server_run(program->server);
    if (error != 0)
        complain(program, "cannot go on", error);
    return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Where stderr is closed, the first socket opened would get its number, and our log. Opened for
 * reading, it is still an error to write to. */
static void keep_standard_numbers(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static void program_release(struct program *program)
{
    struct ws_server *server = program->server;

    program->server = NULL; /* the last lines of the log post nothing */
    ws_server_free(server);
    sio_server_free(program->socketio);
    if (program->signal_fd >= 0)
        close(program->signal_fd);
    free(program->page);
    minnow_log_release(&program->out);
    minnow_log_release(&program->log);
}

int main(int argc, char **argv)
{
    struct settings settings = {.options = {.port = 8080, .log_level = WS_LOG_ERROR},
                                .verbosity = NORMAL};
    struct program program = {.settings = &settings, .signal_fd = -1};
    int status;

    signal(SIGPIPE, SIG_IGN); /* whoever reads our log may go */
    signal(SIGXFSZ, SIG_IGN); /* and its file may reach the limit */
    keep_standard_numbers();
    parse_command_line(&settings, argc, argv);
    if (settings.bind_count == 0)
        settings.bind[0] = "127.0.0.1";
    settings.options.bind = settings.bind;
    settings.options.origins = settings.origins;
    settings.options.log = log_line;
    settings.options.log_arg = &program;
    minnow_log_init(&program.out, STDOUT_FILENO);
    minnow_log_init(&program.log, STDERR_FILENO);
    raise_descriptor_limit();
    status = serve(&program);
    program_release(&program);
    return status;
}
