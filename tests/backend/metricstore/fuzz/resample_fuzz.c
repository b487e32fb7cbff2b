/* Feeds the resampling of curves: any edges, which are refused or used, and any samples.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I tests/backend -I backend/cc_backend/metricstore/native \
 *         tests/backend/metricstore/fuzz/resample_fuzz.c backend/cc_backend/metricstore/native/resample.c -lm \
 *         -o resample_fuzz
 *     ./resample_fuzz tests/backend/metricstore/fuzz/corpus/resample
 *
 * With -DSTANDALONE it is a program that reads the files it is given, for sanitizers without a fuzzer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resample.h"
#include "fuzz_program.h"

static int is_among(const float *sample, const float *samples, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end || i == begin; i++) {
        if (memcmp(sample, &samples[i], sizeof *sample) == 0) {
            return 1;
        }
    }
    return 0;
}

static void resample(const float *samples, size_t length, const int64_t *edges, size_t number) {
    if (!cc_edges_are_valid(edges, number, length)) {
        return;
    }
    float *out = malloc(number * sizeof *out);
    must(out != NULL, "no memory");
    cc_lttb(samples, length, edges, number, out);
    must(memcmp(&out[0], &samples[0], sizeof *out) == 0, "the first sample is another one");
    must(memcmp(&out[number - 1], &samples[length - 1], sizeof *out) == 0, "the last sample is another one");
    for (size_t i = 0; i + 2 < number; i++) {
        must(is_among(&out[i + 1], samples, edges[i], edges[i + 1]), "a sample from elsewhere");
    }
    free(out);
}


/* The first byte is the number of edges, then a byte for each of them, as steps; the rest is samples. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t number = size ? data[0] : 0;
    if (size < 1 + number) {
        return 0;
    }
    size_t length = (size - 1 - number) / sizeof(float);
    int64_t *edges = malloc(number ? number * sizeof *edges : 1), at = 0;
    float *samples = malloc(length ? length * sizeof *samples : 1); /* so that a sample too far is seen */
    must(edges != NULL && samples != NULL, "no memory");
    memcpy(samples, data + 1 + number, length * sizeof *samples);
    for (size_t i = 0; i < number; i++) {
        at += data[1 + i] < 250 ? data[1 + i] % 16 : data[1 + i] - 253; /* some fall */
        edges[i] = at;
    }
    resample(samples, length, edges, number);
    free(samples);
    free(edges);
    return 0;
}
