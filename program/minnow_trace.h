/* SPDX-License-Identifier: MIT
 *
 * --trace: frames as lines of the log. */
#ifndef MINNOW_TRACE_H
#define MINNOW_TRACE_H

#include "minnow_options.h"
#include "minnow_streams.h"

typedef void minnow_trace_function(void *arg, const struct ws_trace *frame);

/* Returns what ws_options.trace has to be, with a struct minnow_streams as its `arg`: a function
 * that logs each frame as a line, and with MINNOW_TRACE_HEX its parts as a line each. Fields with
 * only one legal value are shown, too: a trace is read beside RFC 6455 §5.2. */
minnow_trace_function *minnow_trace_of(enum minnow_trace_form form);

#endif
