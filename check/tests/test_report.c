/* SPDX-License-Identifier: MIT
 *
 * The reports of small runs that are made up, and of a server that sends what would harm whoever
 * reads the report. */
#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

#include "check/report.h"
#include "check/report_escape.h"

typedef void write_report(FILE *out, const struct report *r);

static void report_plain(FILE *out, const struct report *r)
{
    report_text(out, r, false);
}

static void report_coloured(FILE *out, const struct report *r)
{
    report_text(out, r, true);
}

/* What a report writes. The caller frees it; `*len` may be NULL. */
static char *written(write_report *write, const struct report *r, size_t *len)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    write(out, r);
    fclose(out);
    if (len != NULL)
        *len = size;
    return text;
}

static void assert_written(write_report *write, const struct report *r, const char *wanted)
{
    char *text = written(write, r, NULL);

    assert_string_equal(text, wanted);
    free(text);
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in:\n%s", part, text);
}

static size_t count_of(const char *text, const char *part)
{
    size_t n = 0;

    while ((text = strstr(text, part)) != NULL) {
        n++;
        text++;
    }
    return n;
}

/* --- runs that are made up -------------------------------------------------------------------- */

static void add_event(struct result *r, bool sent, bool http, const void *data, size_t len)
{
    struct event *e = &r->events[r->event_count++];

    *e = (struct event){.sent = sent, .http = http, .end = data == NULL, .total = len};
    bytes_add(&e->bytes, data, len < EVENT_KEPT ? len : EVENT_KEPT);
}

static const struct check_case cases[] = {
    {.name = "handshake/answer/accept",
     .level = LEVEL_HANDSHAKE,
     .section = "RFC 6455 §4.2.2",
     .demand = "The key is answered."},
    {.name = "strict/ping/fragmented",
     .level = LEVEL_STRICT,
     .section = "RFC 6455 §5.5",
     .demand = "A fragmented Ping fails the connection.",
     .hint = "Look at FIN before the opcode."},
    {.name = "strict/close/code",
     .level = LEVEL_STRICT,
     .section = "RFC 6455 §7.4.1",
     .demand = "The status is 1002."},
    {.name = "limits/message/16m",
     .level = LEVEL_LIMITS,
     .section = "RFC 6455 §10.4",
     .demand = "A message of 16 MiB comes back."},
};

enum { CASES = sizeof cases / sizeof cases[0] };

struct made_up {
    struct result results[CASES];
    struct report report;
};

/* One case passed, one failed, one has a warning, one is skipped. */
static struct made_up *make_up_run(void)
{
    struct made_up *m = calloc(1, sizeof *m);
    struct result *failed;

    assert_non_null(m);
    for (size_t i = 0; i < CASES; i++)
        m->results[i] = (struct result){.of = &cases[i], .ms = (unsigned)i + 1};
    failed = &m->results[1];
    failed->verdict = VERDICT_FAIL;
    strcpy(failed->reason, "the server answers");
    add_event(failed, true, true, "GET / HTTP/1.1\r\n", 16);
    add_event(failed, true, true, "\r\n", 2);
    add_event(failed, false, true, "HTTP/1.1 101 Yes\r\n\r\n", 20);
    add_event(failed, true, false, "\x09\x82\0\0\0\0hi", 8);
    add_event(failed, false, false, "\x8a\x02hi", 4);
    add_event(failed, false, false, NULL, 0);
    m->results[2].verdict = VERDICT_WARN;
    strcpy(m->results[2].reason, "the server closes with 1000, not 1002");
    m->results[3].verdict = VERDICT_SKIP;
    strcpy(m->results[3].reason, "the server's limit is lower");
    m->report =
        (struct report){.url = "ws://h:1/?a&b", .results = m->results, .count = CASES, .ms = 1234};
    return m;
}

static void release_run(struct made_up *m)
{
    for (size_t i = 0; i < CASES; i++)
        result_release(&m->results[i]);
    free(m);
}

/* --- the formats ------------------------------------------------------------------------------ */

static void the_text_shows_each_case_that_is_to_mend_and_a_table(void **state)
{
    struct made_up *m = make_up_run();
    (void)state;

    assert_written(report_plain, &m->report,
                   "FAIL  strict/ping/fragmented\n"
                   "  section  RFC 6455 §5.5\n"
                   "  demands  A fragmented Ping fails the connection.\n"
                   "  came     the server answers\n"
                   "  hint     Look at FIN before the opcode.\n"
                   "  alone    wscheck --only strict/ping/fragmented 'ws://h:1/?a&b'\n"
                   "\n"
                   "    sent      GET / HTTP/1.1 ...\n"
                   "    received  HTTP/1.1 101 Yes ...\n"
                   "    sent      Ping, FIN=0, 2 bytes, masked \"hi\"\n"
                   "              09 82 | key 00 00 00 00 | payload 68 69\n"
                   "              ! FIN=0, but a control frame is never fragmented (§5.5)\n"
                   "    received  Pong, 2 bytes \"hi\"\n"
                   "              8a 02 | payload 68 69\n"
                   "    received  end of the TCP connection\n"
                   "\n"
                   "WARN  strict/close/code\n"
                   "  section  RFC 6455 §7.4.1\n"
                   "  demands  The status is 1002.\n"
                   "  came     the server closes with 1000, not 1002\n"
                   "  alone    wscheck --only strict/close/code 'ws://h:1/?a&b'\n"
                   "\n"
                   "SKIP  limits/message/16m: the server's limit is lower\n"
                   "\n"
                   "level          pass   fail   warn   skip\n"
                   "handshake         1      0      0      0\n"
                   "limits            0      0      0      1\n"
                   "strict            0      1      1      0\n"
                   "\n"
                   "4 cases: 1 passed, 1 failed, 1 warned, 1 skipped, in 1.23 s\n");
    release_run(m);
}

static void the_text_has_colours_only_when_it_is_told_to(void **state)
{
    struct made_up *m = make_up_run();
    char *plain = written(report_plain, &m->report, NULL);
    char *coloured = written(report_coloured, &m->report, NULL);
    (void)state;

    assert_null(strchr(plain, '\033'));
    assert_has(coloured, "\033[1;31mFAIL\033[0m");
    free(plain);
    free(coloured);
    release_run(m);
}

static void tap_has_a_line_for_each_case_and_a_block_for_what_is_to_mend(void **state)
{
    struct made_up *m = make_up_run();
    (void)state;

    assert_written(report_tap, &m->report,
                   "TAP version 13\n"
                   "1..4\n"
                   "ok 1 - handshake/answer/accept\n"
                   "not ok 2 - strict/ping/fragmented\n"
                   "  ---\n"
                   "  severity: \"fail\"\n"
                   "  section: \"RFC 6455 §5.5\"\n"
                   "  demand: \"A fragmented Ping fails the connection.\"\n"
                   "  message: \"the server answers\"\n"
                   "  hint: \"Look at FIN before the opcode.\"\n"
                   "  command: \"wscheck --only strict/ping/fragmented 'ws://h:1/?a&b'\"\n"
                   "  conversation: |\n"
                   "    sent      GET / HTTP/1.1 ...\n"
                   "    received  HTTP/1.1 101 Yes ...\n"
                   "    sent      Ping, FIN=0, 2 bytes, masked \"hi\"\n"
                   "              09 82 | key 00 00 00 00 | payload 68 69\n"
                   "              ! FIN=0, but a control frame is never fragmented (§5.5)\n"
                   "    received  Pong, 2 bytes \"hi\"\n"
                   "              8a 02 | payload 68 69\n"
                   "    received  end of the TCP connection\n"
                   "  ...\n"
                   "ok 3 - strict/close/code\n"
                   "  ---\n"
                   "  severity: \"warning\"\n"
                   "  section: \"RFC 6455 §7.4.1\"\n"
                   "  demand: \"The status is 1002.\"\n"
                   "  message: \"the server closes with 1000, not 1002\"\n"
                   "  command: \"wscheck --only strict/close/code 'ws://h:1/?a&b'\"\n"
                   "  ...\n"
                   "ok 4 - limits/message/16m # SKIP the server's limit is lower\n");
    release_run(m);
}

static void junit_counts_failures_and_skipped_cases_of_each_level(void **state)
{
    struct made_up *m = make_up_run();
    (void)state;

    assert_written(
        report_junit, &m->report,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuites name=\"ws://h:1/?a&amp;b\" tests=\"4\" failures=\"1\" errors=\"0\" "
        "time=\"1.234\">\n"
        "  <testsuite name=\"handshake\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\" "
        "time=\"0.001\">\n"
        "    <testcase classname=\"handshake\" name=\"handshake/answer/accept\" time=\"0.001\"/>\n"
        "  </testsuite>\n"
        "  <testsuite name=\"limits\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\" "
        "time=\"0.004\">\n"
        "    <testcase classname=\"limits\" name=\"limits/message/16m\" time=\"0.004\">\n"
        "      <skipped message=\"the server&#39;s limit is lower\"/>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "  <testsuite name=\"strict\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\" "
        "time=\"0.005\">\n"
        "    <testcase classname=\"strict\" name=\"strict/ping/fragmented\" time=\"0.002\">\n"
        "      <failure type=\"MUST\" message=\"the server answers\">RFC 6455 §5.5: A fragmented "
        "Ping fails the connection.\n"
        "Came: the server answers\n"
        "Hint: Look at FIN before the opcode.\n"
        "Alone: wscheck --only strict/ping/fragmented &#39;ws://h:1/?a&amp;b&#39;\n"
        "sent      GET / HTTP/1.1 ...\n"
        "received  HTTP/1.1 101 Yes ...\n"
        "sent      Ping, FIN=0, 2 bytes, masked &quot;hi&quot;\n"
        "          09 82 | key 00 00 00 00 | payload 68 69\n"
        "          ! FIN=0, but a control frame is never fragmented (§5.5)\n"
        "received  Pong, 2 bytes &quot;hi&quot;\n"
        "          8a 02 | payload 68 69\n"
        "received  end of the TCP connection\n"
        "</failure>\n"
        "    </testcase>\n"
        "    <testcase classname=\"strict\" name=\"strict/close/code\" time=\"0.003\">\n"
        "      <system-out>warning: RFC 6455 §7.4.1: The status is 1002.\n"
        "Came: the server closes with 1000, not 1002\n"
        "Alone: wscheck --only strict/close/code &#39;ws://h:1/?a&amp;b&#39;\n"
        "</system-out>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "</testsuites>\n");
    release_run(m);
}

static void json_has_the_bytes_of_what_did_not_pass(void **state)
{
    struct made_up *m = make_up_run();
    (void)state;

    assert_written(
        report_json, &m->report,
        "{\n"
        "  \"url\": \"ws://h:1/?a&b\",\n"
        "  \"ms\": 1234,\n"
        "  \"count\": 4,\n"
        "  \"verdicts\": {\"pass\": 1, \"fail\": 1, \"warn\": 1, \"skip\": 1},\n"
        "  \"levels\": [\n"
        "    {\"level\": \"handshake\", \"pass\": 1, \"fail\": 0, \"warn\": 0, \"skip\": 0},\n"
        "    {\"level\": \"limits\", \"pass\": 0, \"fail\": 0, \"warn\": 0, \"skip\": 1},\n"
        "    {\"level\": \"strict\", \"pass\": 0, \"fail\": 1, \"warn\": 1, \"skip\": 0}\n"
        "  ],\n"
        "  \"cases\": [\n"
        "    {\"name\": \"handshake/answer/accept\", \"level\": \"handshake\", \"verdict\": "
        "\"pass\", \"ms\": 1, \"section\": \"RFC 6455 §4.2.2\", \"demand\": \"The key is "
        "answered.\"},\n"
        "    {\"name\": \"strict/ping/fragmented\", \"level\": \"strict\", \"verdict\": \"fail\", "
        "\"ms\": 2, \"section\": \"RFC 6455 §5.5\", \"demand\": \"A fragmented Ping fails the "
        "connection.\", \"reason\": \"the server answers\", \"hint\": \"Look at FIN before the "
        "opcode.\", \"command\": \"wscheck --only strict/ping/fragmented 'ws://h:1/?a&b'\", "
        "\"events\": [\n"
        "      {\"from\": \"client\", \"kind\": \"http\", \"total\": 16, \"hex\": "
        "\"474554202f20485454502f312e310d0a\"},\n"
        "      {\"from\": \"client\", \"kind\": \"http\", \"total\": 2, \"hex\": \"0d0a\"},\n"
        "      {\"from\": \"server\", \"kind\": \"http\", \"total\": 20, \"hex\": "
        "\"485454502f312e3120313031205965730d0a0d0a\"},\n"
        "      {\"from\": \"client\", \"kind\": \"frame\", \"total\": 8, \"hex\": "
        "\"0982000000006869\"},\n"
        "      {\"from\": \"server\", \"kind\": \"frame\", \"total\": 4, \"hex\": \"8a026869\"},\n"
        "      {\"from\": \"server\", \"kind\": \"end\", \"total\": 0, \"hex\": \"\"}]},\n"
        "    {\"name\": \"strict/close/code\", \"level\": \"strict\", \"verdict\": \"warn\", "
        "\"ms\": 3, \"section\": \"RFC 6455 §7.4.1\", \"demand\": \"The status is 1002.\", "
        "\"reason\": \"the server closes with 1000, not 1002\", \"hint\": null, \"command\": "
        "\"wscheck --only strict/close/code 'ws://h:1/?a&b'\", \"events\": []},\n"
        "    {\"name\": \"limits/message/16m\", \"level\": \"limits\", \"verdict\": \"skip\", "
        "\"ms\": 4, \"section\": \"RFC 6455 §10.4\", \"demand\": \"A message of 16 MiB comes "
        "back.\", \"reason\": \"the server's limit is lower\", \"hint\": null, \"command\": "
        "\"wscheck --only limits/message/16m 'ws://h:1/?a&b'\", \"events\": []}\n"
        "  ]\n"
        "}\n");
    release_run(m);
}

static void a_run_without_cases_has_a_report(void **state)
{
    struct report r = {.url = "ws://h/"};
    (void)state;

    assert_written(report_plain, &r,
                   "level          pass   fail   warn   skip\n\n"
                   "0 cases: 0 passed, 0 failed, 0 warned, 0 skipped, in "
                   "0.00 s\n");
    assert_written(report_tap, &r, "TAP version 13\n1..0\n");
}

static void a_count_is_of_one_level_and_one_verdict(void **state)
{
    struct made_up *m = make_up_run();
    (void)state;

    assert_int_equal(report_count(&m->report, LEVEL_STRICT, VERDICT_FAIL), 1);
    assert_int_equal(report_count(&m->report, LEVEL_STRICT, VERDICT_WARN), 1);
    assert_int_equal(report_count(&m->report, LEVEL_STRICT, VERDICT_PASS), 0);
    assert_int_equal(report_count(&m->report, LEVEL_HTTP, VERDICT_FAIL), 0);
    release_run(m);
}

/* --- the page --------------------------------------------------------------------------------- */

static void the_page_needs_no_script_and_no_other_file(void **state)
{
    struct made_up *m = make_up_run();
    char *page = written(report_html, &m->report, NULL);
    (void)state;

    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "http:"));
    assert_null(strstr(page, "https:"));
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "url("));
    assert_null(strstr(page, "<link"));
    assert_has(page, "default-src 'none'");
    free(page);
    release_run(m);
}

static void the_page_has_details_for_each_case_and_opens_a_failure(void **state)
{
    struct made_up *m = make_up_run();
    char *page = written(report_html, &m->report, NULL);
    (void)state;

    assert_int_equal(count_of(page, "<details class=\"case "), CASES);
    assert_int_equal(count_of(page, "</details>"), count_of(page, "<details"));
    assert_has(page, "<details class=\"case fail\" id=\"strict/ping/fragmented\" open>");
    assert_has(page, "<details class=\"case pass\" id=\"handshake/answer/accept\">");
    assert_true(strstr(page, "id=\"strict/ping") < strstr(page, "id=\"strict/close"));
    free(page);
    release_run(m);
}

static void the_page_marks_the_field_that_breaks_a_rule_in_words(void **state)
{
    struct made_up *m = make_up_run();
    char *page = written(report_html, &m->report, NULL);
    (void)state;

    assert_has(page, "<span class=\"b k0 odd\"><span class=\"mono\">09</span><small>FIN RSV "
                     "opcode</small></span>");
    assert_has(page, "<tr class=\"odd\"><th scope=\"row\">FIN</th><td class=\"mono\">0</td><td>"
                     "FIN=0, but a control frame is never fragmented</td><td>§5.5</td></tr>");
    free(page);
    release_run(m);
}

/* --- long conversations ----------------------------------------------------------------------- */

static void of_a_long_conversation_the_end_is_shown(void **state)
{
    struct made_up *m = make_up_run();
    struct result *r = &m->results[2];
    char *text;
    (void)state;

    for (size_t i = 0; i < 20; i++)
        add_event(r, false, false, (uint8_t[]){0x89, 1, (uint8_t)('a' + i)}, 3);
    text = written(report_plain, &m->report, NULL);
    assert_has(text, "... 8 before, not shown\n    received  Ping, 1 byte \"i\"\n");
    assert_null(strstr(text, "Ping, 1 byte \"h\""));
    free(text);
    text = written(report_html, &m->report, NULL);
    assert_has(text, "8 before, not shown");
    free(text);
    release_run(m);
}

static void where_events_may_be_missing_a_line_says_so(void **state)
{
    struct made_up *m = make_up_run();
    char *text;
    (void)state;

    while (m->results[2].event_count < EVENTS_KEPT)
        add_event(&m->results[2], true, false, "\x89\x80\0\0\0\0", 6);
    m->results[2].dropped = 1;
    text = written(report_plain, &m->report, NULL);
    assert_int_equal(count_of(text, "... and whatever came before the last event"), 1);
    free(text);
    release_run(m);
}

static void an_event_with_many_frames_shows_the_first_of_them(void **state)
{
    struct made_up *m = make_up_run();
    uint8_t pings[EVENT_KEPT + 40];
    char *text;
    (void)state;

    for (size_t i = 0; i < sizeof pings; i++)
        pings[i] = i % 2 == 0 ? 0x89 : 0;
    add_event(&m->results[2], false, false, pings, sizeof pings);
    text = written(report_plain, &m->report, NULL);
    assert_int_equal(count_of(text, "Ping, 0 bytes\n"), 8);
    assert_has(text, "... and 72 more frames and 40 more bytes\n");
    free(text);
    release_run(m);
}

/* --- hostile bytes ---------------------------------------------------------------------------- */

#define EVIL                                                                                       \
    "\x1b]0;x\a\x1b[2J\r\n\t\"'<b>&]]>\\\x7f\xc2\x9b\xff\xed\xa0\x80\xef\xbf\xbe"                  \
    "\xe2\x80\xae\xe2\x80\xac# SKIP"

static write_report *const formats[] = {report_plain, report_coloured, report_tap,
                                        report_junit, report_json,     report_html};

/* A run in which each text and each byte that is not ours is `EVIL`. */
static struct made_up *make_up_evil(struct check_case *c)
{
    struct made_up *m = make_up_run();
    struct result *r = &m->results[1];
    uint8_t frame[2 + sizeof EVIL] = {0x81, sizeof EVIL};

    *c = (struct check_case){.name = EVIL, .section = EVIL, .demand = EVIL, .hint = EVIL};
    memcpy(frame + 2, EVIL, sizeof EVIL); /* with its NUL */
    for (size_t i = 0; i < CASES; i++) {
        m->results[i].of = c;
        strcpy(m->results[i].reason, EVIL);
    }
    add_event(r, false, true, EVIL, sizeof EVIL);
    add_event(r, false, false, frame, sizeof frame);
    frame[0] = 0x88;
    add_event(r, false, false, frame, sizeof frame);
    m->report.url = EVIL;
    return m;
}

/* Text without a control byte but line ends and, where they are allowed, the colours of ours. */
static void assert_harmless(const char *text, size_t len, bool coloured)
{
    assert_int_equal(strlen(text), len);
    assert_true(is_utf8((const uint8_t *)text, len));
    assert_null(strstr(text, "\xc2\x9b"));
    assert_null(strstr(text, "\xe2\x80"));
    assert_null(strstr(text, "\xef\xbf\xbe"));
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)text[i];

        if (byte == '\033' && coloured) {
            size_t end = i + 2 + strspn(text + i + 2, "0123456789;");

            assert_true(text[i + 1] == '[' && text[end] == 'm');
            continue;
        }
        assert_true((byte >= ' ' && byte != 0x7f) || byte == '\n');
    }
}

static void no_format_lets_hostile_bytes_through(void **state)
{
    struct check_case c;
    struct made_up *m = make_up_evil(&c);
    (void)state;

    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        size_t len;
        char *text = written(formats[i], &m->report, &len);

        assert_harmless(text, len, formats[i] == report_coloured);
        free(text);
    }
    release_run(m);
}

static void neither_xml_nor_html_takes_a_tag_from_the_server(void **state)
{
    struct check_case c;
    struct made_up *m = make_up_evil(&c);
    (void)state;

    for (size_t i = 3; i < sizeof formats / sizeof formats[0]; i += 2) {
        char *text = written(formats[i], &m->report, NULL);

        assert_null(strstr(text, "<b>"));
        assert_null(strstr(text, "]]>"));
        assert_null(strstr(text, "&]"));
        assert_has(text, "&quot;&#39;&lt;b&gt;&amp;]]&gt;\\\\\\x7f");
        free(text);
    }
    release_run(m);
}

/* The one `#` that is not escaped begins the directive of the skipped case. */
static void a_tap_line_takes_no_directive_from_a_text(void **state)
{
    struct check_case c;
    struct made_up *m = make_up_evil(&c);
    char *text = written(report_tap, &m->report, NULL);
    size_t lines = 0, directives = 0;
    (void)state;

    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, "ok ", 3) != 0 && strncmp(line, "not ok ", 7) != 0)
            continue;
        lines++;
        for (const char *sign = line; (sign = strchr(sign, '#')) != NULL; sign++)
            directives += sign[-1] != '\\';
    }
    assert_int_equal(lines, CASES);
    assert_int_equal(directives, 1);
    free(text);
    release_run(m);
}

static void a_command_is_one_that_a_shell_takes_as_it_is(void **state)
{
    static const char *const words[][2] = {
        {"ws://h:1/a", "ws://h:1/a"},
        {"ws://h/?a=1&b", "'ws://h/?a=1&b'"},
        {"$(id)", "'$(id)'"},
        {"it's", "'it'\"'\"'s'"},
        {"", "''"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct bytes b = {0};

        add_shell_word(&b, words[i][0]);
        bytes_add(&b, "", 1);
        assert_string_equal((const char *)b.data, words[i][1]);
        bytes_release(&b);
    }
}

#include "check/tests/test_report.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
