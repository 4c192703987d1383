/* SPDX-License-Identifier: MIT
 *
 * The services of ws.h that need no loop; here is what the server itself calls of them. */
#ifndef WS_SERVICES_H
#define WS_SERVICES_H

#include "ws.h"

/* The server ends: its accounts live on while the application holds them, and count no more. */
void ws_accounts_leave(struct ws_server *s);

#endif
