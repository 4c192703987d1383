/* SPDX-License-Identifier: MIT
 *
 * The program: command line, signals, echo and chat, the page. Uses nothing of the core but ws.h. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "ws.h"

#define MINNOW_VERSION "0.1.0"

/* web/index.html, made into an array by the Makefile. */
extern const unsigned char minnow_page[];
extern const size_t minnow_page_len;
extern const char minnow_page_policy[]; /* its Content-Security-Policy */

enum { EXIT_USAGE = 2, LIST_MAX = 64 };

struct settings {
    struct ws_options options;
    const char *bind[LIST_MAX + 1]; /* ends with NULL */
    const char *origins[LIST_MAX + 1];
    size_t bind_count;
    size_t origin_count;
    bool echo;
    bool quiet;
    bool verbose;
};

/* What callbacks reach through ws_user(). */
struct program {
    const struct settings *settings;
    char *page; /* as it is served in this mode */
    char etag[24];
};

/* What is known of a connection for the line at its end; only with -v. */
struct visit {
    unsigned long long messages;
    unsigned long long bytes;
    size_t path_len;
    char path[];
};

/* The one variable of this file: a signal handler has no argument of its own. */
static struct ws_server *signalled;

static void stop_on_signal(int number)
{
    (void)number;
    ws_server_stop(signalled);
}

/* --- WebSocket ------------------------------------------------------------------------------------ */

static const struct program *program_of(const struct ws_conn *c)
{
    return ws_user(c);
}

static void visit_begin(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str path = ws_request_path(req);
    struct visit *visit = malloc(sizeof *visit + path.len);
    char address[WS_ADDRESS_SIZE];

    fprintf(stderr, "minnow: #%llu %s opened %.*s\n", (unsigned long long)ws_conn_id(c),
            ws_conn_address(c, address), (int)path.len, path.data);
    if (visit == NULL)
        return;
    *visit = (struct visit){.path_len = path.len};
    memcpy(visit->path, path.data, path.len);
    ws_set_data(c, visit);
}

static void visit_end(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    struct visit *visit = ws_data(c);
    char address[WS_ADDRESS_SIZE];

    if (visit == NULL)
        return;
    fprintf(stderr, "minnow: #%llu %s closed %.*s: %u \"", (unsigned long long)ws_conn_id(c),
            ws_conn_address(c, address), (int)visit->path_len, visit->path, code);
    for (size_t i = 0; i < len; i++) /* a peer's text must not drive the terminal */
        fputc(reason[i] < ' ' && reason[i] >= 0 ? '?' : reason[i], stderr);
    fprintf(stderr, "\", %llu messages, %llu bytes\n", visit->messages, visit->bytes);
    free(visit);
}

static void on_open(struct ws_conn *c, const struct ws_request *req)
{
    const struct settings *settings = program_of(c)->settings;

    if (settings->verbose)
        visit_begin(c, req);
    /* The path is the room. */
    if (!settings->echo && ws_join(c, ws_request_path(req)) != 0)
        ws_close(c, WS_CLOSE_TRY_LATER, "out of memory");
}

static void on_message(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    struct visit *visit = ws_data(c);

    if (visit != NULL) {
        visit->messages++;
        visit->bytes += len;
    }
    if (program_of(c)->settings->echo
            ? ws_send(c, opcode, data, len) < 0
            : ws_publish(ws_conn_server(c), ws_conn_room(c, 0), NULL, opcode, data, len) < 0)
        ws_close(c, WS_CLOSE_TRY_LATER, "out of memory");
}

/* --- the page --------------------------------------------------------------------------------------- */

static void respond_text(struct ws_conn *c, int status, const char *text)
{
    const struct ws_header headers[] = {
        {ws_str("Content-Type"), ws_str("text/plain; charset=utf-8")},
        {ws_str("X-Content-Type-Options"), ws_str("nosniff")},
        {ws_str("Allow"), ws_str("GET, HEAD")},
    };

    ws_respond(c, status, headers, status == 405 ? 3 : 2, text, strlen(text));
}

static void respond_page(struct ws_conn *c, const struct ws_request *req)
{
    const struct program *program = program_of(c);
    const struct ws_header headers[] = {
        {ws_str("Content-Type"), ws_str("text/html; charset=utf-8")},
        {ws_str("Content-Security-Policy"), ws_str(minnow_page_policy)},
        {ws_str("X-Content-Type-Options"), ws_str("nosniff")},
        {ws_str("Referrer-Policy"), ws_str("no-referrer")},
        {ws_str("Cache-Control"), ws_str("no-cache")},
        {ws_str("ETag"), ws_str(program->etag)},
    };
    bool fresh = ws_str_is(ws_request_header(req, "If-None-Match"), program->etag);

    ws_respond(c, fresh ? 304 : 200, headers, sizeof headers / sizeof headers[0], program->page,
               fresh ? 0 : minnow_page_len);
}

static void on_request(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str method = ws_request_method(req);

    if (!ws_str_is(ws_request_path(req), "/"))
        respond_text(c, 404, "404 Not Found: the page is at /, a WebSocket anywhere\n");
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

/* --- the command line ------------------------------------------------------------------------------- */

static void usage(FILE *out)
{
    fputs("usage: minnow [echo|chat] [options]          default: chat\n"
          "  -p, --port N               8080; 0 picks a free one\n"
          "  -b, --bind ADDR            127.0.0.1; repeatable; IPv6 too; unix:PATH for a Unix "
          "socket\n"
          "      --origin ORIGIN        allow this browser origin too; repeatable; '*' for any\n"
          "      --max-message SIZE     16M\n"
          "      --max-queue SIZE       unsent bytes of one client; 17M\n"
          "      --max-memory SIZE      buffered bytes of all clients; 256M\n"
          "      --max-clients N        as many as there are descriptors\n"
          "      --handshake-timeout S  10\n"
          "      --close-timeout S      5\n"
          "      --ping-interval S      30\n"
          "      --ping-timeout S       20\n"
          "      --trace                every frame, annotated, on stderr\n"
          "  -q, --quiet                no log\n"
          "  -v, --verbose              a line per connection opened and closed\n"
          "  -h, --help    --version\n"
          "SIZE takes K, M, G; S is in seconds, fractions too.\n",
          out);
}

static void bad_usage(const char *option, const char *value, const char *wanted)
{
    fprintf(stderr, "minnow: %s %s: %s\n", option, value, wanted);
    exit(EXIT_USAGE);
}

static unsigned long long parse_number(const char *option, const char *text, unsigned long long max,
                                       char **end)
{
    unsigned long long n;

    errno = 0;
    n = strtoull(text, end, 10);
    if (text[0] < '0' || text[0] > '9' || errno != 0 || n > max)
        bad_usage(option, text, "not a number, or out of range");
    return n;
}

static size_t parse_count(const char *option, const char *text, unsigned long long max)
{
    char *end;
    unsigned long long n = parse_number(option, text, max, &end);

    if (*end != '\0')
        bad_usage(option, text, "not a number");
    return (size_t)n;
}

static size_t parse_size(const char *option, const char *text)
{
    static const char units[] = "KMG";
    char *end;
    unsigned long long n = parse_number(option, text, SIZE_MAX, &end);
    const char *unit = *end == '\0' ? NULL : strchr(units, *end);
    int shift = unit == NULL ? 0 : 10 * (int)(unit - units + 1);

    if ((*end != '\0' && (unit == NULL || end[1] != '\0')) || n == 0 || n > SIZE_MAX >> shift)
        bad_usage(option, text, "not a size such as 65536, 64K, 16M or 1G");
    return (size_t)n << shift;
}

static unsigned parse_seconds(const char *option, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || !(seconds >= 0.001 && seconds <= 86400))
        bad_usage(option, text, "not a time of 0.001 to 86400 seconds");
    return (unsigned)(seconds * 1000 + 0.5);
}

static void add_to_list(const char *option, const char **list, size_t *count, const char *value)
{
    if (*count == LIST_MAX)
        bad_usage(option, value, "too many of these");
    list[(*count)++] = value;
}

enum {
    OPT_ORIGIN = 256,
    OPT_MAX_MESSAGE,
    OPT_MAX_QUEUE,
    OPT_MAX_MEMORY,
    OPT_MAX_CLIENTS,
    OPT_HANDSHAKE_TIMEOUT,
    OPT_CLOSE_TIMEOUT,
    OPT_PING_INTERVAL,
    OPT_PING_TIMEOUT,
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
        o->max_clients = parse_count("--max-clients", value, SIZE_MAX);
        break;
    case OPT_HANDSHAKE_TIMEOUT:
        o->handshake_timeout_ms = parse_seconds("--handshake-timeout", value);
        break;
    case OPT_CLOSE_TIMEOUT:
        o->close_timeout_ms = parse_seconds("--close-timeout", value);
        break;
    case OPT_PING_INTERVAL:
        o->ping_interval_ms = parse_seconds("--ping-interval", value);
        break;
    case OPT_PING_TIMEOUT:
        o->ping_timeout_ms = parse_seconds("--ping-timeout", value);
        break;
    default: /* getopt_long has said what is wrong */
        exit(EXIT_USAGE);
    }
}

static void apply_option(struct settings *s, int option, const char *value)
{
    switch (option) {
    case 'p':
        s->options.port = (uint16_t)parse_count("--port", value, 65535);
        break;
    case 'b':
        add_to_list("--bind", s->bind, &s->bind_count, value);
        break;
    case OPT_ORIGIN:
        add_to_list("--origin", s->origins, &s->origin_count, value);
        break;
    case OPT_TRACE:
        s->options.log_level = WS_LOG_TRACE;
        break;
    case 'q':
        s->quiet = true;
        break;
    case 'v':
        s->verbose = true;
        break;
    case 'h':
        usage(stdout);
        exit(EXIT_SUCCESS);
    case OPT_VERSION:
        puts("minnow " MINNOW_VERSION);
        exit(EXIT_SUCCESS);
    default:
        apply_limit(&s->options, option, value);
    }
}

static void parse_command_line(struct settings *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"bind", required_argument, NULL, 'b'},
        {"origin", required_argument, NULL, OPT_ORIGIN},
        {"max-message", required_argument, NULL, OPT_MAX_MESSAGE},
        {"max-queue", required_argument, NULL, OPT_MAX_QUEUE},
        {"max-memory", required_argument, NULL, OPT_MAX_MEMORY},
        {"max-clients", required_argument, NULL, OPT_MAX_CLIENTS},
        {"handshake-timeout", required_argument, NULL, OPT_HANDSHAKE_TIMEOUT},
        {"close-timeout", required_argument, NULL, OPT_CLOSE_TIMEOUT},
        {"ping-interval", required_argument, NULL, OPT_PING_INTERVAL},
        {"ping-timeout", required_argument, NULL, OPT_PING_TIMEOUT},
        {"trace", no_argument, NULL, OPT_TRACE},
        {"quiet", no_argument, NULL, 'q'},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, OPT_VERSION},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "p:b:qvh", options, NULL)) != -1)
        apply_option(s, option, optarg);
    for (; optind < argc; optind++) {
        if (strcmp(argv[optind], "echo") != 0 && strcmp(argv[optind], "chat") != 0)
            bad_usage("argument", argv[optind], "expected echo or chat (try --help)");
        s->echo = strcmp(argv[optind], "echo") == 0;
    }
    if (s->verbose && s->options.log_level < WS_LOG_INFO)
        s->options.log_level = WS_LOG_INFO;
}

/* --- start ------------------------------------------------------------------------------------------ */

static void log_line(void *arg, enum ws_log_level level, const char *line)
{
    const struct settings *s = arg;

    (void)level;
    if (!s->quiet)
        fprintf(stderr, "minnow: %s\n", line);
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

static void print_addresses(const struct settings *s, const struct ws_server *server)
{
    const char *mode = s->echo ? "echo" : "chat";
    unsigned port = ws_server_port(server);

    for (size_t i = 0; s->bind[i] != NULL; i++) {
        const char *host = s->bind[i];
        const char *left = strchr(host, ':') != NULL ? "[" : "";
        const char *right = left[0] != '\0' ? "]" : "";

        if (strncmp(host, "unix:", 5) == 0)
            printf("minnow: %s on %s\n", mode, host);
        else
            printf("minnow: %s on http://%s%s%s:%u/ (ws://%s%s%s:%u/)\n", mode, left, host, right,
                   port, left, host, right, port);
    }
    fflush(stdout);
    if (s->verbose)
        fprintf(stderr, "minnow: room for %zu clients\n", ws_server_stats(server).max_clients);
}

static void handle_signals(struct ws_server *server)
{
    struct sigaction action = {.sa_handler = stop_on_signal};

    signalled = server;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int serve(struct settings *s, struct program *program)
{
    struct ws_server *server = ws_server_new(&s->options);
    struct ws_handlers handlers = {.on_request = on_request,
                                   .on_open = on_open,
                                   .on_message = on_message,
                                   .on_close = s->verbose ? visit_end : NULL,
                                   .user = program};
    int result;

    if (server == NULL) {
        if (s->quiet)
            fprintf(stderr, "minnow: cannot listen: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    handle_signals(server);
    print_addresses(s, server);
    result = ws_server_handle(server, "/", &handlers);
    if (result == 0)
        result = ws_server_run(server);
    if (result != 0)
        fprintf(stderr, "minnow: %s: %s\n", ws_strerror(result), strerror(errno));
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    ws_server_free(server);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct settings settings = {.options = {.port = 8080, .log_level = WS_LOG_ERROR}};
    struct program program = {.settings = &settings};
    int status;

    parse_command_line(&settings, argc, argv);
    if (settings.bind_count == 0)
        settings.bind[0] = "127.0.0.1";
    settings.options.bind = settings.bind;
    settings.options.origins = settings.origins;
    settings.options.log = log_line;
    settings.options.log_arg = &settings;
    raise_descriptor_limit();
    if (!page_init(&program)) {
        fputs("minnow: out of memory\n", stderr);
        return EXIT_FAILURE;
    }
    status = serve(&settings, &program);
    free(program.page);
    return status;
}
