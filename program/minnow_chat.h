/* SPDX-License-Identifier: MIT
 *
 * What messages do. In echo mode each goes back to its sender; in chat mode the path is the room,
 * and a message goes to everybody in it. With -v a line tells of each connection at its start and
 * at its end. */
#ifndef MINNOW_CHAT_H
#define MINNOW_CHAT_H

#include "minnow_options.h"

/* Set on_open, on_message and on_close. Their ws_user() must be a struct minnow. */
void minnow_chat_handle(struct ws_handlers *handlers, const struct minnow_options *options);

#endif
