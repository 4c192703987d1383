/* SPDX-License-Identifier: MIT
 *
 * Text for a report. What a server has sent, and what stands on the command line, may be any bytes:
 * escape sequences of a terminal, quotes, tags, no UTF-8. So whatever a report writes goes through
 * here once. First it becomes visible: printable UTF-8 and nothing else. After that a format only
 * has to escape its own few signs. */
#ifndef CHECK_REPORT_ESCAPE_H
#define CHECK_REPORT_ESCAPE_H

#include <stdio.h>

#include "wire.h"

/* Append `data` as printable UTF-8: a control byte as \r, \n, \t or \xNN, a byte that is not UTF-8
 * or belongs to a character that cannot be seen as \xNN, a backslash as two. */
void add_visible(struct bytes *out, const void *data, size_t len);
/* The same for one word of a shell, in quotes where it needs them. */
void add_shell_word(struct bytes *out, const char *word);
/* "81 05 48" */
void add_hex(struct bytes *out, const uint8_t *data, size_t len);

/* Each writes a text that may hold anything. */
void put_visible(FILE *out, const char *text);
void put_json(FILE *out, const char *text); /* with its quotes; also a scalar of YAML */
void put_xml(FILE *out, const char *text);  /* in an element or a quoted attribute, HTML as well */
/* Text that is visible already, in lines. */
void put_bytes(FILE *out, const struct bytes *b);
void put_xml_lines(FILE *out, const struct bytes *lines);

#endif
