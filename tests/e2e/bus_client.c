/* SPDX-License-Identifier: MIT
 *
 * A bus over Redis at the command line, for tests/e2e/test_redis.js: `bus_client URL...`. Lines on
 * stdin are commands, "sub|psub|ssub NAME", "unsub NAME", "pub|spub CHANNEL TEXT" and "count|scount
 * CHANNEL". Lines on stdout say what comes: "up", "down", "message CHANNEL TEXT", "count N". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cluster/bus_redis.h"

static struct ws_server *server; /* of this program, one for all */
static struct bus *bus;

static void log_line(void *arg, enum ws_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

static void say_state(void *arg, bool up)
{
    (void)arg;
    puts(up ? "up" : "down");
}

static void say_message(void *arg, struct ws_str channel, struct ws_str data)
{
    (void)arg;
    printf("message %.*s %.*s\n", (int)channel.len, channel.data, (int)data.len, data.data);
}

static void say_count(void *arg, ptrdiff_t count)
{
    (void)arg;
    printf("count %td\n", count);
}

static void subscribe(enum bus_kind kind, const char *name)
{
    if (bus_subscribe(bus, kind, ws_str(name), say_message, NULL) == NULL)
        abort();
}

static void obey(const char *command, const char *name, const char *text)
{
    bool shard = command[0] == 's' && command[1] != 'u';
    enum bus_kind kind = command[0] == 'p' && command[1] == 's' ? BUS_PATTERN
                         : shard                                ? BUS_SHARD
                                                                : BUS_CHANNEL;
    const char *what = command + (kind != BUS_CHANNEL);

    if (strcmp(what, "sub") == 0)
        subscribe(kind, name);
    else if (strcmp(what, "unsub") == 0)
        bus_unsubscribe(bus_find(bus, kind, ws_str(name), say_message, NULL));
    else if (strcmp(what, "pub") == 0)
        bus_publish(bus, kind, ws_str(name), ws_str(text));
    else if (strcmp(what, "count") == 0)
        bus_count(bus, kind, ws_str(name), say_count, NULL);
    else
        abort();
}

static void input_came(void *arg, uint32_t ready)
{
    char line[4096];
    char *name, *text;

    (void)arg;
    (void)ready;
    if (fgets(line, sizeof line, stdin) == NULL) {
        ws_server_stop(server);
        return;
    }
    line[strcspn(line, "\n")] = '\0';
    name = strchr(line, ' ');
    if (name == NULL)
        return;
    *name++ = '\0';
    text = strchr(name, ' ');
    if (text != NULL)
        *text++ = '\0';
    obey(line, name, text == NULL ? "" : text);
}

int main(int argc, char **argv)
{
    const struct bus_redis_options options = {
        .urls = (const char *const *)argv + 1, .log = log_line, .ping_ms = 500, .timeout_ms = 1000};
    int result;

    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    server = argc < 2 ? NULL : ws_server_new(NULL);
    bus = server == NULL ? NULL : bus_redis_new(server, &options);
    if (bus == NULL || bus_listen(bus, say_state, NULL) == NULL)
        return EXIT_FAILURE;
    ws_watch(server, STDIN_FILENO, EPOLLIN, input_came, NULL);
    result = ws_server_run(server);
    bus_free(bus);
    ws_server_free(server);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
