/* Feeds the writer of numbers: bytes as 32-bit and 64-bit floats, into rooms of many sizes. What comes out is held
 * against printf.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I tests/backend -I backend/cc_backend/archive/native \
 *         tests/backend/archive/fuzz/decimals_fuzz.c backend/cc_backend/archive/native/decimals.c -lm -o decimals_fuzz
 *     ./decimals_fuzz tests/backend/archive/fuzz/corpus/decimals
 *
 * With -DSTANDALONE it is a program that reads the files it is given, for sanitizers without a fuzzer. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decimals.h"
#include "fuzz_program.h"

/* The text of a number with its comma, as printf has it once halves are rounded away from zero. */
static size_t expected(double number, char *out) {
    if (!isfinite(number)) {
        return (size_t)sprintf(out, "null,");
    }
    if (fabs(number) < 1e12) {
        double scaled = fabs(number) * 100.0, whole = floor(scaled);
        number = copysign((whole + (scaled - whole >= 0.5)) / 100.0, number) + 0.0;
    }
    return (size_t)sprintf(out, "%.2f,", number);
}

static void check(const char *text, size_t used, double number, size_t *at) {
    char buffer[CC_MAX_NUMBER_BYTES + 1];
    size_t length = expected(number, buffer);
    must(used - *at >= length && memcmp(text + *at, buffer, length) == 0, "another text");
    *at += length;
}

/* All numbers, in as many calls as a room of this size takes. */
static void write_floats(const float *numbers, size_t count, size_t room) {
    for (size_t first = 0; first < count;) {
        char *out = malloc(room); /* of its own size, so that a byte too far is seen */
        size_t used = 0, at = 0;
        must(out != NULL, "no memory");
        size_t done = cc_write_floats(numbers + first, count - first, out, room, &used);
        must(done > 0 && done <= count - first && used <= room, "nothing written, or too much");
        for (size_t i = 0; i < done; i++) {
            check(out, used, (double)numbers[first + i], &at);
        }
        must(at == used, "more than the numbers");
        free(out);
        first += done;
    }
}

static void write_doubles(const double *numbers, size_t count, size_t room) {
    for (size_t first = 0; first < count;) {
        char *out = malloc(room);
        size_t used = 0, at = 0;
        must(out != NULL, "no memory");
        size_t done = cc_write_doubles(numbers + first, count - first, out, room, &used);
        must(done > 0 && done <= count - first && used <= room, "nothing written, or too much");
        for (size_t i = 0; i < done; i++) {
            check(out, used, numbers[first + i], &at);
        }
        must(at == used, "more than the numbers");
        free(out);
        first += done;
    }
}

/* Nothing is written where less than the longest number would fit. */
static void write_nowhere(void) {
    const double number = 1.0;
    const float single = 1.0f;
    size_t used = 1;
    char *out = malloc(1);
    must(out != NULL, "no memory");
    for (size_t room = 0; room < CC_MAX_NUMBER_BYTES; room++) {
        must(cc_write_doubles(&number, 1, out, room, &used) == 0 && used == 0, "written without room");
        must(cc_write_floats(&single, 1, out, room, &used) == 0 && used == 0, "written without room");
    }
    free(out);
}


/* The first byte is the room; then come the numbers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        write_nowhere();
        return 0;
    }
    size_t room = CC_MAX_NUMBER_BYTES + (size_t)data[0] * 4, rest = size - 1;
    size_t floats = rest / sizeof(float), doubles = rest / sizeof(double);
    float *singles = malloc(rest + sizeof(float));
    double *wides = malloc(rest + sizeof(double));
    must(singles != NULL && wides != NULL, "no memory");
    memcpy(singles, data + 1, floats * sizeof(float));
    memcpy(wides, data + 1, doubles * sizeof(double));
    write_floats(singles, floats, room);
    write_doubles(wides, doubles, room);
    for (size_t i = 0; i < floats; i++) { /* halves and what is beside them, which random bits never are */
        int32_t thousandths;
        memcpy(&thousandths, data + 1 + i * sizeof thousandths, sizeof thousandths);
        double near[3] = {thousandths / 1000.0, nextafter(thousandths / 1000.0, HUGE_VAL), thousandths / 8.0 + 1e12};
        write_doubles(near, 3, room);
    }
    free(wides);
    free(singles);
    return 0;
}
