/* Line protocol to arrays: a table of known series keys, and the reader of batches that uses it.
 *
 * Plain C without Python, so that fuzzers and sanitizers can drive it. Nothing here is safe for use by several threads
 * at once; whoever owns a table sees to that. Input needs no terminating zero byte and is never read past its end.
 *
 * The specification of a line is cc_common/line_protocol.py. What is not provably plain is left to it: such a line is
 * handed back as `slow`, never guessed at.
 */
#ifndef CC_LINES_H
#define CC_LINES_H

#include <stddef.h>
#include <stdint.h>

enum {
    LINES_MAX_KEY = 2048, /* longest key that is remembered, in bytes */
    LINES_CODES = 32,     /* refusal codes are -1 to -LINES_CODES */
    LINES_NAMED = 20      /* of each refusal code so many positions are kept */
};

#ifndef LINES_MOST_SLOW
#define LINES_MOST_SLOW 100000
#endif

typedef enum {
    LINES_OK = 0,
    LINES_NO_MEMORY = -1,
    LINES_BAD_KEY = -2,  /* too long, or no line can begin with it */
    LINES_KNOWN = -3,    /* the key is remembered already */
    LINES_FULL = -4,     /* more keys than the table can number */
    LINES_STOPPED = -5,  /* the resolver asked to stop */
    LINES_TOO_SLOW = -6  /* more than LINES_MOST_SLOW lines are left to the specification */
} lines_status;

/* Key -> code: a series number from 0, or a refusal code below 0. */
typedef struct lines_table lines_table;

/* An empty table whose hash is keyed with `seed`, which senders must not be able to know; NULL without memory. */
lines_table *lines_new(const unsigned char seed[16]);
void lines_free(lines_table *table);

/* Whether the key is remembered; if so, `code` is set. */
int lines_find(const lines_table *table, const unsigned char *key, size_t length, int32_t *code);

/* Remember a key. After anything but LINES_OK the table is as before. */
lines_status lines_remember(lines_table *table, const unsigned char *key, size_t length, int32_t code);

/* Forget all keys with codes below 0, and give their memory back. */
void lines_forget_refused(lines_table *table);

/* Forget refused keys, and those whose code is not below `count` with wanted[code] other than 0; gives memory back. */
void lines_keep(lines_table *table, const uint8_t *wanted, size_t count);

size_t lines_count(const lines_table *table);   /* keys with codes from 0 */
size_t lines_refused(const lines_table *table); /* keys with codes below 0 */
size_t lines_size_bytes(const lines_table *table);
/* The codes of all keys from 0; `codes` has room for lines_count() of them. */
void lines_codes(const lines_table *table, int64_t *codes);

/* Lines of one refusal code: how many, and the positions of the first of them. */
typedef struct {
    uint64_t count;
    int64_t positions[LINES_NAMED];
} lines_refusal;

/* A line that is not plain, for the specification to read. Its end, a newline, is not part of it. */
typedef struct {
    int64_t position;
    size_t begin;
    size_t length;
} lines_slow;

/* What a batch holds. Positions count lines from 0. Every line is either a sample, or slow, or counted as refused, or
 * skipped (blank, or a comment). */
typedef struct {
    size_t count; /* samples, in the order of their lines */
    size_t room;
    int64_t *codes;
    float *values; /* infinite where single precision cannot hold the number */
    int64_t *times_s;
    int64_t *positions;
    int64_t oldest_s, newest_s;
    size_t slow_count;
    size_t slow_room;
    lines_slow *slow;
    int64_t lines;
    int64_t skipped;
    lines_refusal refused[LINES_CODES]; /* of code c at -1 - c */
} lines_result;

/* Says what a key stands for that is not remembered. It may call lines_find, lines_remember and lines_forget_refused.
 * Any return value but 0 ends the batch. */
typedef int (*lines_resolver)(void *context, const unsigned char *key, size_t length, int32_t *code);

void lines_result_init(lines_result *result);
void lines_result_free(lines_result *result);

/* Read a batch into a result that was initialised, and may have been used before. */
lines_status lines_decode(
    lines_table *table, const unsigned char *data, size_t size, int64_t received_s, lines_resolver resolve,
    void *context, lines_result *result);

#endif
