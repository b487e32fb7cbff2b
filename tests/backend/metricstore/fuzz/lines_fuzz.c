/* What must hold for any batch that the reader in native/lines.c is given.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I tests/backend -I backend/cc_backend/metricstore/native \
 *         tests/backend/metricstore/fuzz/lines_fuzz.c -o lines_fuzz
 *     ./lines_fuzz tests/backend/metricstore/fuzz/corpus/lines
 *
 * With -DSTANDALONE it is a program that reads the files it is given, for sanitizers without a fuzzer.
 *
 * An input is two bytes of options and batches with 0xff between them, read into one table one after the other. The
 * options say which allocation fails, and what is forgotten between batches. The resolver's answers depend on nothing
 * but the key, so that all answers can be checked. Lines that were read are read again, by strtod and loops.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_program.h"

static long allocations_left = -1; /* -1: none fails */

static void *failing_realloc(void *old, size_t size) {
    if (allocations_left == 0) {
        return NULL;
    }
    if (allocations_left > 0) {
        allocations_left--;
    }
    return realloc(old, size);
}

#define CC_LINES_REALLOC failing_realloc
#define CC_LINES_FREE free
#define CC_LINES_CHUNK_SHIFT 9
#define CC_LINES_MIN_SLOTS 4
#define CC_LINES_MIN_SAMPLES 16
#define CC_LINES_MAX_SLOW 64
#include "lines.c"

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                                         \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { SIDS = 64, RECEIVED_S = 1790000040 };

/* What a key means. Keys with a `!` stop the batch, with a `?` are not remembered, with a `~` clear what was rejected.
 */
static int32_t code_of(const unsigned char *key, size_t length) {
    uint32_t sum = 7;
    for (size_t at = 0; at < length; at++) {
        sum = sum * 31 + key[at];
    }
    return memchr(key, 'r', length) ? -1 - (int32_t)(sum % 11) : (int32_t)(sum % SIDS);
}

static int resolve(void *context, const unsigned char *key, size_t length, int32_t *code) {
    cc_lines_table *table = context;
    int32_t known;
    CHECK(length > 0 && !cc_lines_find(table, key, length, &known));
    if (memchr(key, '!', length)) {
        return 1;
    }
    if (memchr(key, '~', length)) {
        cc_lines_forget_rejected(table);
    }
    *code = code_of(key, length);
    if (memchr(key, '?', length)) {
        return 0;
    }
    cc_lines_status status = cc_lines_remember(table, key, length, *code);
    CHECK(status == CC_LINES_OK || status == CC_LINES_NO_MEMORY ||
          (status == CC_LINES_BAD_KEY && length > CC_LINES_MAX_KEY_BYTES));
    CHECK(cc_lines_find(table, key, length, &known) == (status == CC_LINES_OK));
    CHECK(status != CC_LINES_OK || cc_lines_remember(table, key, length, *code) == CC_LINES_DUPLICATE);
    return status == CC_LINES_NO_MEMORY;
}

/* The end of the key that begins a line, by the letter: the first blank without a backslash before it. */
static size_t naive_key(const unsigned char *line, size_t length) {
    for (size_t at = 0; at < length; at++) {
        if (line[at] == ' ' && (!at || line[at - 1] != '\\')) {
            return at;
        }
    }
    return 0;
}

static bool is_white(unsigned char c) { return c == ' ' || c == '\t' || c == '\r'; }

/* A line that was read as a sample means what strtod and a loop say. */
static void check_sample(const unsigned char *line, size_t length, int32_t code, float value, int64_t time_s) {
    while (length && is_white(line[length - 1])) {
        length--;
    }
    size_t key = naive_key(line, length);
    CHECK(key && *line != '#' && !is_white(*line) && code == code_of(line, key));
    while (key < length && line[key] == ' ') {
        key++;
    }
    CHECK(length - key > 6 && !memcmp(line + key, "value=", 6));
    char *text = calloc(length - key - 5, 1);
    memcpy(text, line + key + 6, length - key - 6);
    CHECK(strlen(text) == length - key - 6);
    char *blank = strchr(text, ' ');
    if (blank) {
        *blank = 0;
    }
    size_t digits = strspn(text, "0123456789+-.eE");
    char *end;
    float expected;
    if (text[digits] == 'i' || text[digits] == 'u') {
        CHECK(!text[digits + 1] && digits < 40 && strspn(text, "0123456789+-") == digits);
        bool negative = *text == '-';
        uint64_t whole = strtoull(text + (*text == '-' || *text == '+'), &end, 10);
        CHECK(end == text + digits);
        expected = (float)(negative && whole ? -(double)whole : (double)whole);
    } else {
        CHECK(!text[digits]);
        expected = (float)strtod(text, &end);
        CHECK(end == text + digits && end != text);
    }
    CHECK(!memcmp(&expected, &value, sizeof value));
    int64_t expected_s = RECEIVED_S;
    if (blank) {
        char *time = blank + 1;
        while (*time == ' ') {
            time++;
        }
        bool negative = *time == '-';
        time += negative;
        size_t many = strspn(time, "0123456789");
        CHECK(many >= 1 && many <= 19 && !time[many]);
        unsigned __int128 size = 0;
        for (size_t at = 0; at < many; at++) {
            size = size * 10 + (unsigned)(time[at] - '0');
        }
        unsigned __int128 unit = size < 100000000000u         ? 1
                                 : size < 100000000000000u    ? 1000
                                 : size < 100000000000000000u ? 1000000
                                                              : 1000000000;
        expected_s = (int64_t)(negative ? (size + unit - 1) / unit : size / unit);
        if (negative) {
            expected_s = -expected_s;
        }
    }
    CHECK(time_s == expected_s);
    free(text);
}

/* Lines of the most common form must not be left to the slow path: KEY value=1234.5 1790000000 */
static bool is_common(const unsigned char *line, size_t length) {
    size_t key = 0, digits, time;
    while (key < length && line[key] > ' ' && line[key] < 127 && line[key] != '\\' && line[key] != '#') {
        key++;
    }
    if (!key || length - key < 19 || memcmp(line + key, " value=", 7) != 0) {
        return false;
    }
    line += key + 7, length -= key + 7;
    for (digits = 0; digits < length && line[digits] >= '0' && line[digits] <= '9'; digits++) {
        continue;
    }
    if (digits < 1 || digits > 9 || digits == length || line[digits] != '.') {
        return false;
    }
    line += digits + 1, length -= digits + 1;
    for (digits = 0; digits < length && line[digits] >= '0' && line[digits] <= '9'; digits++) {
        continue;
    }
    if (digits > 6 || digits == length || line[digits] != ' ') {
        return false;
    }
    line += digits + 1, length -= digits + 1;
    for (time = 0; time < length && line[time] >= '0' && line[time] <= '9'; time++) {
        continue;
    }
    return time == length && time == 10;
}

/* Every line is accounted for exactly once, in the right place, and means what it says. */
static void check_result(const cc_lines_table *table, const unsigned char *data, size_t size,
                         const cc_lines_result *result) {
    int64_t position = 0, skipped = 0, rejected[CC_LINES_REJECTION_CODES] = {0}, oldest_s = INT64_MAX,
            newest_s = INT64_MIN;
    size_t sample = 0, slow = 0;
    for (size_t begin = 0; begin < size; position++) {
        const unsigned char *line = data + begin;
        size_t length = 0;
        while (begin + length < size && line[length] != '\n') {
            length++;
        }
        const unsigned char *whole_line = line;
        size_t whole_length = length;
        while (length && is_white(*line)) {
            line++, length--;
        }
        while (length && is_white(line[length - 1])) {
            length--;
        }
        size_t key = naive_key(line, length);
        int32_t known;
        if (key && cc_lines_find(table, line, key, &known)) {
            CHECK(known == code_of(line, key));
        }
        if (sample < result->count && result->positions[sample] == position) {
            check_sample(line, length, (int32_t)result->codes[sample], result->values[sample], result->times_s[sample]);
            if (result->times_s[sample] < oldest_s) {
                oldest_s = result->times_s[sample];
            }
            if (result->times_s[sample] > newest_s) {
                newest_s = result->times_s[sample];
            }
            sample++;
        } else if (slow < result->slow_count && result->slow[slow].position == position) {
            CHECK(result->slow[slow].begin == begin && result->slow[slow].length == whole_length);
            CHECK(!is_common(whole_line, whole_length) || code_of(line, key) < -CC_LINES_REJECTION_CODES);
            slow++;
        } else if (!length || *line == '#') {
            skipped++;
        } else {
            int32_t code = code_of(line, key);
            CHECK(key && code < 0);
            cc_lines_rejection counted = result->rejected[-1 - code];
            if (rejected[-1 - code] < CC_LINES_MAX_POSITIONS) {
                CHECK(counted.positions[rejected[-1 - code]] == position);
            }
            rejected[-1 - code]++;
        }
        begin += whole_length + 1;
    }
    CHECK(sample == result->count && slow == result->slow_count);
    CHECK(position == result->lines && skipped == result->skipped);
    CHECK(oldest_s == result->oldest_s && newest_s == result->newest_s);
    for (int at = 0; at < CC_LINES_REJECTION_CODES; at++) {
        CHECK((uint64_t)rejected[at] == result->rejected[at].count);
    }
}

/* Every entry is found under its key, and slots, entries and keys are within their bounds. */
static void check_table(const cc_lines_table *table) {
    for (uint32_t which = 0; which < 2; which++) {
        const subtable *keys = &table->subtables[which];
        CHECK(keys->count <= keys->room && (!keys->count || keys->count <= keys->slot_count / 3 * 2));
        uint32_t used = 0;
        for (uint32_t slot = 0; slot < keys->slot_count; slot++) {
            used += keys->slots[slot] != NONE;
        }
        CHECK(used == keys->count);
        for (uint32_t number = 0; number < keys->count; number++) {
            const entry *item = &keys->entries[number];
            CHECK(item->at >> CHUNK_SHIFT < keys->chunk_count && (item->code < 0) == which);
            CHECK((item->at & (CHUNK_UNITS - 1)) * UNIT + item->length <= CHUNK_BYTES);
            const unsigned char *key = key_at(keys, item);
            CHECK(is_key(key, item->length) && item->code == code_of(key, item->length));
            CHECK(find_in(keys, hash_of(table, key, item->length), key, item->length) == number);
        }
    }
    CHECK(cc_lines_count(table) == table->subtables[0].count && cc_lines_rejected(table) == table->subtables[1].count);
}

static void forget(cc_lines_table *table, unsigned options) {
    if (options & 1) {
        cc_lines_forget_rejected(table);
        CHECK(!cc_lines_rejected(table));
    }
    if (options & 2) {
        uint8_t wanted[SIDS];
        size_t known = SIDS - (options >> 4), kept = 0;
        for (size_t sid = 0; sid < SIDS; sid++) {
            wanted[sid] = (sid * 7 + (options >> 2)) % 3 != 0;
        }
        size_t before = cc_lines_count(table);
        int64_t *codes = calloc(before + 1, sizeof *codes);
        cc_lines_codes(table, codes);
        for (size_t at = 0; at < before; at++) {
            kept += (size_t)codes[at] < known && wanted[codes[at]];
        }
        uint8_t *exact = malloc(known);
        memcpy(exact, wanted, known);
        cc_lines_keep(table, exact, known);
        CHECK(cc_lines_count(table) == kept && !cc_lines_rejected(table));
        free(exact);
        free(codes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    unsigned options = data[0];
    allocations_left = data[1] ? (data[1] - 1) % 64 : -1;
    data += 2, size -= 2;
    cc_lines_table *table = cc_lines_new((const unsigned char *)"a seed item 16 bytes");
    cc_lines_result result;
    cc_lines_result_init(&result);
    while (table) {
        const uint8_t *end = memchr(data, 0xff, size);
        size_t length = end ? (size_t)(end - data) : size;
        unsigned char *exact = malloc(length ? length : 1); /* so that reading past the end is noticed */
        memcpy(exact, data, length);
        for (int again = 0; again < 3; again++) { /* first with unknown keys, then predicted, then without a fault */
            cc_lines_status status = cc_lines_decode(table, exact, length, RECEIVED_S, resolve, table, &result);
            CHECK(status == CC_LINES_OK || status == CC_LINES_STOPPED || status == CC_LINES_TOO_SLOW ||
                  (status == CC_LINES_NO_MEMORY && !allocations_left));
            if (status == CC_LINES_OK) {
                check_result(table, exact, length, &result);
            }
            check_table(table);
            CHECK(cc_lines_size_bytes(table) >= sizeof *table);
            if (again == 1) {
                allocations_left = -1;
            }
        }
        free(exact);
        forget(table, options);
        check_table(table);
        if (!end) {
            break;
        }
        data += length + 1, size -= length + 1;
        options = options >> 1 | options << 7;
        options &= 0xff;
    }
    cc_lines_result_free(&result);
    cc_lines_free(table);
    return 0;
}
