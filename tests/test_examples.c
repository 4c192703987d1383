/* SPDX-License-Identifier: MIT
 *
 * Each example as its reader would try it: the built program, on a port given as its argument. */
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "raw_client.h"

enum { CLIENTS = 3 };

struct fixture {
    struct process process;
    int holder; /* of the port */
    uint16_t port;
    struct raw_client clients[CLIENTS];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    process_init(&f->process);
    for (size_t i = 0; i < CLIENTS; i++)
        raw_init(&f->clients[i]);
    f->port = process_reserve_port(&f->holder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&f->clients[i]);
    process_release(&f->process);
    close(f->holder);
    free(f);
    return 0;
}

static void start(struct fixture *f, const char *name)
{
    char path[64];
    char port[8];

    snprintf(path, sizeof path, "examples/%s", name);
    snprintf(port, sizeof port, "%u", f->port);
    process_start(&f->process, path, (const char *const[]){name, port, NULL});
    process_wait_for_port(&f->process, f->port);
}

static struct raw_client *join(struct fixture *f, size_t index, const char *path)
{
    raw_connect(&f->clients[index], f->port);
    raw_upgrade(&f->clients[index], path);
    return &f->clients[index];
}

/* Nothing was printed, no sanitizer's complaint either, and it runs until a signal ends it. */
static void expect_silent_so_far(struct fixture *f)
{
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), -SIGTERM);
    assert_int_equal(f->process.out.len, 0);
    assert_int_equal(f->process.err.len, 0);
}

static void echo_answers_with_what_it_got(void **state)
{
    static const uint8_t binary[] = {0x00, 0xff};
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, "echo");
    c = join(f, 0, "/");
    raw_expect_echo(c, "hello");
    raw_send_frame(c, RAW_BINARY, binary, sizeof binary);
    raw_expect_frame(c, RAW_BINARY, binary, sizeof binary);
    raw_send_close(c, 1000);
    raw_expect_closed(c, 1000);
    expect_silent_so_far(f);
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 65536);
    size_t len = 0;

    assert_non_null(text);
    if (file == NULL) {
        free(text);
        skip(); /* not run from the top of the tree */
        return NULL;
    }
    len = fread(text, 1, 65535, file);
    assert_in_range(len, 1, 65534);
    fclose(file);
    return text;
}

static int count_lines(const char *path)
{
    char *source = read_file(path);
    int lines = 0;

    for (const char *at = source; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    free(source);
    return lines;
}

static void the_first_programs_are_short(void **state)
{
    (void)state;
    assert_in_range(count_lines("examples/echo.c"), 1, 15);
    assert_in_range(count_lines("examples/sio_broadcast.c"), 1, 25);
}

static const char *const readmes[] = {"README.md", "README.zh-CN.md"};

/* But for the lines before `from`, which are the licence and what it is. */
static void expect_in_readmes(const char *path, const char *from)
{
    char *source = read_file(path);
    const char *code = strstr(source, from);

    assert_non_null(code);
    for (size_t i = 0; i < sizeof readmes / sizeof readmes[0]; i++) {
        char *readme = read_file(readmes[i]);

        if (strstr(readme, code) == NULL)
            fail_msg("%s does not show %s as it is", readmes[i], path);
        free(readme);
    }
    free(source);
}

static void the_readme_shows_echo_as_it_is(void **state)
{
    (void)state;
    expect_in_readmes("examples/echo.c", "#include");
}

static void the_readme_shows_sio_broadcast_as_it_is(void **state)
{
    (void)state;
    expect_in_readmes("examples/sio_broadcast.c", "#include");
}

/* As the README has it: the files, one of one's own, and a compiler without options; in a new
 * directory, where `script` says what to copy and to compile. */
static void expect_to_compile(const char *script)
{
    char command[1024];

    if (access("examples/echo.c", R_OK) != 0)
        skip(); /* not run from the top of the tree */
    snprintf(command, sizeof command,
             "set -e; d=$(mktemp -d); trap 'rm -r \"$d\"' EXIT; cp ./*.[ch] \"$d\";"
             "%s; for std in '' -std=c11; do ${CC:-cc} $std -Werror -o program $files; done",
             script);
    assert_int_equal(system(command), 0);
}

static void the_library_compiles_where_it_is_copied(void **state)
{
    (void)state;
    expect_to_compile("cp examples/echo.c \"$d\"; cd \"$d\"; files=$(ls ./*.c)");
}

static void the_socketio_library_compiles_where_it_is_copied(void **state)
{
    (void)state;
    expect_to_compile(
        "mkdir \"$d/socketio\" \"$d/cluster\"; cp socketio/*.[ch] \"$d/socketio\";"
        "cp cluster/*.[ch] \"$d/cluster\"; cp examples/sio_broadcast.c \"$d\"; cd \"$d\";"
        "files=$(ls ./*.c socketio/*.c cluster/*.c)");
}

/* The id of a member is the number of its connection; the first was the test's own look at the
 * port. */
static unsigned id_said(struct raw_client *c, const char *text)
{
    struct raw_frame f;
    char said[128];
    unsigned id = 0;
    int at = 0;

    raw_read_frame(c, &f);
    assert_int_equal(f.head, RAW_TEXT);
    assert_true(f.len < sizeof said);
    memcpy(said, f.payload, f.len);
    said[f.len] = '\0';
    assert_int_equal(sscanf(said, "#%u %n", &id, &at), 1);
    assert_string_equal(said + at, text);
    return id;
}

static void chat_tells_a_room_who_comes_what_is_said_and_who_goes(void **state)
{
    struct fixture *f = *state;
    unsigned second;

    start(f, "chat");
    join(f, 0, "/tea");
    join(f, 1, "/coffee");
    join(f, 2, "/tea");
    second = id_said(&f->clients[0], "came");
    raw_send_message(&f->clients[2], "milk?");
    assert_int_equal(id_said(&f->clients[0], "milk?"), second);
    assert_int_equal(id_said(&f->clients[2], "milk?"), second);
    raw_send_close(&f->clients[2], 1000);
    assert_int_equal(id_said(&f->clients[0], "left"), second);
    raw_send_message(&f->clients[1], "black"); /* all that this room has heard */
    assert_int_not_equal(id_said(&f->clients[1], "black"), second);
    expect_silent_so_far(f);
}

static void chat_refuses_what_is_binary_or_too_long(void **state)
{
    struct fixture *f = *state;
    char text[1002];
    struct raw_frame frame;

    memset(text, 'a', sizeof text);
    text[1001] = '\0';
    start(f, "chat");
    join(f, 0, "/");
    raw_send_message(&f->clients[0], text + 1); /* as long as it may be */
    raw_read_frame(&f->clients[0], &frame);
    assert_true(frame.len > 1000);
    raw_send_message(&f->clients[0], text);
    raw_expect_close(&f->clients[0], 1009);
    join(f, 1, "/");
    raw_send_frame(&f->clients[1], RAW_BINARY, "x", 1);
    raw_expect_close(&f->clients[1], 1003);
    expect_silent_so_far(f);
}

static void embed_poll_serves_between_the_lines_that_are_typed(void **state)
{
    struct fixture *f = *state;
    struct process *p = &f->process;
    unsigned id = 0;
    int at = 0;
    const char *line;

    start(f, "embed_poll");
    join(f, 0, "/");
    raw_send_message(&f->clients[0], "from the client");
    line = process_line(p, &p->out);
    assert_int_equal(sscanf(line, "#%u: %n", &id, &at), 1);
    assert_string_equal(line + at, "from the client");
    process_write(p, "typed\n");
    raw_expect_frame(&f->clients[0], RAW_BINARY, "typed\n", 6);
    process_close_input(p);
    raw_expect_close(&f->clients[0], 1001);
    raw_close(&f->clients[0]);
    assert_int_equal(process_wait(p), 0);
    assert_int_equal(p->err.len, 0); /* no leak either */
}

/* One worker, first come, first served: when the second client has its answer, that of the first
 * one, who has left, has been dealt with. */
static void threads_answers_whoever_is_still_there(void **state)
{
    struct fixture *f = *state;

    start(f, "threads");
    join(f, 0, "/");
    join(f, 1, "/");
    raw_send_message(&f->clients[0], "400000520000069");
    raw_send_close(&f->clients[0], 1000);
    raw_expect_close(&f->clients[0], 1000);
    raw_close(&f->clients[0]);
    raw_send_message(&f->clients[1], "400000520000069");
    raw_send_message(&f->clients[1], "91");
    raw_send_message(&f->clients[1], "97");
    raw_send_frame(&f->clients[1], RAW_PING, "busy?", 5);
    raw_expect_frame(&f->clients[1], RAW_PONG, "busy?",
                     5); /* the loop does not wait for the worker */
    raw_expect_message(&f->clients[1], "400000520000069 = 20000003 * 20000023");
    raw_expect_message(&f->clients[1], "91 = 7 * 13");
    raw_expect_message(&f->clients[1], "97 = 97 * 1");
    expect_silent_so_far(f);
}

static void threads_refuses_what_is_no_number(void **state)
{
    static const char *const texts[] = {"seven", "-7", "", "1", "7 ", "0x7"};
    struct fixture *f = *state;

    start(f, "threads");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        f->clients[0].label = texts[i];
        join(f, 0, "/");
        raw_send_message(&f->clients[0], texts[i]);
        raw_expect_close(&f->clients[0], 1008);
        raw_close(&f->clients[0]);
    }
    expect_silent_so_far(f);
}

/* Try to come in with this target and header line. The client is connected when it is let in. */
static void try_auth(struct fixture *f, const char *target, const char *header, int status)
{
    struct raw_client *c = &f->clients[0];
    struct raw_bytes b = {0};
    struct raw_response r;

    raw_close(c);
    raw_connect(c, f->port);
    c->label = target;
    raw_bytes_upgrade(&b, target, header);
    raw_send_bytes(c, &b);
    raw_bytes_release(&b);
    if (status == 101) {
        raw_expect_upgraded(c, &r);
        return;
    }
    raw_expect_status(c, &r, status);
    assert_true(raw_header_is(&r, "WWW-Authenticate", "Bearer"));
    raw_expect_eof(c);
}

static void auth_lets_in_who_has_a_token_and_answers_401_to_others(void **state)
{
    struct fixture *f = *state;

    start(f, "auth");
    try_auth(f, "/", "", 401);
    try_auth(f, "/?token=", "", 401);
    try_auth(f, "/?token=sesam", "", 401);
    try_auth(f, "/?token=sesamE", "", 401);
    try_auth(f, "/?token=sesamee", "", 401);
    try_auth(f, "/?nottoken=sesame", "", 401);
    try_auth(f, "/", "Authorization: Basic sesame\r\n", 401);
    try_auth(f, "/", "Authorization: Bearer open\r\n", 401);
    try_auth(f, "/", "Authorization: Bearersesame\r\n", 401);
    try_auth(f, "/", "Authorization: Bearer\r\n", 401);
    try_auth(f, "/", "Authorization: sesame\r\n", 401);
    try_auth(f, "/?token=sesame", "", 101);
    raw_expect_message(&f->clients[0], "Welcome, Ali Baba.");
    try_auth(f, "/?a=1&&token=rumpelstiltskin&b", "", 101);
    raw_expect_message(&f->clients[0], "Welcome, the queen.");
    try_auth(f, "/", "Authorization: Bearer sesame\r\n", 101);
    raw_expect_message(&f->clients[0], "Welcome, Ali Baba.");
    expect_silent_so_far(f);
}

/* RFC 9110 §11.1, §11.4 */
static void auth_takes_the_scheme_in_any_case_and_spaces_behind_it(void **state)
{
    static const char *const headers[] = {
        "Authorization: bearer sesame\r\n",
        "authorization: BEARER sesame\r\n",
        "Authorization: Bearer   sesame\r\n",
    };
    struct fixture *f = *state;

    start(f, "auth");
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        try_auth(f, "/", headers[i], 101);
        raw_expect_message(&f->clients[0], "Welcome, Ali Baba.");
    }
    expect_silent_so_far(f);
}

/* Each says why and ends with 1; the two that the README shows have no line left to say it on. */
static void a_port_in_use_is_no_mystery(void **state)
{
    static const char *const names[] = {"echo", "sio_broadcast", "chat",    "embed_poll", "threads",
                                        "auth", "ws_log",        "ws_chat", "sio_hello"};
    struct fixture *f = *state;
    char port[8];

    start(f, "echo");
    snprintf(port, sizeof port, "%u", f->port);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct process p;
        char path[64];

        process_init(&p);
        snprintf(path, sizeof path, "examples/%s", names[i]);
        process_start(&p, path, (const char *const[]){names[i], port, NULL});
        assert_int_equal(process_wait(&p), 1);
        if (i > 1)
            assert_non_null(strstr(p.err.text, "Address already in use"));
        process_release(&p);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#include "tests/test_examples.list"

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* a program that ends early fails its test, not all */
    return cmocka_run_group_tests_name("examples", tests, NULL, NULL);
}
