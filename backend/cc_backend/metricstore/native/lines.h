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
    CC_LINES_MAX_KEY_BYTES = 2048, /* longest key that is remembered, in bytes */
    CC_LINES_REJECTION_CODES = 32, /* rejection codes are -1 to -CC_LINES_REJECTION_CODES */
    CC_LINES_MAX_POSITIONS = 20    /* of each rejection code so many positions are kept */
};

#ifndef CC_LINES_MAX_SLOW
#define CC_LINES_MAX_SLOW 100000
#endif

typedef enum {
    CC_LINES_OK = 0,
    CC_LINES_NO_MEMORY = -1,
    CC_LINES_BAD_KEY = -2,   /* too long, or no line can begin with it */
    CC_LINES_DUPLICATE = -3, /* the key is remembered already */
    CC_LINES_FULL = -4,      /* more keys than the table can number */
    CC_LINES_STOPPED = -5,   /* the resolver asked to stop */
    CC_LINES_TOO_SLOW = -6   /* more than CC_LINES_MAX_SLOW lines are left to the specification */
} cc_lines_status;

/* Key -> code: a series number from 0, or a rejection code below 0. */
typedef struct cc_lines_table cc_lines_table;

/* An empty table whose hash is keyed with `seed`, which senders must not be able to know; NULL without memory. */
cc_lines_table *cc_lines_new(const unsigned char seed[16]);
void cc_lines_free(cc_lines_table *table);

/* Whether the key is remembered; if so, `code` is set. */
int cc_lines_find(const cc_lines_table *table, const unsigned char *key, size_t length, int32_t *code);

/* Remember a key. After anything but CC_LINES_OK the table is as before. */
cc_lines_status cc_lines_remember(cc_lines_table *table, const unsigned char *key, size_t length, int32_t code);

/* Forget all keys with codes below 0, and give their memory back. */
void cc_lines_forget_rejected(cc_lines_table *table);

/* Forget rejected keys, and those whose code is not below `count` with wanted[code] other than 0; gives memory back. */
void cc_lines_keep(cc_lines_table *table, const uint8_t *wanted, size_t count);

size_t cc_lines_count(const cc_lines_table *table);    /* keys with codes from 0 */
size_t cc_lines_rejected(const cc_lines_table *table); /* keys with codes below 0 */
size_t cc_lines_size_bytes(const cc_lines_table *table);
/* The codes of all keys from 0; `codes` has room for cc_lines_count() of them. */
void cc_lines_codes(const cc_lines_table *table, int64_t *codes);

/* Lines of one rejection code: how many, and the positions of the first of them. */
typedef struct {
    uint64_t count;
    int64_t positions[CC_LINES_MAX_POSITIONS];
} cc_lines_rejection;

/* A line that is not plain, for the specification to read. Its end, a newline, is not part of it. */
typedef struct {
    int64_t position;
    size_t begin;
    size_t length;
} cc_lines_slow;

/* What a batch holds. Positions count lines from 0. Every line is either a sample, or slow, or counted as rejected, or
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
    cc_lines_slow *slow;
    int64_t lines;
    int64_t skipped;
    cc_lines_rejection rejected[CC_LINES_REJECTION_CODES]; /* of code c at -1 - c */
} cc_lines_result;

/* Says what a key stands for that is not remembered. It may call cc_lines_find, cc_lines_remember and
 * cc_lines_forget_rejected. Any return value but 0 ends the batch. */
typedef int (*cc_lines_resolver)(void *context, const unsigned char *key, size_t length, int32_t *code);

void cc_lines_result_init(cc_lines_result *result);
void cc_lines_result_free(cc_lines_result *result);

/* Read a batch into a result that was initialised, and may have been used before. */
cc_lines_status cc_lines_decode(cc_lines_table *table, const unsigned char *data, size_t size, int64_t received_s,
                                cc_lines_resolver resolve, void *context, cc_lines_result *result);

#endif
