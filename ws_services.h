/* SPDX-License-Identifier: MIT
 *
 * The services of ws.h that need no loop; declared here: those that the server itself calls. */
#ifndef WS_SERVICES_H
#define WS_SERVICES_H

#include "ws.h"

/* The server ends: its accounts exist as long as the application holds them, but count no more. */
void ws_accounts_leave(struct ws_server *s);

#endif
