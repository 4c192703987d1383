/* SPDX-License-Identifier: MIT
 *
 * The report for people at a terminal; see report.h. */
#include <string.h>

#include "report_escape.h"
#include "report_parts.h"

#define BOLD "\033[1m"
#define DIM  "\033[2m"
#define OFF  "\033[0m"

static const char *const verdict_colours[VERDICTS] = {
    [VERDICT_PASS] = "\033[32m",
    [VERDICT_FAIL] = "\033[1;31m",
    [VERDICT_WARN] = "\033[33m",
    [VERDICT_SKIP] = "\033[36m",
};

/* Where text is written, and whether with colours. */
struct page {
    FILE *out;
    bool colour;
};

static void paint(const struct page *p, const char *code)
{
    if (p->colour)
        fputs(code, p->out);
}

static void put_verdict(const struct page *p, enum verdict verdict)
{
    static const char *const words[VERDICTS] = {"PASS", "FAIL", "WARN", "SKIP"};

    paint(p, verdict_colours[verdict]);
    fputs(words[verdict], p->out);
    paint(p, OFF);
}

/* A line of a case: "  came     the connection goes on". */
static void put_line(const struct page *p, const char *label, const char *text)
{
    paint(p, DIM);
    fprintf(p->out, "  %-8s ", label);
    paint(p, OFF);
    put_visible(p->out, text);
    fputc('\n', p->out);
}

static void put_case(const struct page *p, const struct report *r, const struct result *result)
{
    const struct check_case *c = result->of;
    struct bytes b = {0};

    put_verdict(p, result->verdict);
    fputs("  ", p->out);
    paint(p, BOLD);
    put_visible(p->out, c->name);
    paint(p, OFF);
    fputc('\n', p->out);
    put_line(p, "section", c->section);
    put_line(p, "demands", c->demand);
    put_line(p, "came", result->reason);
    if (c->hint != NULL)
        put_line(p, "hint", c->hint);
    put_line(p, "alone", command_text(&b, r, c));
    b.len = 0;
    add_conversation(&b, result, "    ", p->colour);
    if (b.len > 0)
        fputc('\n', p->out);
    put_bytes(p->out, &b);
    fputc('\n', p->out);
    bytes_release(&b);
}

/* A skipped case has nothing to mend: one line each. */
static void put_skipped(const struct page *p, const struct result *result)
{
    put_verdict(p, VERDICT_SKIP);
    fputs("  ", p->out);
    put_visible(p->out, result->of->name);
    fputs(": ", p->out);
    put_visible(p->out, result->reason);
    fputc('\n', p->out);
}

static void put_table(const struct page *p, const struct report *r)
{
    paint(p, BOLD);
    fprintf(p->out, "%-12s %6s %6s %6s %6s", "level", "pass", "fail", "warn", "skip");
    paint(p, OFF);
    fputc('\n', p->out);
    for (int level = 0; level < LEVELS; level++) {
        if (count_level(r, (enum level)level) == 0)
            continue;
        fprintf(p->out, "%-12s", level_name((enum level)level));
        for (int v = 0; v < VERDICTS; v++) {
            size_t n = report_count(r, (enum level)level, (enum verdict)v);

            if (n > 0)
                paint(p, verdict_colours[v]);
            fprintf(p->out, " %6zu", n);
            if (n > 0)
                paint(p, OFF);
        }
        fputc('\n', p->out);
    }
}

void report_text(FILE *out, const struct report *r, bool colour)
{
    struct page p = {.out = out, .colour = colour};
    size_t skipped = 0;

    for (size_t i = 0; i < r->count; i++)
        if (r->results[i].verdict == VERDICT_FAIL || r->results[i].verdict == VERDICT_WARN)
            put_case(&p, r, &r->results[i]);
    for (size_t i = 0; i < r->count; i++) {
        if (r->results[i].verdict != VERDICT_SKIP)
            continue;
        put_skipped(&p, &r->results[i]);
        skipped++;
    }
    if (skipped > 0)
        fputc('\n', out);
    put_table(&p, r);
    fprintf(out, "\n%zu case%s: %zu passed, %zu failed, %zu warned, %zu skipped, in %u.%02u s\n",
            r->count, r->count == 1 ? "" : "s", count_all(r, VERDICT_PASS),
            count_all(r, VERDICT_FAIL), count_all(r, VERDICT_WARN), skipped, r->ms / 1000,
            r->ms / 10 % 100);
}
