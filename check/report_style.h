/* SPDX-License-Identifier: MIT
 *
 * The style sheet of the page of HTML, in lines; NULL is behind the last. */
#ifndef CHECK_REPORT_STYLE_H
#define CHECK_REPORT_STYLE_H

extern const char *const report_style[];

#endif
