/* SPDX-License-Identifier: MIT
 *
 * What is written of a run: for people, for continuous integration, and as one page of HTML. */
#ifndef CHECK_REPORT_H
#define CHECK_REPORT_H

#include <stdio.h>

#include "run.h"

struct report {
    const char *url;
    const struct result *results;
    size_t count;
    unsigned ms; /* the whole run */
};

/* For people: each case that did not pass, with what the section demands, what came instead, the
 * bytes by field and a hint; then a line for each level. `colour`: with escape sequences of a
 * terminal. */
void report_text(FILE *out, const struct report *r, bool colour);
void report_tap(FILE *out, const struct report *r);   /* TAP 13 */
void report_junit(FILE *out, const struct report *r); /* the XML that CI servers read */
void report_json(FILE *out, const struct report *r);
void report_html(FILE *out, const struct report *r); /* one page that needs no other file */

/* How many results of `level` have `verdict`. */
size_t report_count(const struct report *r, enum level level, enum verdict verdict);

#endif
