/* SPDX-License-Identifier: MIT
 *
 * What several of the reports have in common. */
#ifndef CHECK_REPORT_PARTS_H
#define CHECK_REPORT_PARTS_H

#include "annotate.h"
#include "report.h"

/* A report shows the end of a conversation: so many turns. A turn is an event, but the lines of a
 * head that were sent one by one are one turn. */
enum { TURNS_SHOWN = 12 };

/* The index of the first event to show; `*left_out` is how many turns are before it. */
size_t first_shown(const struct result *r, size_t *left_out);

/* Is event `i` a further line of the head that the event before it is of? */
bool goes_on(const struct result *r, size_t i);

/* May events be missing between event `i` and the one before it? */
bool may_have_gap(const struct result *r, size_t i);

/* What an event that has no bytes is, in words. */
const char *end_name(const struct event *e);

/* Append what a frame is, and the begin of its payload, as visible text in one line. */
void add_title(struct bytes *out, const struct annotation *a, const struct frame_note *frame);

/* Append the command that plays this case alone, for a shell; not visible yet. */
void add_command(struct bytes *out, const struct report *r, const struct check_case *c);
/* The same as a string that is valid until `b` is released. */
const char *command_text(struct bytes *b, const struct report *r, const struct check_case *c);

/* Append the conversation in lines of visible text, each behind `indent`. */
void add_conversation(struct bytes *out, const struct result *r, const char *indent, bool colour);

/* Of all levels. */
size_t count_all(const struct report *r, enum verdict verdict);
/* Cases of a level. */
size_t count_level(const struct report *r, enum level level);

#endif
