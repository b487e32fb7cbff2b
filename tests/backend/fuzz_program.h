/* What the fuzz targets in C share: the check of what must hold, and with -DSTANDALONE the program that gives the
 * target each file that it is named, for sanitizers without a fuzzer. */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUT_BYTES (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(int right, const char *text) {
    if (!right) {
        fprintf(stderr, "%s\n", text);
        abort();
    }
}

#ifdef STANDALONE
int main(int count, char **names) {
    static uint8_t buffer[MAX_INPUT_BYTES];
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(names[i], "rb");
        must(file != NULL, "a file cannot be opened");
        size_t size = fread(buffer, 1, sizeof buffer, file);
        fclose(file);
        uint8_t *data = malloc(size ? size : 1); /* of its own size, so that a byte too far is seen */
        must(data != NULL, "no memory");
        memcpy(data, buffer, size);
        LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    printf("%d files\n", count - 1);
    return 0;
}
#endif
#endif
