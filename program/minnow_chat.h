/* SPDX-License-Identifier: MIT
 *
 * Echo and chat. In echo mode each message is sent back to its sender; in chat mode the path is the
 * room, and a message is sent to all connections in it. With -v each connection is logged when it
 * opens and when it closes. */
#ifndef MINNOW_CHAT_H
#define MINNOW_CHAT_H

#include "minnow_options.h"

/* Set on_open, on_message and on_close. Their ws_user() must be a struct minnow. */
void minnow_chat_handle(struct ws_handlers *handlers, const struct minnow_options *options);

#endif
