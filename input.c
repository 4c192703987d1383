/* SPDX-License-Identifier: MIT
 *
 * Input that survives a turn; see input.h. */
#include "input.h"

struct input *input_get(struct input **in, struct account *a)
{
    int error;

    if (*in != NULL)
        return *in;
    *in = account_new(a, sizeof **in, ACCOUNT_ESSENTIAL, &error);
    if (*in != NULL)
        **in = (struct input){.head_len = 0};
    return *in;
}

void input_release(struct input **in, struct account *a)
{
    if (*in == NULL)
        return;
    buf_release(&(*in)->stash, a);
    buf_release(&(*in)->request, a);
    buf_release(&(*in)->payload, a);
    account_free(a, *in, sizeof **in);
    *in = NULL;
}
