/* SPDX-License-Identifier: MIT
 *
 * The command line; see minnow_options.h. */
#include "minnow_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "minnow_log.h"

#define MINNOW_VERSION "0.1.0"

enum { EXIT_USAGE = 2 };

bool minnow_is_unix(const char *address)
{
    return strncmp(address, "unix:", 5) == 0;
}

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
    minnow_log_add_beginning(&log, value, strlen(value));
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
    if (*count == MINNOW_LIST_MAX)
        bad_usage(option, value, "too many of these");
    list[(*count)++] = value;
}

static void add_address(struct minnow_options *o, const char *value)
{
    if (value[0] == '\0')
        bad_usage("--bind", value, "empty");
    add_to_list("--bind", o->bind, &o->bind_count, value);
}

static void add_origin(struct minnow_options *o, const char *value)
{
    const char *fault = ws_origin_fault(value);

    if (fault != NULL)
        bad_usage("--origin", value, fault);
    add_to_list("--origin", o->origins, &o->origin_count, value);
}

static void set_socket_mode(struct minnow_options *o, const char *value)
{
    o->server.unix_mode = parse_rights("--socket-mode", value);
    o->socket_mode = value;
}

/* Whoever restricts what is not there thinks that it is. */
static void check_socket_mode(const struct minnow_options *o)
{
    if (o->socket_mode == NULL)
        return;
    for (size_t i = 0; i < o->bind_count; i++) {
        if (minnow_is_unix(o->bind[i]))
            return;
    }
    bad_usage("--socket-mode", o->socket_mode, "without --bind unix:PATH");
}

static const char *parse_scheme(const char *option, const char *text)
{
    if (strcmp(text, "http") != 0 && strcmp(text, "https") != 0)
        bad_usage(option, text, "neither http nor https");
    return text;
}

static void add_subprotocol(struct minnow_options *o, const char *value)
{
    static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "!#$%&'*+-.^_`|~"; /* RFC 9110 §5.6.2 */

    if (value[0] == '\0' || value[strspn(value, token)] != '\0')
        bad_usage("--subprotocol", value, "not a name of letters, digits and !#$%&'*+-.^_`|~");
    add_to_list("--subprotocol", o->subprotocols, &o->subprotocol_count, value);
}

static void set_mode(struct minnow_options *o, const char *mode)
{
    bool echo = strcmp(mode, "echo") == 0;

    if (!echo && strcmp(mode, "chat") != 0)
        bad_usage("argument", mode, "not a mode, echo or chat");
    if (o->mode_given)
        bad_usage("argument", mode, "one mode at a time");
    o->mode_given = true;
    o->echo = echo;
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

static void apply_option(struct minnow_options *o, int option, const char *value)
{
    switch (option) {
    case OPT_NONE:
        set_mode(o, value);
        break;
    case 'p':
        o->server.port = parse_port("--port", value);
        break;
    case 'b':
        add_address(o, value);
        break;
    case OPT_SOCKET_MODE:
        set_socket_mode(o, value);
        break;
    case OPT_ORIGIN:
        add_origin(o, value);
        break;
    case OPT_SCHEME:
        o->server.scheme = parse_scheme("--scheme", value);
        break;
    case OPT_SUBPROTOCOL:
        add_subprotocol(o, value);
        break;
    case OPT_NO_SOCKETIO:
        o->no_socketio = true;
        break;
    case OPT_TRACE:
        o->server.log_level = WS_LOG_TRACE;
        break;
    case 'q':
        o->verbosity = MINNOW_QUIET;
        break;
    case 'v':
        o->verbosity = MINNOW_VERBOSE;
        break;
    case 'h':
        say_and_exit(usage);
    case OPT_VERSION:
        say_and_exit("minnow " MINNOW_VERSION "\n");
    default:
        apply_limit(&o->server, option, value);
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

void minnow_options_parse(struct minnow_options *o, int argc, char **argv)
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

    *o = (struct minnow_options){.server = {.port = 8080, .log_level = WS_LOG_ERROR},
                                 .verbosity = MINNOW_NORMAL};
    opterr = 0; /* what is wrong we say ourselves */
    /* With '-' what is no option comes as OPT_NONE, in its place. Otherwise the environment would
     * decide whether options may follow it (POSIXLY_CORRECT). */
    while (at = optind, (option = getopt_long(argc, argv, "-:p:b:qvh", options, NULL)) != -1) {
        if (option == '?' || option == ':')
            bad_option(option, argv[at]);
        apply_option(o, option, optarg);
    }
    for (; optind < argc; optind++)
        set_mode(o, argv[optind]);
    check_socket_mode(o);
    if (o->bind_count == 0)
        o->bind[0] = "127.0.0.1";
    o->server.bind = o->bind;
    o->server.origins = o->origins;
    if (o->verbosity == MINNOW_VERBOSE && o->server.log_level < WS_LOG_INFO)
        o->server.log_level = WS_LOG_INFO;
}
