/* SPDX-License-Identifier: MIT
 *
 * wscheck: grades a WebSocket server, case by case, by RFC 6455. This file is the command line. */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report.h"

enum { EXIT_FAILURES = 1, EXIT_USAGE = 2 };
enum { URL_SIZE = 1024, DEFAULT_JOBS = 64, DEFAULT_TIMEOUT_MS = 3000 };

struct options {
    const char *url;
    const char *format;
    const char *html;
    const char *only;  /* NULL: all */
    const char *level; /* NULL: all */
    unsigned jobs;
    unsigned timeout_ms;
    bool list;
};

static const char help[] =
    "usage: wscheck [options] ws://HOST:PORT/PATH\n"
    "\n"
    "Grades the WebSocket server at that address, whose path has to echo messages, case by\n"
    "case, by RFC 6455.\n"
    "\n"
    "      --level LEVEL     only the cases up to this level: handshake, frames, messages,\n"
    "                        closing, utf8, limits, strict; http stands alone\n"
    "      --only PATTERN    only the cases of that name; * stands for anything\n"
    "      --list            list the cases and play none\n"
    "      --format FORMAT   text, tap, junit or json on stdout; text\n"
    "      --html FILE       write a page, too\n"
    "      --jobs N          cases at once; 64\n"
    "      --timeout S       for an answer; 3\n"
    "  -h, --help\n"
    "\n"
    "Exit status: 0 nothing failed, 1 a case failed, 2 wrong usage, or no server answers.\n";

_Noreturn static void fail(const char *what, const char *value)
{
    fprintf(stderr, "wscheck: %s%s%s\n", what, value != NULL ? ": " : "",
            value != NULL ? value : "");
    exit(EXIT_USAGE);
}

/* --- the address ------------------------------------------------------------------------------ */

/* The text of the URL, cut up. */
struct address {
    char authority[URL_SIZE]; /* host and port as they are */
    char host[URL_SIZE];      /* without port and brackets */
    char port[8];
    char path[URL_SIZE];
};

/* RFC 6455 §3. */
static void parse_url(struct address *a, const char *url)
{
    const char *rest = url + 5;
    const char *slash, *colon;

    if (strncmp(url, "wss://", 6) == 0)
        fail("wss is not supported; put what ends TLS in front, see docs/wscheck.md", url);
    if (strncmp(url, "ws://", 5) != 0 || strlen(url) >= URL_SIZE)
        fail("not an address of the form ws://HOST:PORT/PATH", url);
    slash = rest + strcspn(rest, "/?#");
    if (*slash == '#' || strchr(slash, '#') != NULL || slash == rest)
        fail("not an address of the form ws://HOST:PORT/PATH", url);
    snprintf(a->authority, sizeof a->authority, "%.*s", (int)(slash - rest), rest);
    snprintf(a->path, sizeof a->path, "%s%s", *slash == '/' ? "" : "/", slash);
    colon = strrchr(a->authority, ':');
    if (colon != NULL && strchr(colon, ']') != NULL)
        colon = NULL;
    snprintf(a->port, sizeof a->port, "%.7s", colon != NULL ? colon + 1 : "80");
    snprintf(a->host, sizeof a->host, "%.*s",
             (int)(colon != NULL ? colon - a->authority : (ptrdiff_t)strlen(a->authority)),
             a->authority);
    if (a->host[0] == '[' && a->host[strlen(a->host) - 1] == ']') {
        a->host[strlen(a->host) - 1] = '\0';
        memmove(a->host, a->host + 1, strlen(a->host));
    }
}

/* The first address of the host that answers. */
static void find_target(struct target *t, struct address *a, const char *url, unsigned timeout_ms)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list;
    int error;

    parse_url(a, url);
    *t = (struct target){.host = a->authority, .path = a->path};
    error = getaddrinfo(a->host, a->port, &hints, &list);
    if (error != 0)
        fail(gai_strerror(error), a->authority);
    error = EADDRNOTAVAIL;
    for (const struct addrinfo *i = list; i != NULL && error != 0; i = i->ai_next) {
        memcpy(&t->address, i->ai_addr, i->ai_addrlen);
        t->address_len = i->ai_addrlen;
        error = target_probe(t, timeout_ms);
    }
    freeaddrinfo(list);
    if (error != 0)
        fail(strerror(error), a->authority);
}

/* --- the command line ------------------------------------------------------------------------- */

static unsigned number(const char *option, const char *text, unsigned max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n == 0 || n > max) {
        fprintf(stderr, "wscheck: option '--%s': '%s' is not a number from 1 to %u\n", option, text,
                max);
        exit(EXIT_USAGE);
    }
    return (unsigned)n;
}

static bool is_one_of(const char *text, const char *const *names)
{
    while (*names != NULL && strcmp(*names, text) != 0)
        names++;
    return *names != NULL;
}

static const char *choice(const char *option, const char *text, const char *const *names)
{
    if (is_one_of(text, names))
        return text;
    fprintf(stderr, "wscheck: option '--%s': '%s' is none of", option, text);
    while (*names != NULL)
        fprintf(stderr, " %s", *names++);
    fputc('\n', stderr);
    exit(EXIT_USAGE);
}

static void apply(struct options *o, int option, const char *value)
{
    static const char *const formats[] = {"text", "tap", "junit", "json", NULL};
    static const char *const levels[] = {"handshake", "frames", "messages", "closing", "utf8",
                                         "limits",    "strict", "http",     NULL};

    switch (option) {
    case 'l':
        o->level = choice("level", value, levels);
        break;
    case 'o':
        o->only = value;
        break;
    case 'L':
        o->list = true;
        break;
    case 'f':
        o->format = choice("format", value, formats);
        break;
    case 'H':
        o->html = value;
        break;
    case 'j':
        o->jobs = number("jobs", value, JOBS_MAX);
        break;
    case 't':
        o->timeout_ms = 1000 * number("timeout", value, 3600);
        break;
    case 'h':
        fputs(help, stdout);
        exit(0);
    default: /* getopt has said it */
        exit(EXIT_USAGE);
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option options[] = {
        {"level", required_argument, NULL, 'l'},
        {"only", required_argument, NULL, 'o'},
        {"list", no_argument, NULL, 'L'},
        {"format", required_argument, NULL, 'f'},
        {"html", required_argument, NULL, 'H'},
        {"jobs", required_argument, NULL, 'j'},
        {"timeout", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    *o = (struct options){.format = "text", .jobs = DEFAULT_JOBS, .timeout_ms = DEFAULT_TIMEOUT_MS};
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
        apply(o, option, optarg);
    if (optind + 1 == argc)
        o->url = argv[optind];
    else if (optind != argc || !o->list)
        fail("one address is needed, as in: wscheck ws://127.0.0.1:8080/", NULL);
}

/* --- choosing the cases ----------------------------------------------------------------------- */

static void make_suite(struct suite *suite)
{
    add_handshake_cases(suite);
    add_frame_cases(suite);
    add_message_cases(suite);
    add_closing_cases(suite);
    add_utf8_cases(suite);
    add_limit_cases(suite);
    add_strict_cases(suite);
    add_http_cases(suite);
}

static bool is_chosen(const struct options *o, const struct check_case *c)
{
    enum level up_to = LEVEL_HANDSHAKE;

    if (o->only != NULL && fnmatch(o->only, c->name, 0) != 0)
        return false;
    if (o->level == NULL)
        return true;
    while (strcmp(level_name(up_to), o->level) != 0)
        up_to++;
    return up_to == LEVEL_HTTP ? c->level == LEVEL_HTTP : c->level <= up_to;
}

static const struct check_case **choose(const struct options *o, const struct suite *suite,
                                        size_t *count)
{
    const struct check_case **chosen = calloc(suite->count + 1, sizeof *chosen);

    if (chosen == NULL)
        fail("out of memory", NULL);
    for (size_t i = 0; i < suite->count; i++)
        if (is_chosen(o, &suite->cases[i]))
            chosen[(*count)++] = &suite->cases[i];
    if (*count == 0)
        fail("no case has such a name; --list shows all", o->only);
    return chosen;
}

static void list(const struct check_case *const *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%-48s %-20s %s\n", cases[i]->name, cases[i]->section, cases[i]->demand);
}

/* --- the run ---------------------------------------------------------------------------------- */

static void show_progress(void *arg, size_t done, size_t count)
{
    (void)arg;
    fprintf(stderr, "\r%zu of %zu cases", done, count);
    if (done == count)
        fputs("\r\033[K", stderr);
}

static void write_report(const struct options *o, const struct report *r)
{
    if (strcmp(o->format, "tap") == 0)
        report_tap(stdout, r);
    else if (strcmp(o->format, "junit") == 0)
        report_junit(stdout, r);
    else if (strcmp(o->format, "json") == 0)
        report_json(stdout, r);
    else
        report_text(stdout, r, isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL);
    if (fflush(stdout) != 0)
        fail(strerror(errno), "stdout");
}

static void write_html(const char *path, const struct report *r)
{
    FILE *out = fopen(path, "we");

    if (out == NULL)
        fail(strerror(errno), path);
    report_html(out, r);
    if (fclose(out) != 0)
        fail(strerror(errno), path);
}

static unsigned play(const struct options *o, const struct check_case *const *cases, size_t count,
                     struct result *results)
{
    struct run_options run = {.jobs = o->jobs, .timeout_ms = o->timeout_ms};
    struct address address;
    struct target target;
    unsigned ms = 0;
    int error;

    find_target(&target, &address, o->url, o->timeout_ms);
    if (isatty(STDERR_FILENO) == 1)
        run.progress = show_progress;
    error = run_cases(&target, cases, count, results, &run, &ms);
    if (error != 0)
        fail(strerror(error), o->url);
    return ms;
}

int main(int argc, char **argv)
{
    struct options options;
    struct suite suite = {0};
    size_t count = 0, failures = 0;
    const struct check_case **cases;
    struct result *results;
    struct report report;

    parse(&options, argc, argv);
    make_suite(&suite);
    cases = choose(&options, &suite, &count);
    if (options.list) {
        list(cases, count);
    } else {
        results = calloc(count, sizeof *results);
        if (results == NULL)
            fail("out of memory", NULL);
        report = (struct report){.url = options.url, .results = results, .count = count};
        report.ms = play(&options, cases, count, results);
        write_report(&options, &report);
        if (options.html != NULL)
            write_html(options.html, &report);
        for (size_t i = 0; i < count; i++) {
            failures += results[i].verdict == VERDICT_FAIL;
            result_release(&results[i]);
        }
        free(results);
    }
    free(cases);
    free(suite.cases);
    return failures > 0 ? EXIT_FAILURES : 0;
}
