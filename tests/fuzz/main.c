/* SPDX-License-Identifier: MIT
 *
 * Runs a fuzzer's function over the files given, for compilers without libFuzzer and for `make
 * test`: each as an exact-size copy and, by the fuzzer's own means, whatever it makes of it. Prints
 * what tests/run.sh counts. The file that crashes is the last one named. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../exact.h"

enum { INPUT_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    static uint8_t bytes[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    uint8_t *copy;
    size_t len;

    printf("%s\n", path);
    fflush(stdout);
    if (file == NULL) {
        perror(path);
        return -1;
    }
    len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    copy = exact_copy(bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (run_file(argv[i]) != 0)
            return 1;
    printf("[  PASSED  ] %d test(s).\n", argc - 1);
    return 0;
}
