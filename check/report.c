/* SPDX-License-Identifier: MIT
 *
 * The reports for programs: TAP, JUnit's XML and JSON; see report.h. */
#include "report.h"

#include <string.h>

#include "report_escape.h"
#include "report_parts.h"

static bool is_to_mend(const struct result *r)
{
    return r->verdict == VERDICT_FAIL || r->verdict == VERDICT_WARN;
}

/* --- TAP 13 ----------------------------------------------------------------------------------- */

/* "key: value" of YAML. What put_json() writes is a scalar of YAML, too. */
static void put_yaml(FILE *out, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    fprintf(out, "  %s: ", key);
    put_json(out, value);
    fputc('\n', out);
}

/* The conversation as a block of YAML, whose lines need no escapes since they are visible text. */
static void put_yaml_conversation(FILE *out, const struct result *result)
{
    struct bytes b = {0};

    add_conversation(&b, result, "    ", false);
    if (b.len > 0)
        fputs("  conversation: |\n", out);
    put_bytes(out, &b);
    bytes_release(&b);
}

static void put_tap_block(FILE *out, const struct report *r, const struct result *result)
{
    const struct check_case *c = result->of;
    struct bytes command = {0};

    fputs("  ---\n", out);
    put_yaml(out, "severity", result->verdict == VERDICT_FAIL ? "fail" : "warning");
    put_yaml(out, "section", c->section);
    put_yaml(out, "demand", c->demand);
    put_yaml(out, "message", result->reason);
    put_yaml(out, "hint", c->hint);
    put_yaml(out, "command", command_text(&command, r, c));
    put_yaml_conversation(out, result);
    fputs("  ...\n", out);
    bytes_release(&command);
}

/* A `#` in a description would begin a directive. */
static void put_tap_text(FILE *out, const char *text)
{
    struct bytes b = {0};

    add_visible(&b, text, strlen(text));
    for (size_t i = 0; i < b.len; i++) {
        if (b.data[i] == '#')
            fputc('\\', out);
        fputc(b.data[i], out);
    }
    bytes_release(&b);
}

void report_tap(FILE *out, const struct report *r)
{
    fprintf(out, "TAP version 13\n1..%zu\n", r->count);
    for (size_t i = 0; i < r->count; i++) {
        const struct result *result = &r->results[i];

        fprintf(out, "%s %zu - ", result->verdict == VERDICT_FAIL ? "not ok" : "ok", i + 1);
        put_tap_text(out, result->of->name);
        if (result->verdict == VERDICT_SKIP) {
            fputs(" # SKIP ", out);
            put_tap_text(out, result->reason);
        }
        fputc('\n', out);
        if (is_to_mend(result))
            put_tap_block(out, r, result);
    }
}

/* --- JUnit ------------------------------------------------------------------------------------ */

static void put_seconds(FILE *out, const char *attribute, unsigned long ms)
{
    fprintf(out, " %s=\"%lu.%03lu\"", attribute, ms / 1000, ms % 1000);
}

static void put_attribute(FILE *out, const char *attribute, const char *value)
{
    fprintf(out, " %s=\"", attribute);
    put_xml(out, value);
    fputc('"', out);
}

/* What a person needs, as the text of an element. */
static void put_xml_body(FILE *out, const struct report *r, const struct result *result)
{
    const struct check_case *c = result->of;
    struct bytes b = {0};

    put_xml(out, c->section);
    fputs(": ", out);
    put_xml(out, c->demand);
    fputs("\nCame: ", out);
    put_xml(out, result->reason);
    if (c->hint != NULL) {
        fputs("\nHint: ", out);
        put_xml(out, c->hint);
    }
    fputs("\nAlone: ", out);
    put_xml(out, command_text(&b, r, c));
    fputs("\n", out);
    b.len = 0;
    add_conversation(&b, result, "", false);
    put_xml_lines(out, &b);
    bytes_release(&b);
}

/* JUnit knows no warning: a case with one has passed, and says it in its output. */
static void put_testcase(FILE *out, const struct report *r, const struct result *result)
{
    fputs("    <testcase", out);
    put_attribute(out, "classname", level_name(result->of->level));
    put_attribute(out, "name", result->of->name);
    put_seconds(out, "time", result->ms);
    switch (result->verdict) {
    case VERDICT_FAIL:
        fputs(">\n      <failure type=\"MUST\"", out);
        put_attribute(out, "message", result->reason);
        fputc('>', out);
        put_xml_body(out, r, result);
        fputs("</failure>\n    </testcase>\n", out);
        break;
    case VERDICT_WARN:
        fputs(">\n      <system-out>warning: ", out);
        put_xml_body(out, r, result);
        fputs("</system-out>\n    </testcase>\n", out);
        break;
    case VERDICT_SKIP:
        fputs(">\n      <skipped", out);
        put_attribute(out, "message", result->reason);
        fputs("/>\n    </testcase>\n", out);
        break;
    default:
        fputs("/>\n", out);
        break;
    }
}

static void put_testsuite(FILE *out, const struct report *r, enum level level)
{
    unsigned long ms = 0;

    for (size_t i = 0; i < r->count; i++)
        ms += r->results[i].of->level == level ? r->results[i].ms : 0;
    fprintf(out, "  <testsuite name=\"%s\" tests=\"%zu\" failures=\"%zu\" errors=\"0\"",
            level_name(level), count_level(r, level), report_count(r, level, VERDICT_FAIL));
    fprintf(out, " skipped=\"%zu\"", report_count(r, level, VERDICT_SKIP));
    put_seconds(out, "time", ms);
    fputs(">\n", out);
    for (size_t i = 0; i < r->count; i++)
        if (r->results[i].of->level == level)
            put_testcase(out, r, &r->results[i]);
    fputs("  </testsuite>\n", out);
}

void report_junit(FILE *out, const struct report *r)
{
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites", out);
    put_attribute(out, "name", r->url);
    fprintf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"0\"", r->count,
            count_all(r, VERDICT_FAIL));
    put_seconds(out, "time", r->ms);
    fputs(">\n", out);
    for (int level = 0; level < LEVELS; level++)
        if (count_level(r, (enum level)level) > 0)
            put_testsuite(out, r, (enum level)level);
    fputs("</testsuites>\n", out);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void put_counts(FILE *out, const struct report *r, int level)
{
    for (int v = 0; v < VERDICTS; v++) {
        enum verdict verdict = (enum verdict)v;
        size_t n = level < 0 ? count_all(r, verdict) : report_count(r, (enum level)level, verdict);

        fprintf(out, "%s\"%s\": %zu", v == 0 ? "" : ", ", verdict_name(verdict), n);
    }
}

static void put_levels(FILE *out, const struct report *r)
{
    const char *comma = "";

    for (int level = 0; level < LEVELS; level++) {
        if (count_level(r, (enum level)level) == 0)
            continue;
        fprintf(out, "%s\n    {\"level\": \"%s\", ", comma, level_name((enum level)level));
        put_counts(out, r, level);
        fputc('}', out);
        comma = ",";
    }
}

static void put_member(FILE *out, const char *name, const char *value)
{
    fprintf(out, ", \"%s\": ", name);
    if (value != NULL)
        put_json(out, value);
    else
        fputs("null", out);
}

/* The bytes are in hexadecimal, so that they are exact. */
static void put_event(FILE *out, const struct event *e)
{
    fprintf(out, "\n      {\"from\": \"%s\", \"kind\": \"%s\", \"total\": %zu, \"hex\": \"",
            e->sent ? "client" : "server",
            e->end    ? "end"
            : e->http ? "http"
                      : "frame",
            e->total);
    for (size_t i = 0; i < e->bytes.len; i++)
        fprintf(out, "%02x", e->bytes.data[i]);
    fputs("\"}", out);
}

static void put_json_case(FILE *out, const struct report *r, const struct result *result)
{
    const struct check_case *c = result->of;
    struct bytes command = {0};

    fputs("    {\"name\": ", out);
    put_json(out, c->name);
    put_member(out, "level", level_name(c->level));
    put_member(out, "verdict", verdict_name(result->verdict));
    fprintf(out, ", \"ms\": %u", result->ms);
    put_member(out, "section", c->section);
    put_member(out, "demand", c->demand);
    if (result->verdict != VERDICT_PASS) {
        put_member(out, "reason", result->reason);
        put_member(out, "hint", c->hint);
        put_member(out, "command", command_text(&command, r, c));
        fputs(", \"events\": [", out);
        for (size_t i = 0; i < result->event_count; i++) {
            fputs(i == 0 ? "" : ",", out);
            put_event(out, &result->events[i]);
        }
        fputc(']', out);
    }
    fputc('}', out);
    bytes_release(&command);
}

void report_json(FILE *out, const struct report *r)
{
    fputs("{\n  \"url\": ", out);
    put_json(out, r->url);
    fprintf(out, ",\n  \"ms\": %u,\n  \"count\": %zu,\n  \"verdicts\": {", r->ms, r->count);
    put_counts(out, r, -1);
    fputs("},\n  \"levels\": [", out);
    put_levels(out, r);
    fputs("\n  ],\n  \"cases\": [\n", out);
    for (size_t i = 0; i < r->count; i++) {
        put_json_case(out, r, &r->results[i]);
        fputs(i + 1 < r->count ? ",\n" : "\n", out);
    }
    fputs("  ]\n}\n", out);
}
