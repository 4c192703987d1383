/* SPDX-License-Identifier: MIT
 *
 * The report as one page of HTML; see report.h.
 *
 * The page needs no other file and no script: cases are <details>, and the filter is radio buttons
 * with :has(); where a browser does not know that, everything is shown. */
#include "report.h"

#include "report_escape.h"
#include "report_parts.h"
#include "report_style.h"

enum {
    PASSED_WITH_BYTES = 40, /* in a run of so few cases those that passed show their bytes, too */
    OPEN_AT_FIRST = 3,      /* failures whose details are open when the page is loaded */
    BYTES_IN_ROW = 32       /* of a field, in the table of fields */
};

/* --- bytes ------------------------------------------------------------------------------------ */

/* The class that colours a field, by number. */
static int colour_of(const struct field *f)
{
    switch (f->kind) {
    case FIELD_FIN:
    case FIELD_RSV:
    case FIELD_OPCODE:
        return 0;
    case FIELD_MASK:
    case FIELD_LENGTH:
        return 1;
    case FIELD_EXTENDED_LENGTH:
        return 2;
    case FIELD_KEY:
        return 3;
    case FIELD_STATUS:
        return 5;
    case FIELD_REASON:
        return 6;
    default:
        return 4;
    }
}

static void put_legend(FILE *out)
{
    static const char *const names[] = {
        "FIN RSV opcode", "MASK length", "extended length", "key", "payload", "status", "reason",
    };

    fputs("<p>Bytes are in hexadecimal, with the name of their field below them; a dashed frame "
          "stands around those that break a rule.</p>\n<ul class=\"key\" aria-label=\"Colours of "
          "fields\">",
          out);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        fprintf(out, "<li class=\"k%zu\">%s</li>", i, names[i]);
    fputs("</ul>\n", out);
}

static void put_hex(FILE *out, const uint8_t *data, size_t len, size_t max)
{
    struct bytes b = {0};

    add_hex(&b, data, len < max ? len : max);
    put_bytes(out, &b);
    if (len > max)
        fprintf(out, " &hellip; %zu more", len - max);
    bytes_release(&b);
}

/* The fields `f` and those after it that are of the same byte, or the one field `f`. */
static size_t put_group(FILE *out, const struct field *f, size_t left)
{
    size_t n = 1;
    bool odd = f->odd;

    while (f->bits != 0 && n < left && f[n].bits != 0 && f[n].data == f->data)
        odd |= f[n++].odd;
    fprintf(out, "<span class=\"b k%d%s\"><span class=\"mono\">", colour_of(f), odd ? " odd" : "");
    put_hex(out, f->data, f->len, BYTES_IN_ROW);
    fputs("</span><small>", out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s%s", i == 0 ? "" : " ", field_name(f[i].kind));
    fputs("</small></span>", out);
    return n;
}

static void put_wire(FILE *out, const struct annotation *a, const struct frame_note *frame)
{
    const struct field *f = &a->fields[frame->first];

    fputs("<div class=\"wire\">", out);
    for (size_t i = 0; i < frame->count;)
        i += f[i].derived ? 1 : put_group(out, &f[i], frame->count - i);
    fputs("</div>\n", out);
}

static void put_field(FILE *out, const struct field *f)
{
    char bits[BITS_SIZE];
    struct bytes text = {0};

    fprintf(out, "<tr%s><th scope=\"row\">%s</th><td class=\"mono\">",
            f->odd ? " class=\"odd\"" : "", field_name(f->kind));
    field_bits(bits, f);
    if (f->bits != 0)
        fputs(bits, out);
    else
        put_hex(out, f->data, f->len, BYTES_IN_ROW);
    fputs("</td><td>", out);
    put_xml(out, f->meaning);
    if (f->readable) {
        add_visible(&text, f->data, f->len);
        fputs(" <code>&quot;", out);
        put_xml_lines(out, &text);
        fputs("&quot;</code>", out);
        bytes_release(&text);
    }
    fprintf(out, "</td><td>%s</td></tr>\n", f->section);
}

static void put_frame(FILE *out, const struct annotation *a, const struct frame_note *frame)
{
    struct bytes title = {0};

    fputs("<p class=\"title\">", out);
    add_title(&title, a, frame);
    put_xml_lines(out, &title);
    bytes_release(&title);
    fputs("</p>\n", out);
    put_wire(out, a, frame);
    fprintf(out,
            "<details class=\"frame\"%s><summary>Fields</summary>"
            "<table class=\"fields\"><thead><tr><th scope=\"col\">Field</th><th scope=\"col\">Bits "
            "or bytes</th><th scope=\"col\">Meaning</th><th scope=\"col\">RFC 6455</th></tr>"
            "</thead><tbody>\n",
            frame->odd ? " open" : "");
    for (size_t i = 0; i < frame->count; i++)
        put_field(out, &a->fields[frame->first + i]);
    fputs("</tbody></table></details>\n", out);
}

static void put_head(FILE *out, const struct event *e)
{
    struct bytes b = {0};

    add_head_lines(&b, e, "");
    put_xml_lines(out, &b);
    bytes_release(&b);
}

/* --- conversations ---------------------------------------------------------------------------- */

static void begin_turn(FILE *out, const struct event *e)
{
    fprintf(out, "<li class=\"%s\"><span class=\"who\">%s</span><div>",
            e->sent ? "sent" : "received", e->sent ? "Sent" : "Received");
}

/* All lines of a head that were sent one by one. Returns how many events they are. */
static size_t put_heads(FILE *out, const struct result *r, size_t i)
{
    size_t n = 0;

    begin_turn(out, &r->events[i]);
    fputs("<pre>", out);
    do
        put_head(out, &r->events[i + n++]);
    while (i + n < r->event_count && goes_on(r, i + n));
    fputs("</pre></div></li>\n", out);
    return n;
}

static void put_frames(FILE *out, const struct event *e, const struct annotation *a)
{
    begin_turn(out, e);
    for (size_t i = 0; i < a->frame_count; i++)
        put_frame(out, a, &a->frames[i]);
    if (a->more > 0)
        fprintf(out, "<p class=\"dim\">&hellip; and %zu more bytes</p>", a->more);
    fputs("</div></li>\n", out);
}

/* Returns how many events are written. */
static size_t put_turn(FILE *out, const struct result *r, size_t i, const struct annotation *a)
{
    const struct event *e = &r->events[i];

    if (may_have_gap(r, i))
        fputs("<li class=\"dim\">&hellip; and whatever came before the last event</li>\n", out);
    if (e->http && !e->end)
        return put_heads(out, r, i);
    if (e->end) {
        begin_turn(out, e);
        fprintf(out, "%s</div></li>\n", end_name(e));
    } else {
        put_frames(out, e, a);
    }
    return 1;
}

static void put_conversation(FILE *out, const struct result *r)
{
    struct annotator annotator = {0};
    struct annotation a;
    size_t left_out;
    size_t next = first_shown(r, &left_out);

    fputs("<ol class=\"talk\">\n", out);
    if (left_out > 0)
        fprintf(out, "<li class=\"dim\">&hellip; %zu before, not shown</li>\n", left_out);
    for (size_t i = 0; i < r->event_count; i++) {
        if (may_have_gap(r, i))
            annotator = (struct annotator){0};
        annotate(&a, &annotator, &r->events[i]);
        if (i == next)
            next += put_turn(out, r, i, &a);
    }
    fputs("</ol>\n", out);
}

/* --- cases ------------------------------------------------------------------------------------ */

static void put_term(FILE *out, const char *term, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    fprintf(out, "<dt>%s</dt><dd>", term);
    put_xml(out, text);
    fputs("</dd>\n", out);
}

static void put_case(FILE *out, const struct report *r, const struct result *result, bool open)
{
    const struct check_case *c = result->of;
    const char *verdict = verdict_name(result->verdict);
    struct bytes command = {0};

    fprintf(out, "<details class=\"case %s\" id=\"", verdict);
    put_xml(out, c->name);
    fprintf(out, "\"%s><summary><span class=\"v %s\">%s</span> <span class=\"name\">",
            open ? " open" : "", verdict, verdict);
    put_xml(out, c->name);
    fputs("</span> <span class=\"dim\">", out);
    put_xml(out, c->section);
    fputs("</span></summary><div class=\"body\"><dl>\n", out);
    put_term(out, "Demands", c->demand);
    put_term(out, "Came", result->reason);
    put_term(out, "Hint", c->hint);
    fputs("<dt>Alone</dt><dd><code>", out);
    put_xml(out, command_text(&command, r, c));
    fprintf(out, "</code></dd>\n<dt>Took</dt><dd>%u ms</dd></dl>\n", result->ms);
    if (result->verdict != VERDICT_PASS || r->count <= PASSED_WITH_BYTES)
        put_conversation(out, result);
    fputs("</div></details>\n", out);
    bytes_release(&command);
}

/* The cases of a level that have one verdict. The first few failures are open. */
static void put_cases(FILE *out, const struct report *r, enum level level, enum verdict verdict,
                      size_t *opened)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct result *result = &r->results[i];

        if (result->of->level != level || result->verdict != verdict)
            continue;
        put_case(out, r, result, verdict == VERDICT_FAIL && *opened < OPEN_AT_FIRST);
        *opened += verdict == VERDICT_FAIL;
    }
}

static void put_level(FILE *out, const struct report *r, enum level level, size_t *opened)
{
    static const enum verdict order[] = {VERDICT_FAIL, VERDICT_WARN, VERDICT_SKIP, VERDICT_PASS};

    fprintf(out, "<section class=\"level");
    for (int v = 0; v < VERDICTS; v++)
        if (report_count(r, level, (enum verdict)v) > 0)
            fprintf(out, " has-%s", verdict_name((enum verdict)v));
    fprintf(out, "\" aria-labelledby=\"level-%s\"><h2 id=\"level-%s\">%s</h2>\n", level_name(level),
            level_name(level), level_name(level));
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        put_cases(out, r, level, order[i], opened);
    fputs("</section>\n", out);
}

/* --- the page --------------------------------------------------------------------------------- */

static void put_count(FILE *out, size_t n)
{
    fprintf(out, "<td%s>%zu</td>", n == 0 ? " class=\"zero\"" : "", n);
}

static void put_table(FILE *out, const struct report *r)
{
    fputs("<table class=\"levels\"><caption hidden>Verdicts of each level</caption><thead><tr>"
          "<th scope=\"col\">level</th>",
          out);
    for (int v = 0; v < VERDICTS; v++)
        fprintf(out, "<th scope=\"col\">%s</th>", verdict_name((enum verdict)v));
    fputs("</tr></thead><tbody>\n", out);
    for (int level = 0; level < LEVELS; level++) {
        const char *name = level_name((enum level)level);

        if (count_level(r, (enum level)level) == 0)
            continue;
        fprintf(out, "<tr><th scope=\"row\"><a href=\"#level-%s\">%s</a></th>", name, name);
        for (int v = 0; v < VERDICTS; v++)
            put_count(out, report_count(r, (enum level)level, (enum verdict)v));
        fputs("</tr>\n", out);
    }
    fputs("</tbody><tfoot><tr><th scope=\"row\">all</th>", out);
    for (int v = 0; v < VERDICTS; v++)
        put_count(out, count_all(r, (enum verdict)v));
    fputs("</tr></tfoot></table>\n", out);
}

static void put_filter(FILE *out, const struct report *r)
{
    fprintf(out,
            "<fieldset><legend>Show</legend><label><input type=\"radio\" name=\"only\" "
            "id=\"only-all\" checked> all (%zu)</label>\n",
            r->count);
    for (int v = 0; v < VERDICTS; v++) {
        const char *name = verdict_name((enum verdict)v);

        fprintf(out,
                "<label><input type=\"radio\" name=\"only\" id=\"only-%s\"> %s (%zu)</label>\n",
                name, name, count_all(r, (enum verdict)v));
    }
    fputs("</fieldset>\n", out);
}

static void put_top(FILE *out, const struct report *r)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
          "'unsafe-inline'\">\n<title>wscheck: ",
          out);
    put_xml(out, r->url);
    fputs("</title>\n<style>\n", out);
    for (size_t i = 0; report_style[i] != NULL; i++)
        fprintf(out, "%s\n", report_style[i]);
    fputs("</style>\n</head>\n<body>\n<header><h1>wscheck</h1>\n<p><code>", out);
    put_xml(out, r->url);
    fprintf(out,
            "</code></p>\n<p class=\"dim\">%zu case%s by RFC 6455 in %u.%02u s: %zu passed, %zu "
            "failed, %zu warned, %zu skipped</p></header>\n<main>\n",
            r->count, r->count == 1 ? "" : "s", r->ms / 1000, r->ms / 10 % 100,
            count_all(r, VERDICT_PASS), count_all(r, VERDICT_FAIL), count_all(r, VERDICT_WARN),
            count_all(r, VERDICT_SKIP));
}

void report_html(FILE *out, const struct report *r)
{
    size_t opened = 0;

    put_top(out, r);
    put_table(out, r);
    put_filter(out, r);
    put_legend(out);
    for (int level = 0; level < LEVELS; level++)
        if (count_level(r, (enum level)level) > 0)
            put_level(out, r, (enum level)level, &opened);
    fputs("</main>\n</body>\n</html>\n", out);
}
