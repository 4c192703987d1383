/* SPDX-License-Identifier: MIT
 *
 * The report as one page of HTML; see report.h.
 *
 * The page needs no other file and no script: cases are <details>, and the filter is radio buttons
 * with :has(); where a browser does not know that, everything is shown. */
#include "report.h"

#include <string.h>

#include "report_escape.h"
#include "report_parts.h"

enum {
    PASSED_WITH_BYTES = 40, /* in a run of so few cases those that passed show their bytes, too */
    OPEN_AT_FIRST = 3,      /* failures whose details are open when the page is loaded */
    BYTES_IN_ROW = 32       /* of a field, in the table of fields */
};

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#57606a;--line:#d0d7de;"
    "--card:#f6f8fa;--link:#0550ae;--pass:#116329;--fail:#b3151d;--warn:#7a4a00;--skip:#0a5a78;"
    "--passbg:#dafbe1;--failbg:#ffe3e0;--warnbg:#fff1c2;--skipbg:#d8f1fb;--c0:#dbe9ff;--c1:#e2f5d8;"
    "--c2:#ffe9c7;--c3:#f3dcff;--c4:#e8eaed;--c5:#ffd9e2;--c6:#cdf3ee}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#0f1318;--fg:#e3e8ee;--dim:#9aa5b1;"
    "--line:#333c47;--card:#171d24;--link:#79b8ff;--pass:#6fdd8b;--fail:#ff8f88;--warn:#f0c350;"
    "--skip:#7cd0ee;--passbg:#12331d;--failbg:#4a1618;--warnbg:#3d2f08;--skipbg:#0d3341;"
    "--c0:#1c3a63;--c1:#24431a;--c2:#533a10;--c3:#46245c;--c4:#333a42;--c5:#5a2233;"
    "--c6:#114641}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:64rem;padding:1rem;background:var(--bg);color:var(--fg);"
    "font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\n"
    "h1{font-size:1.5rem;margin:.5rem 0 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}"
    "p{margin:.25rem 0}code,pre,.mono{font-family:ui-monospace,Menlo,Consolas,monospace;"
    "font-size:.875em}\n"
    ".dim{color:var(--dim)}\n"
    "table{border-collapse:collapse}th,td{padding:.25rem .6rem;border-bottom:1px solid "
    "var(--line);text-align:left;vertical-align:top;font-weight:400}thead th{color:var(--dim);"
    "font-size:.875rem}\n"
    ".levels{margin:1rem 0;width:100%;max-width:34rem}.levels td,.levels thead th+th{"
    "text-align:right;font-variant-numeric:tabular-nums}.levels tfoot *{font-weight:600}\n"
    ".zero{color:var(--dim)}\n"
    "fieldset{border:1px solid var(--line);border-radius:.5rem;padding:.25rem .75rem .5rem;"
    "margin:1rem 0;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem}legend{color:var(--dim);"
    "font-size:.875rem;padding:0 .25rem}label{display:inline-flex;align-items:center;gap:.4rem;"
    "min-height:2rem;cursor:pointer}\n"
    ".case{border:1px solid var(--line);border-radius:.5rem;margin:.4rem 0;background:var(--card)}"
    ".case>summary{padding:.5rem .75rem;cursor:pointer;display:flex;flex-wrap:wrap;gap:.25rem "
    ".75rem;align-items:baseline;list-style:none}.case>summary::-webkit-details-marker{"
    "display:none}.case>summary::after{content:\"\\25b8\";margin-left:auto;color:var(--dim)}"
    ".case[open]>summary::after{content:\"\\25be\"}.name{font-weight:600}\n"
    ".body{padding:0 .75rem .75rem;border-top:1px solid var(--line)}\n"
    ":focus-visible{outline:3px solid var(--link);outline-offset:2px}:target{outline:2px solid "
    "var(--link)}\n"
    ".v{display:inline-block;min-width:3.2rem;text-align:center;border-radius:.3rem;"
    "padding:0 .4rem;font-size:.8rem;font-weight:700;text-transform:uppercase}\n"
    ".v.pass{color:var(--pass);background:var(--passbg)}.v.fail{color:var(--fail);"
    "background:var(--failbg)}.v.warn{color:var(--warn);background:var(--warnbg)}.v.skip{"
    "color:var(--skip);background:var(--skipbg)}\n"
    "dl{display:grid;grid-template-columns:6rem 1fr;gap:.25rem .75rem;margin:.75rem 0}"
    "dt{color:var(--dim)}dd{margin:0}\n"
    "ol.talk{list-style:none;padding:0;margin:0}.talk>li{border-top:1px solid var(--line);"
    "padding:.5rem 0}.who{font-weight:600}.who::before{font-weight:700;margin-right:.4rem}"
    ".sent>.who::before{content:\"\\2192\" / \"\"}.received>.who::before{content:\"\\2190\" / "
    "\"\"}\n"
    ".talk .turn{display:block;margin-bottom:.25rem}pre{margin:0;white-space:pre-wrap;"
    "overflow-wrap:anywhere}\n"
    ".wire{display:flex;flex-wrap:wrap;gap:.25rem;margin:.25rem 0}.b{display:inline-flex;"
    "flex-direction:column;border-radius:.25rem;padding:.1rem .4rem;border:1px solid transparent}"
    ".b small,.key small{font-family:system-ui,sans-serif;font-size:.72rem;color:var(--fg)}"
    ".b.odd{border:2px dashed var(--fail)}\n"
    ".k0{background:var(--c0)}.k1{background:var(--c1)}.k2{background:var(--c2)}.k3{background:"
    "var(--c3)}.k4{background:var(--c4)}.k5{background:var(--c5)}.k6{background:var(--c6)}\n"
    ".scroll{overflow-x:auto}.fields{font-size:.875rem;width:100%}.fields .mono{"
    "white-space:pre-wrap}.fields tr.odd{background:var(--failbg)}.fields tr.odd th::before{"
    "content:\"\\26a0\\00a0\" / \"breaks a rule: \"}\n"
    ".frame>summary{cursor:pointer;font-size:.875rem;color:var(--dim)}"
    ".key{display:flex;flex-wrap:wrap;gap:.35rem;margin:.5rem 0;font-size:.8rem;padding:0;"
    "list-style:none}.key li{border-radius:.25rem;padding:.1rem .5rem}\n"
    "@media(max-width:34rem){body{padding:.6rem}dl{grid-template-columns:1fr;gap:0}dd{"
    "margin-bottom:.5rem}.levels th,.levels td{padding:.25rem .3rem}.case>summary{"
    "padding:.5rem}.body{padding:0 .5rem .5rem}.fields thead{display:none}.fields tr{display:"
    "block;border-bottom:1px solid var(--line);padding:.25rem}.fields th,.fields td{display:"
    "inline;border:0;padding:0 .35rem 0 0}.fields th{font-weight:600}}\n"
    "@media print{fieldset{display:none}.case{break-inside:avoid}}\n";

/* What the radio button of each verdict hides; the names are those of verdict_name(). */
static const char filter[] =
    "body:has(#only-fail:checked) :is(.case:not(.fail),.level:not(.has-fail)),"
    "body:has(#only-warn:checked) :is(.case:not(.warn),.level:not(.has-warn)),"
    "body:has(#only-skip:checked) :is(.case:not(.skip),.level:not(.has-skip)),"
    "body:has(#only-pass:checked) :is(.case:not(.pass),.level:not(.has-pass)){display:none}\n";

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
    fwrite(b.data, 1, b.len, out);
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

static bool is_readable(const struct field *f)
{
    return f->kind == FIELD_UNMASKED || f->kind == FIELD_REASON ||
           (f->kind == FIELD_PAYLOAD && strcmp(f->section, "§5.3") != 0);
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
    if (is_readable(f)) {
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
    fputs("<span class=\"turn\">", out);
    put_xml(out, frame->title);
    fputs("</span>\n", out);
    put_wire(out, a, frame);
    fprintf(out,
            "<details class=\"frame\"%s><summary>Fields</summary><div class=\"scroll\">"
            "<table class=\"fields\"><thead><tr><th scope=\"col\">Field</th><th scope=\"col\">Bits "
            "or bytes</th><th scope=\"col\">Meaning</th><th scope=\"col\">RFC 6455</th></tr>"
            "</thead><tbody>\n",
            frame->odd ? " open" : "");
    for (size_t i = 0; i < frame->count; i++)
        put_field(out, &a->fields[frame->first + i]);
    fputs("</tbody></table></div></details>\n", out);
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
    fprintf(out, "<li class=\"%s\"><span class=\"who\">%s</span> ", e->sent ? "sent" : "received",
            e->sent ? "Sent" : "Received");
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
    fputs("</pre></li>\n", out);
    return n;
}

static void put_frames(FILE *out, const struct event *e, const struct annotation *a)
{
    begin_turn(out, e);
    for (size_t i = 0; i < a->frame_count; i++)
        put_frame(out, a, &a->frames[i]);
    if (a->more > 0)
        fprintf(out, "<p class=\"dim\">&hellip; and %zu more bytes</p>", a->more);
    fputs("</li>\n", out);
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
        fprintf(out, "%s</li>\n", end_name(e));
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

static void put_level(FILE *out, const struct report *r, enum level level, size_t *opened)
{
    fprintf(out, "<section class=\"level");
    for (int v = 0; v < VERDICTS; v++)
        if (report_count(r, level, (enum verdict)v) > 0)
            fprintf(out, " has-%s", verdict_name((enum verdict)v));
    fprintf(out, "\" aria-labelledby=\"level-%s\"><h2 id=\"level-%s\">%s</h2>\n", level_name(level),
            level_name(level), level_name(level));
    for (size_t i = 0; i < r->count; i++) {
        bool failed = r->results[i].verdict == VERDICT_FAIL;

        if (r->results[i].of->level != level)
            continue;
        put_case(out, r, &r->results[i], failed && *opened < OPEN_AT_FIRST);
        *opened += failed;
    }
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
    fprintf(out, "</title>\n<style>\n%s%s</style>\n</head>\n<body>\n<header><h1>wscheck</h1>\n<p>",
            style, filter);
    fputs("<code>", out);
    put_xml(out, r->url);
    fprintf(out,
            "</code></p>\n<p class=\"dim\">%zu case%s by RFC 6455 in %u.%u s: %zu passed, %zu "
            "failed, %zu warned, %zu skipped</p></header>\n<main>\n",
            r->count, r->count == 1 ? "" : "s", r->ms / 1000, r->ms / 100 % 10,
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
