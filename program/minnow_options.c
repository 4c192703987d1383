/* SPDX-License-Identifier: MIT
 *
 * The command line; see minnow_options.h. Each option is one row of a table. */
#define _GNU_SOURCE 1 /* sched_getaffinity, and what -std=c11 hides */
#include "minnow_options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cluster/redis_url.h"

#define MINNOW_VERSION "0.1.0"

enum { EXIT_USAGE = 2, CLUSTER_NAME_MAX = 100 };

/* One option. */
struct row {
    char letter;          /* 0: none */
    const char *name;     /* without its dashes */
    const char *argument; /* its name in --help; NULL: the option takes none */
    void (*apply)(struct minnow_options *o, const struct row *row, const char *value);
    size_t place;      /* offset of its field in struct minnow_options */
    const char *field; /* name of the field in struct ws_options, as the library's messages
                          contain it; NULL: none */
    const char *help;  /* NULL: none, and --help shows the option on the line before */
};

bool minnow_is_unix(const char *address)
{
    return strncmp(address, "unix:", 5) == 0;
}

/* Check that all of stdout was written; if not, say so, and the exit status will be 1. */
static bool stdout_is_written(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    fprintf(stderr, "minnow: cannot write to stdout: %s\n", strerror(errno));
    return false;
}

_Noreturn static void exit_said(void)
{
    exit(stdout_is_written() ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* `value` NULL: the option has none. */
_Noreturn static void bad_usage(const char *option, const char *value, const char *wanted)
{
    struct minnow_log log;

    minnow_log_init(&log, STDERR_FILENO);
    minnow_log_add(&log, "minnow: %s", option);
    if (value != NULL) {
        minnow_log_add(&log, " '");
        minnow_log_add_beginning(&log, value, strlen(value));
        minnow_log_add(&log, "'");
    }
    minnow_log_add(&log, ": %s (try --help)", wanted);
    minnow_log_end(&log);
    minnow_log_release(&log);
    exit(EXIT_USAGE);
}

_Noreturn static void bad_value(const struct row *row, const char *value, const char *wanted)
{
    char name[32];

    snprintf(name, sizeof name, "--%s", row->name);
    bad_usage(name, value, wanted);
}

/* --- what an option does ---------------------------------------------------------------------- */

static void *place_of(struct minnow_options *o, const struct row *row)
{
    return (char *)o + row->place;
}

/* Parse decimal digits; `*end` is set to what follows them. False if there are none, and on
 * overflow. */
static bool parse_digits(const char *text, unsigned long long *n, char **end)
{
    if (text[0] < '0' || text[0] > '9') /* strtoull would take " -1" */
        return false;
    errno = 0;
    *n = strtoull(text, end, 10);
    return errno == 0;
}

static void set_port(struct minnow_options *o, const struct row *row, const char *value)
{
    uint16_t *port = place_of(o, row);
    unsigned long long n;
    char *end;

    if (!parse_digits(value, &n, &end) || *end != '\0' || n > UINT16_MAX)
        bad_value(row, value, "not a port from 0 to 65535");
    *port = (uint16_t)n;
}

static void set_count(struct minnow_options *o, const struct row *row, const char *value)
{
    size_t *count = place_of(o, row);
    unsigned long long n;
    char *end;

    if (!parse_digits(value, &n, &end) || *end != '\0' || n == 0 || n > SIZE_MAX)
        bad_value(row, value, "not a number of 1 or more");
    *count = (size_t)n;
}

/* The same; 0 stands for no limit. */
static void set_limit(struct minnow_options *o, const struct row *row, const char *value)
{
    size_t *count = place_of(o, row);

    if (strcmp(value, "0") == 0)
        *count = SIZE_MAX;
    else
        set_count(o, row, value);
}

static void set_rate(struct minnow_options *o, const struct row *row, const char *value)
{
    unsigned *rate = place_of(o, row);
    unsigned long long n;
    char *end;

    if (!parse_digits(value, &n, &end) || *end != '\0' || n > 1000000)
        bad_value(row, value, "not a number from 0 to 1000000");
    *rate = n == 0 ? UINT_MAX : (unsigned)n;
}

static void set_size(struct minnow_options *o, const struct row *row, const char *value)
{
    static const char units[] = "KMG";
    size_t *size = place_of(o, row);
    unsigned long long n = 0;
    const char *unit = NULL;
    bool good;
    char *end;
    int shift;

    good = parse_digits(value, &n, &end) && n != 0;
    if (good && *end != '\0') {
        unit = strchr(units, *end);
        good = unit != NULL && end[1] == '\0';
    }
    shift = unit == NULL ? 0 : 10 * (int)(unit - units + 1);
    if (!good || n > SIZE_MAX >> shift)
        bad_value(row, value, "not a size such as 65536, 64K, 16M or 1G");
    *size = (size_t)n << shift;
}

/* Seconds on the command line, ms inside. */
static void set_time(struct minnow_options *o, const struct row *row, const char *value)
{
    unsigned *ms = place_of(o, row);
    char *end;
    double seconds = strtod(value, &end);

    /* strtod() would take "inf", "0x1p3" and " 1" too */
    if (value[strspn(value, "0123456789.")] != '\0' || *end != '\0' ||
        !(seconds >= 0.001 && seconds <= 86400))
        bad_value(row, value, "not a time of 0.001 to 86400 seconds");
    *ms = (unsigned)(seconds * 1000 + 0.5);
}

/* Read permission has no effect on a socket, and neither have bits above 0777. */
static void set_rights(struct minnow_options *o, const struct row *row, const char *value)
{
    unsigned *mode = place_of(o, row);
    size_t len = strspn(value, "01234567");
    unsigned long rights = 0;

    if (len >= 3 && len <= 4 && value[len] == '\0')
        rights = strtoul(value, NULL, 8);
    if (rights == 0 || rights > 0777)
        bad_value(row, value, "not an octal mode such as 0660");
    if ((rights & 0222) == 0)
        bad_value(row, value, "lets nobody connect, which needs write permission");
    *mode = (unsigned)rights;
    o->socket_mode = value;
}

/* As many processors as this process may use. */
static unsigned processors(void)
{
    cpu_set_t set;
    int count;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1; /* uncovered: there are more than fit in the set */
    count = CPU_COUNT(&set);
    return count < MINNOW_WORKERS_MAX ? (unsigned)count : MINNOW_WORKERS_MAX;
}

static void set_workers(struct minnow_options *o, const struct row *row, const char *value)
{
    unsigned *workers = place_of(o, row);
    unsigned long long n;
    char *end;

    if (strcmp(value, "auto") == 0) {
        *workers = processors();
        return;
    }
    if (!parse_digits(value, &n, &end) || *end != '\0' || n == 0 || n > MINNOW_WORKERS_MAX)
        bad_value(row, value, "not a number from 1 to 256, or auto");
    *workers = (unsigned)n;
}

static void set_user(struct minnow_options *o, const struct row *row, const char *value)
{
    const char *fault = o->is_worker ? NULL : minnow_user_find(place_of(o, row), value);

    if (fault != NULL)
        bad_value(row, value, fault);
    o->user_name = value;
}

static void set_scheme(struct minnow_options *o, const struct row *row, const char *value)
{
    const char **scheme = place_of(o, row);

    if (strcmp(value, "http") != 0 && strcmp(value, "https") != 0)
        bad_value(row, value, "neither http nor https");
    *scheme = value;
}

static void add_to_list(struct minnow_options *o, const struct row *row, const char *value)
{
    struct minnow_list *list = place_of(o, row);

    if (list->count == MINNOW_LIST_MAX)
        bad_value(row, value, "too many of these");
    list->items[list->count++] = value;
}

static void add_address(struct minnow_options *o, const struct row *row, const char *value)
{
    if (value[0] == '\0')
        bad_value(row, value, "empty");
    add_to_list(o, row, value);
}

static void add_origin(struct minnow_options *o, const struct row *row, const char *value)
{
    const char *fault = ws_origin_fault(value);

    if (fault != NULL)
        bad_value(row, value, fault);
    add_to_list(o, row, value);
}

static void add_host(struct minnow_options *o, const struct row *row, const char *value)
{
    const char *fault = ws_host_fault(value);

    if (fault != NULL)
        bad_value(row, value, fault);
    add_to_list(o, row, value);
}

static void add_proxy(struct minnow_options *o, const struct row *row, const char *value)
{
    const char *fault = ws_proxy_fault(value);

    if (fault != NULL)
        bad_value(row, value, fault);
    add_to_list(o, row, value);
}

static void set_proxy_header(struct minnow_options *o, const struct row *row, const char *value)
{
    static const char *const names[] = {[WS_PROXY_X_FORWARDED_FOR] = "x-forwarded-for",
                                        [WS_PROXY_FORWARDED] = "forwarded",
                                        [WS_PROXY_PROTOCOL] = "proxy-protocol"};
    enum ws_proxy_header *header = place_of(o, row);
    size_t i = 0;

    while (i < sizeof names / sizeof names[0] && strcasecmp(value, names[i]) != 0)
        i++;
    if (i == sizeof names / sizeof names[0])
        bad_value(row, value, "none of x-forwarded-for, forwarded and proxy-protocol");
    *header = (enum ws_proxy_header)i;
    o->proxy_header = value;
}

static void add_subprotocol(struct minnow_options *o, const struct row *row, const char *value)
{
    static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "!#$%&'*+-.^_`|~"; /* RFC 9110 §5.6.2 */

    if (value[0] == '\0' || value[strspn(value, token)] != '\0')
        bad_value(row, value, "not a name of letters, digits and !#$%&'*+-.^_`|~");
    add_to_list(o, row, value);
}

/* Of a bad URL the login is not shown: then only what is behind it. */
static void add_redis(struct minnow_options *o, const struct row *row, const char *value)
{
    struct redis_url url;
    const char *fault = redis_url_parse(&url, value);

    if (fault != NULL)
        bad_value(row, strchr(value, '@') == NULL ? value : redis_url_shown(value), fault);
    add_to_list(o, row, value);
}

static void set_cluster(struct minnow_options *o, const struct row *row, const char *value)
{
    const char **name = place_of(o, row);

    if (value[0] == '\0' || strlen(value) > CLUSTER_NAME_MAX)
        bad_value(row, value, "not a name of 1 to 100 bytes");
    *name = value;
}

static void set_file(struct minnow_options *o, const struct row *row, const char *value)
{
    const char **path = place_of(o, row);

    if (value[0] == '\0')
        bad_value(row, value, "empty");
    *path = value;
}

static void set_true(struct minnow_options *o, const struct row *row, const char *value)
{
    bool *flag = place_of(o, row);

    (void)value;
    *flag = true;
}

static void set_quiet(struct minnow_options *o, const struct row *row, const char *value)
{
    enum minnow_verbosity *verbosity = place_of(o, row);

    (void)value;
    *verbosity = MINNOW_QUIET;
}

static void set_verbose(struct minnow_options *o, const struct row *row, const char *value)
{
    enum minnow_verbosity *verbosity = place_of(o, row);

    (void)value;
    *verbosity = MINNOW_VERBOSE;
}

static void set_trace(struct minnow_options *o, const struct row *row, const char *value)
{
    enum minnow_trace_form *trace = place_of(o, row);

    if (value != NULL && strcmp(value, "hex") != 0)
        bad_value(row, value, "not 'hex', or nothing");
    *trace = value == NULL ? MINNOW_TRACE_LINES : MINNOW_TRACE_HEX;
}

_Noreturn static void say_help(struct minnow_options *o, const struct row *row, const char *value);

_Noreturn static void say_version(struct minnow_options *o, const struct row *row,
                                  const char *value)
{
    (void)o;
    (void)row;
    (void)value;
    fputs("minnow " MINNOW_VERSION "\n", stdout);
    exit_said();
}

/* --- the options ------------------------------------------------------------------------------ */

/* A field of struct ws_options that is set as it is: its place and its name. */
#define FIELD(name) offsetof(struct minnow_options, server.name), #name
#define OWN(name)   offsetof(struct minnow_options, name)

/* In the order of --help. */
static const struct row rows[] = {
    {'p', "port", "N", set_port, FIELD(port), "8080; 0 picks a free one"},
    {'b', "bind", "ADDR", add_address, OWN(bind), "bind",
     "127.0.0.1; repeatable; IPv6 too; unix:PATH for a Unix socket"},
    {0, "socket-mode", "MODE", set_rights, FIELD(unix_mode),
     "mode of Unix sockets, such as 0660; 0777 without the umask"},
    {0, "origin", "ORIGIN", add_origin, OWN(origins), "origins",
     "allow this Origin too; https://*.HOST, '*' for any; repeatable"},
    {0, "host", "NAME", add_host, OWN(hosts), "hosts",
     "answer to this Host too; *.NAME, '*' for any; repeatable"},
    {0, "scheme", "http|https", set_scheme, FIELD(scheme),
     "scheme that browsers use; else that of X-Forwarded-Proto"},
    {0, "subprotocol", "NAME", add_subprotocol, OWN(subprotocols), NULL,
     "accept it if a client offers it; repeatable, best first"},
    {0, "trust-proxy", "ADDR", add_proxy, OWN(proxies), "trust_proxy",
     "proxy that says who its client is; ADDR/BITS, unix; repeatable"},
    {0, "proxy-header", "NAME", set_proxy_header, FIELD(proxy_header),
     "x-forwarded-for; or forwarded, proxy-protocol"},
    {0, "max-message", "SIZE", set_size, FIELD(max_message), "16M"},
    {0, "max-queue", "SIZE", set_size, FIELD(max_queue),
     "unsent bytes of one client; --max-message + 1M"},
    {0, "max-memory", "SIZE", set_size, FIELD(max_memory), "buffered bytes of all clients; 256M"},
    {0, "max-clients", "N", set_count, FIELD(max_clients),
     "as many as the limit of descriptors allows"},
    {0, "max-per-ip", "N", set_limit, FIELD(max_per_ip),
     "connections of one address; half of --max-clients; 0: no limit"},
    {0, "handshake-rate", "N", set_rate, FIELD(handshake_rate),
     "handshakes of one address a second; 1000; 0: no limit"},
    {0, "message-rate", "N", set_rate, FIELD(message_rate),
     "messages of one client a second; 10000; 0: no limit"},
    {0, "handshake-timeout", "S", set_time, FIELD(handshake_timeout_ms), "10"},
    {0, "close-timeout", "S", set_time, FIELD(close_timeout_ms), "5"},
    {0, "message-timeout", "S", set_time, FIELD(message_timeout_ms),
     "for 64 KiB of a message, or for its end; 30"},
    {0, "ping-interval", "S", set_time, FIELD(ping_interval_ms), "30"},
    {0, "ping-timeout", "S", set_time, FIELD(ping_timeout_ms), "20"},
    {0, "workers", "N|auto", set_workers, OWN(workers), NULL,
     "processes that serve; auto: one for each processor; 1"},
    {0, "drain-timeout", "S", set_time, OWN(drain_timeout_ms), NULL,
     "for clients of old workers after SIGHUP; 30"},
    {0, "no-socketio", NULL, set_true, OWN(no_socketio), NULL,
     "do not serve Socket.IO at /socket.io/"},
    {0, "socketio-client", "FILE", set_file, OWN(socketio_client), NULL,
     "serve this script at /socket.io/socket.io.js"},
    {0, "redis", "URL", add_redis, OWN(redis), NULL,
     "share rooms by this Redis; repeatable, tried in turn"},
    {0, "redis-optional", NULL, set_true, OWN(redis_optional), NULL,
     "start though no Redis answers"},
    {0, "cluster", "NAME", set_cluster, OWN(cluster), NULL,
     "minnow, socket.io; shared by all of the same name"},
    {0, "user", "NAME[:GROUP]", set_user, OWN(user), NULL,
     "the user to become once it listens; needs root"},
    {0, "no-sandbox", NULL, set_true, OWN(no_sandbox), NULL,
     "keep all rights; the line at the start says what it gives up"},
    {0, "trace", "[=hex]", set_trace, OWN(trace), NULL,
     "log each frame with its fields; hex: with its bytes, too"},
    {'q', "quiet", NULL, set_quiet, OWN(verbosity), NULL, "no log"},
    {'v', "verbose", NULL, set_verbose, OWN(verbosity), NULL,
     "a line per connection opened and closed"},
    {'h', "help", NULL, say_help, 0, NULL, NULL},
    {0, "version", NULL, say_version, 0, NULL, NULL},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

/* --- --help ----------------------------------------------------------------------------------- */

static void print_row(const struct row *row)
{
    char option[64];
    char letter[] = "-x, ";

    letter[1] = row->letter;
    snprintf(option, sizeof option, "  %4s--%s%s%s", row->letter != 0 ? letter : "", row->name,
             row->argument != NULL && row->argument[0] != '[' ? " " : "",
             row->argument != NULL ? row->argument : "");
    if (row->help != NULL)
        printf("%-28s %s\n", option, row->help);
    else if (row->letter != 0)
        fputs(option, stdout);
    else
        printf("    --%s\n", row->name);
}

_Noreturn static void say_help(struct minnow_options *o, const struct row *row, const char *value)
{
    (void)o;
    (void)row;
    (void)value;
    puts("usage: minnow [echo|chat] [options]          default: chat");
    for (size_t i = 0; i < ROWS; i++)
        print_row(&rows[i]);
    puts("SIZE may end in K, M or G. S is in seconds and may have a fraction.");
    exit_said();
}

/* --- the command line ------------------------------------------------------------------------- */

/* --socket-mode without a Unix socket is an error: its user probably expects one. */
static void check_socket_mode(const struct minnow_options *o)
{
    if (o->socket_mode == NULL)
        return;
    for (size_t i = 0; i < o->bind.count; i++) {
        if (minnow_is_unix(o->bind.items[i]))
            return;
    }
    bad_usage("--socket-mode", o->socket_mode, "without --bind unix:PATH");
}

/* Each worker has a share of what all may have. */
static void check_shares(const struct minnow_options *o)
{
    char value[24];

    snprintf(value, sizeof value, "%zu", o->server.max_clients);
    if (o->server.max_clients != 0 && o->server.max_clients < o->workers)
        bad_usage("--max-clients", value, "fewer than --workers");
}

static void check_redis(const struct minnow_options *o)
{
    if (o->redis.count != 0 && o->echo)
        bad_usage("--redis", redis_url_shown(o->redis.items[0]), "echo mode has no rooms to share");
    if (o->redis.count == 0 && o->cluster != NULL)
        bad_usage("--cluster", o->cluster, "without --redis");
    if (o->redis.count == 0 && o->redis_optional)
        bad_usage("--redis-optional", NULL, "without --redis");
}

static void set_mode(struct minnow_options *o, const char *mode)
{
    bool echo = strcmp(mode, "echo") == 0;

    if (!echo && strcmp(mode, "chat") != 0)
        bad_usage("argument", mode, "not a mode, echo or chat");
    if (o->mode_given)
        bad_usage("argument", mode, "only one mode can be given");
    o->mode_given = true;
    o->echo = echo;
}

/* What getopt_long() returns for an argument that is no option, and for the first row without a
 * letter. */
enum { NO_OPTION = 1, FIRST_ROW = 256 /* greater than any letter */ };

/* The rows as getopt_long() wants them. `letters` has room for all. */
static void make_getopt(struct option *options, char *letters)
{
    /* '-': an argument that is no option is returned as NO_OPTION, in its order. Otherwise the
     * environment (POSIXLY_CORRECT) would decide whether options may follow it. */
    *letters++ = '-';
    *letters++ = ':';
    for (int i = 0; i < ROWS; i++) {
        int has_argument = rows[i].argument == NULL     ? no_argument
                           : rows[i].argument[0] == '[' ? optional_argument
                                                        : required_argument;

        options[i] = (struct option){rows[i].name, has_argument, NULL, FIRST_ROW + i};
        if (rows[i].letter == 0)
            continue;
        *letters++ = rows[i].letter;
        if (has_argument == required_argument)
            *letters++ = ':';
    }
    options[ROWS] = (struct option){NULL, 0, NULL, 0};
    *letters = '\0';
}

/* `option` is the letter of a row, or the number of a row. */
static const struct row *row_found(int option)
{
    size_t i = 0;

    if (option >= FIRST_ROW)
        return &rows[option - FIRST_ROW];
    while (i < ROWS - 1 && rows[i].letter != option)
        i++;
    assert(rows[i].letter == option);
    return &rows[i];
}

static void apply(struct minnow_options *o, int option, const char *value)
{
    const struct row *row;

    if (option == NO_OPTION) {
        set_mode(o, value);
        return;
    }
    row = row_found(option);
    row->apply(o, row, value);
}

/* `word` is an option that getopt_long() refuses. If several letters are in one word, only optopt
 * has the letter at fault; with musl it may be greater than a char, if the letter is not ASCII. */
_Noreturn static void bad_option(int fault, const char *word)
{
    bool is_long = word[1] == '-';
    char letter[] = "-x";

    if (fault == ':')
        bad_usage("option", word, "needs a value");
    if (is_long && optopt == 0)
        bad_usage("option", word, "unknown, or the short form of several options");
    if (is_long)
        bad_usage("option", word, "takes no value");
    letter[1] = (char)optopt;
    bad_usage("option", optopt > ' ' && optopt <= '~' ? letter : word, "unknown");
}

void minnow_options_parse(struct minnow_options *o, int argc, char **argv, bool is_worker)
{
    struct option options[ROWS + 1];
    char letters[2 + 2 * ROWS + 1];
    int option;
    int at; /* index of the option's word; optind is behind it afterwards, with musl even behind
               argv */

    *o = (struct minnow_options){.server = {.port = 8080, .log_level = WS_LOG_ERROR},
                                 .workers = 1,
                                 .drain_timeout_ms = 30000,
                                 .is_worker = is_worker,
                                 .verbosity = MINNOW_NORMAL};
    make_getopt(options, letters);
    opterr = 0; /* bad_option() prints the error */
    while (at = optind, (option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        if (option == '?' || option == ':')
            bad_option(option, argv[at]);
        apply(o, option, optarg);
    }
    for (; optind < argc; optind++)
        set_mode(o, argv[optind]);
    check_socket_mode(o);
    check_shares(o);
    check_redis(o);
    if (o->socketio_client != NULL && o->no_socketio)
        bad_usage("--socketio-client", o->socketio_client, "with --no-socketio");
    if (o->proxy_header != NULL && o->proxies.count == 0)
        bad_usage("--proxy-header", o->proxy_header, "without --trust-proxy");
    if (o->bind.count == 0)
        o->bind.items[0] = "127.0.0.1";
    o->server.bind = o->bind.items;
    o->server.origins = o->origins.items;
    o->server.hosts = o->hosts.items;
    o->server.trust_proxy = o->proxies.items;
    if (o->verbosity == MINNOW_VERBOSE)
        o->server.log_level = WS_LOG_INFO;
}

/* --- messages of the library ------------------------------------------------------------------ */

/* The option that sets this field, or NULL. */
static const char *option_of_field(const char *field, size_t len)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].field != NULL && strlen(rows[i].field) == len &&
            memcmp(rows[i].field, field, len) == 0)
            return rows[i].name;
    }
    return NULL;
}

void minnow_options_say(struct minnow_log *log, const char *line)
{
    static const char prefix[] = "ws_options.";
    const char *found;

    while ((found = strstr(line, prefix)) != NULL) {
        const char *field = found + strlen(prefix);
        size_t len = strspn(field, "abcdefghijklmnopqrstuvwxyz_");
        const char *name = option_of_field(field, len);

        if (name != NULL)
            minnow_log_add(log, "%.*s--%s", (int)(found - line), line, name);
        else
            minnow_log_add(log, "%.*s", (int)(field + len - line), line);
        line = field + len;
    }
    minnow_log_add(log, "%s", line);
}
