/* Feeds the codec: bytes as a payload, which may be anything, and bytes as samples, which must come back.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I tests/backend -I backend/cc_backend/metricstore/native \
 *         tests/backend/metricstore/fuzz/codec_fuzz.c backend/cc_backend/metricstore/native/codec.c -lm -o codec_fuzz
 *     ./codec_fuzz tests/backend/metricstore/fuzz/corpus/codec
 *
 * With -DSTANDALONE it is a program that reads the files it is given, for sanitizers without a fuzzer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "fuzz_program.h"

static void read_payload(const uint8_t *data, size_t size) {
    cc_payload payload;
    float slots[CC_MAX_SLOTS], min, max;
    double total;
    int32_t number;
    if (cc_open(data, size, &payload) != NULL) {
        return;
    }
    for (size_t row = 0; row < payload.rows; row++) {
        if (cc_decode_row(data, &payload, row, slots) == NULL) {
            cc_summarise(slots, 1, payload.slots, &min, &max, &total, &number);
        }
    }
}

/* Sizes and rounding from the first bytes, the samples from the rest, again and again from its begin. */
static void there_and_back(const uint8_t *data, size_t size) {
    size_t rows, slots, number, rest;
    unsigned mantissa_bits;
    cc_payload payload;
    if (size < 8) {
        return;
    }
    rows = data[0] % 20;
    slots = data[1];
    mantissa_bits = data[2] % (CC_MAX_MANTISSA_BITS + 1);
    rest = size - 4;
    number = rows * slots;
    float *samples = malloc((number + 1) * sizeof *samples), *back = malloc((slots + 1) * sizeof *back);
    uint8_t *bytes = malloc(cc_encode_bound(rows, slots)), *exact;
    must(samples && back && bytes, "no memory");
    for (size_t i = 0; i < number; i++) {
        uint8_t word[4];
        for (size_t k = 0; k < 4; k++) {
            word[k] = data[4 + (4 * i + k) % rest];
        }
        if (data[3] & 1) { /* short decimals, which random bits never are */
            int16_t decimal = (int16_t)(word[0] | word[1] << 8);
            samples[i] = (float)(decimal / 100.0);
        } else {
            memcpy(&samples[i], word, 4);
        }
    }
    size_t length = cc_encode(samples, rows, slots, mantissa_bits, bytes);
    must(length <= cc_encode_bound(rows, slots), "longer than the bound");
    exact = malloc(length); /* so that a byte too far is seen */
    must(exact != NULL, "no memory");
    memcpy(exact, bytes, length);
    must(cc_open(exact, length, &payload) == NULL, "its own payload is refused");
    must(payload.rows == rows && payload.slots == slots, "another shape");
    for (size_t row = 0; row < rows; row++) {
        must(cc_decode_row(exact, &payload, row, back) == NULL, "its own row is refused");
        for (size_t i = 0; i < slots && !mantissa_bits; i++) {
            float sample = samples[row * slots + i];
            must(sample == sample ? memcmp(&sample, &back[i], 4) == 0 : back[i] != back[i], "another sample");
        }
    }
    free(exact);
    free(bytes);
    free(back);
    free(samples);
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_payload(data, size);
    there_and_back(data, size);
    return 0;
}
