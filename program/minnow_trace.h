/* SPDX-License-Identifier: MIT
 *
 * --trace: frames as lines of the log. */
#ifndef MINNOW_TRACE_H
#define MINNOW_TRACE_H

#include "minnow_streams.h"

/* For ws_options.trace, with a struct minnow_streams as `arg`. Fields with only one legal value are
 * shown, too: a trace is read beside RFC 6455 §5.2. */
void minnow_trace(void *arg, const struct ws_trace *frame);

#endif
