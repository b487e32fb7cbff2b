#include "lines.h"

#include <float.h>
#include <stdbool.h>
#include <string.h>

/* A test can put an allocator here that fails when it is told to. */
#ifndef CC_LINES_REALLOC
#include <stdlib.h>
#define CC_LINES_REALLOC realloc
#define CC_LINES_FREE free
#endif
/* And smaller sizes, so that small inputs reach all of the code. */
#ifndef CC_LINES_CHUNK_SHIFT
#define CC_LINES_CHUNK_SHIFT 15
#endif
#ifndef CC_LINES_MIN_SLOTS
#define CC_LINES_MIN_SLOTS 64
#endif
#ifndef CC_LINES_MIN_SAMPLES
#define CC_LINES_MIN_SAMPLES 1024
#endif
_Static_assert((CC_LINES_MIN_SLOTS & (CC_LINES_MIN_SLOTS - 1)) == 0, "slots are found with a mask");
_Static_assert(CC_LINES_MIN_SAMPLES >= 16, "room for slow lines begins with a sixteenth of it");

/* Pieces of lines */

static inline bool is_blank(unsigned char c) { return c == ' ' || c == '\t' || c == '\r'; }

static inline const unsigned char *skip_blanks(const unsigned char *at, const unsigned char *end) {
    while (at < end && is_blank(*at)) {
        at++;
    }
    return at;
}

static inline bool at_line_end(const unsigned char *at, const unsigned char *end) { return at == end || *at == '\n'; }

static const unsigned char *line_end(const unsigned char *at, const unsigned char *end) {
    const unsigned char *found = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    return found ? found : end;
}

/* The first blank of a line that has no backslash before it, or NULL. */
static const unsigned char *key_end(const unsigned char *at, const unsigned char *stop) {
    for (const unsigned char *from = at; from < stop; from++) {
        from = memchr(from, ' ', (size_t)(stop - from));
        if (!from) {
            return NULL;
        }
        if (from == at || from[-1] != '\\') {
            return from;
        }
    }
    return NULL;
}

/* The table
 *
 * Keys lie in chunks, one after the other, in the order in which they came. Those that lead to series and those that
 * are rejected lie on different subtables, so that all rejected ones can be forgotten at once. Each entry remembers
 * which entry followed it last time: senders repeat themselves, so the next line's key is found by one comparison,
 * without hashing. What it remembers is a guess and may be stale; it is checked for bounds and against the key each
 * time.
 */

enum { UNIT = 8, CHUNK_SHIFT = CC_LINES_CHUNK_SHIFT, CHUNK_UNITS = 1 << CHUNK_SHIFT, CHUNK_BYTES = UNIT * CHUNK_UNITS };
_Static_assert((int)CC_LINES_MAX_KEY_BYTES <= (int)CHUNK_BYTES, "a chunk holds the longest key");
_Static_assert(CC_LINES_MAX_KEY_BYTES <= UINT16_MAX, "an entry holds the length of a key as u16");
static const uint32_t NONE = UINT32_MAX;
static const uint32_t REJECTED = UINT32_C(1) << 31; /* set in the handle of an entry on the subtable of rejected keys */
static const uint32_t MAX_ENTRIES = UINT32_C(1) << 30; /* so that twice as many slots can be counted */
static const uint32_t MAX_CHUNKS = UINT32_C(1) << (32 - CHUNK_SHIFT);

typedef struct {
    uint32_t at;   /* place of the key, in units from the begin of the first chunk */
    uint32_t next; /* handle of the entry that followed last time */
    int32_t code;
    uint16_t length;
    uint16_t tag; /* some bits of the hash, so that most wrong entries are told without looking at their keys */
} entry;

typedef struct {
    entry *entries;
    uint32_t count, room;
    uint32_t *slots; /* open addressing; numbers of entries, or NONE */
    uint32_t slot_count;
    unsigned char **chunks;
    uint32_t chunk_count, chunk_room;
    uint32_t used; /* units of the last chunk */
} subtable;

struct cc_lines_table {
    subtable subtables[2]; /* of series, of rejected keys */
    uint64_t seed[2];
    uint32_t first; /* handle of the entry a batch began with last time */
};

static inline uint64_t load64(const unsigned char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012): keyed, so that nobody can choose keys that collide, and fast enough for
 * the few keys that are not predicted. */
static inline uint64_t rotate_left(uint64_t x, int by) { return x << by | x >> (64 - by); }

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = rotate_left(v[1], 13) ^ v[0], v[0] = rotate_left(v[0], 32);
    v[2] += v[3], v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotate_left(v[1], 17) ^ v[2], v[2] = rotate_left(v[2], 32);
}

static uint64_t hash_of(const cc_lines_table *table, const unsigned char *key, size_t length) {
    uint64_t v[4] = {table->seed[0] ^ UINT64_C(0x736f6d6570736575), table->seed[1] ^ UINT64_C(0x646f72616e646f6d),
                     table->seed[0] ^ UINT64_C(0x6c7967656e657261), table->seed[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t last = (uint64_t)length << 56;
    size_t whole = length & ~(size_t)7;
    for (size_t at = 0; at < whole; at += 8) {
        uint64_t word = load64(key + at);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t at = whole; at < length; at++) {
        last |= (uint64_t)key[at] << 8 * (at - whole);
    }
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline unsigned char *key_at(const subtable *keys, const entry *item) {
    return keys->chunks[item->at >> CHUNK_SHIFT] + (size_t)(item->at & (CHUNK_UNITS - 1)) * UNIT;
}

static uint32_t find_in(const subtable *keys, uint64_t hash, const unsigned char *key, size_t length) {
    if (!keys->slot_count) {
        return NONE;
    }
    uint32_t mask = keys->slot_count - 1;
    for (uint32_t slot = (uint32_t)hash & mask;; slot = (slot + 1) & mask) {
        uint32_t number = keys->slots[slot];
        if (number == NONE) {
            return NONE;
        }
        const entry *item = &keys->entries[number];
        if (item->tag == (uint16_t)(hash >> 48) && item->length == length && !memcmp(key_at(keys, item), key, length)) {
            return number;
        }
    }
}

/* The handle of a key, or NONE. */
static uint32_t find(const cc_lines_table *table, uint64_t hash, const unsigned char *key, size_t length) {
    uint32_t number = find_in(&table->subtables[0], hash, key, length);
    if (number != NONE) {
        return number;
    }
    number = find_in(&table->subtables[1], hash, key, length);
    return number == NONE ? NONE : number | REJECTED;
}

/* The entry of a handle, or NULL if there is none (any more). */
static inline entry *entry_of(const cc_lines_table *table, uint32_t handle, const subtable **keys) {
    *keys = &table->subtables[handle >> 31];
    uint32_t number = handle & ~REJECTED;
    return number < (*keys)->count ? &(*keys)->entries[number] : NULL;
}

static void put_slot(subtable *keys, uint64_t hash, uint32_t number) {
    uint32_t mask = keys->slot_count - 1, slot = (uint32_t)hash & mask;
    while (keys->slots[slot] != NONE) {
        slot = (slot + 1) & mask;
    }
    keys->slots[slot] = number;
}

static void rebuild_slots(const cc_lines_table *table, subtable *keys) {
    memset(keys->slots, 0xff, keys->slot_count * sizeof *keys->slots);
    for (uint32_t number = 0; number < keys->count; number++) {
        const entry *item = &keys->entries[number];
        put_slot(keys, hash_of(table, key_at(keys, item), item->length), number);
    }
}

static bool resize_slots(const cc_lines_table *table, subtable *keys, uint32_t slot_count) {
    uint32_t *slots = CC_LINES_REALLOC(NULL, slot_count * sizeof *slots);
    if (!slots) {
        return false;
    }
    CC_LINES_FREE(keys->slots);
    keys->slots = slots;
    keys->slot_count = slot_count;
    rebuild_slots(table, keys);
    return true;
}

/* Room for one more entry with a key of so many units. Nothing else is changed, so it can fail at any point. */
static cc_lines_status make_room(const cc_lines_table *table, subtable *keys, uint32_t units) {
    if (keys->count >= MAX_ENTRIES) {
        return CC_LINES_FULL;
    }
    if (keys->count == keys->room) {
        uint32_t room = keys->room < 16 ? 16 : keys->room + keys->room / 2;
        entry *entries = CC_LINES_REALLOC(keys->entries, room * sizeof *entries);
        if (!entries) {
            return CC_LINES_NO_MEMORY;
        }
        keys->entries = entries;
        keys->room = room;
    }
    if (keys->count + 1 > keys->slot_count / 3 * 2) {
        if (!resize_slots(table, keys, keys->slot_count ? keys->slot_count * 2 : CC_LINES_MIN_SLOTS)) {
            return CC_LINES_NO_MEMORY;
        }
    }
    if (!keys->chunk_count || keys->used + units > CHUNK_UNITS) {
        if (keys->chunk_count == MAX_CHUNKS) {
            return CC_LINES_FULL;
        }
        if (keys->chunk_count == keys->chunk_room) {
            uint32_t room = keys->chunk_room ? keys->chunk_room * 2 : 4;
            unsigned char **chunks = CC_LINES_REALLOC(keys->chunks, room * sizeof *chunks);
            if (!chunks) {
                return CC_LINES_NO_MEMORY;
            }
            keys->chunks = chunks;
            keys->chunk_room = room;
        }
        unsigned char *chunk = CC_LINES_REALLOC(NULL, CHUNK_BYTES);
        if (!chunk) {
            return CC_LINES_NO_MEMORY;
        }
        keys->chunks[keys->chunk_count++] = chunk;
        keys->used = 0;
    }
    return CC_LINES_OK;
}

static void drop_chunks(subtable *keys, uint32_t wanted) {
    while (keys->chunk_count > wanted) {
        CC_LINES_FREE(keys->chunks[--keys->chunk_count]);
    }
}

static void clear(subtable *keys) {
    drop_chunks(keys, 0);
    CC_LINES_FREE(keys->chunks);
    CC_LINES_FREE(keys->slots);
    CC_LINES_FREE(keys->entries);
    *keys = (subtable){0};
}

cc_lines_table *cc_lines_new(const unsigned char seed[16]) {
    cc_lines_table *table = CC_LINES_REALLOC(NULL, sizeof *table);
    if (!table) {
        return NULL;
    }
    *table = (cc_lines_table){.first = NONE};
    memcpy(table->seed, seed, sizeof table->seed);
    return table;
}

void cc_lines_free(cc_lines_table *table) {
    if (!table) {
        return;
    }
    clear(&table->subtables[0]);
    clear(&table->subtables[1]);
    CC_LINES_FREE(table);
}

int cc_lines_find(const cc_lines_table *table, const unsigned char *key, size_t length, int32_t *code) {
    const subtable *keys;
    uint32_t handle = find(table, hash_of(table, key, length), key, length);
    if (handle == NONE) {
        return 0;
    }
    *code = entry_of(table, handle, &keys)->code;
    return 1;
}

/* Whether a line can begin with these bytes, and the blank after them is the first that ends a key. */
static bool is_key(const unsigned char *key, size_t length) {
    if (!length || length > CC_LINES_MAX_KEY_BYTES || is_blank(*key) || *key == '#' || key[length - 1] == '\\') {
        return false;
    }
    return !memchr(key, '\n', length) && !key_end(key, key + length);
}

cc_lines_status cc_lines_remember(cc_lines_table *table, const unsigned char *key, size_t length, int32_t code) {
    if (!is_key(key, length) || code < -CC_LINES_REJECTION_CODES) {
        return CC_LINES_BAD_KEY;
    }
    uint64_t hash = hash_of(table, key, length);
    if (find(table, hash, key, length) != NONE) {
        return CC_LINES_DUPLICATE;
    }
    subtable *keys = &table->subtables[code < 0];
    uint32_t units = (uint32_t)((length + UNIT - 1) / UNIT);
    cc_lines_status status = make_room(table, keys, units);
    if (status != CC_LINES_OK) {
        return status;
    }
    uint32_t number = keys->count++;
    keys->entries[number] =
        (entry){.at = (keys->chunk_count - 1) << CHUNK_SHIFT | keys->used,
                .next = (number + 1) | (code < 0 ? REJECTED : 0), /* keys come in the order of their lines */
                .code = code,
                .length = (uint16_t)length,
                .tag = (uint16_t)(hash >> 48)};
    memcpy(key_at(keys, &keys->entries[number]), key, length);
    keys->used += units;
    put_slot(keys, hash, number);
    return CC_LINES_OK;
}

void cc_lines_forget_rejected(cc_lines_table *table) { clear(&table->subtables[1]); }

void cc_lines_keep(cc_lines_table *table, const uint8_t *wanted, size_t count) {
    cc_lines_forget_rejected(table);
    subtable *keys = &table->subtables[0];
    uint32_t kept = 0, chunk = 0, used = 0;
    /* Keys move towards the begin, over places whose keys were moved or dropped before: no memory is needed. */
    for (uint32_t number = 0; number < keys->count; number++) {
        entry item = keys->entries[number];
        if ((size_t)item.code >= count || !wanted[item.code]) {
            continue;
        }
        const unsigned char *from = key_at(keys, &item);
        uint32_t units = ((uint32_t)item.length + UNIT - 1) / UNIT;
        if (used + units > CHUNK_UNITS) {
            chunk++, used = 0;
        }
        item.at = chunk << CHUNK_SHIFT | used;
        item.next = kept + 1;
        memmove(key_at(keys, &item), from, item.length);
        keys->entries[kept++] = item;
        used += units;
    }
    if (kept == keys->count) {
        return;
    }
    if (!kept) {
        clear(keys);
        return;
    }
    keys->count = kept;
    keys->used = used;
    drop_chunks(keys, chunk + 1);
    entry *entries = CC_LINES_REALLOC(keys->entries, kept * sizeof *entries);
    if (entries) {
        keys->entries = entries, keys->room = kept;
    }
    uint32_t slot_count = keys->slot_count;
    while (slot_count > CC_LINES_MIN_SLOTS && kept < slot_count / 2 / 3 * 2) {
        slot_count /= 2;
    }
    if (slot_count == keys->slot_count || !resize_slots(table, keys, slot_count)) {
        rebuild_slots(table, keys);
    }
}

size_t cc_lines_count(const cc_lines_table *table) { return table->subtables[0].count; }

size_t cc_lines_rejected(const cc_lines_table *table) { return table->subtables[1].count; }

size_t cc_lines_size_bytes(const cc_lines_table *table) {
    size_t size = sizeof *table;
    for (int at = 0; at < 2; at++) {
        const subtable *keys = &table->subtables[at];
        size += keys->room * sizeof *keys->entries + keys->slot_count * sizeof *keys->slots;
        size += keys->chunk_room * sizeof *keys->chunks + (size_t)keys->chunk_count * CHUNK_BYTES;
    }
    return size;
}

void cc_lines_codes(const cc_lines_table *table, int64_t *codes) {
    const subtable *keys = &table->subtables[0];
    for (uint32_t number = 0; number < keys->count; number++) {
        codes[number] = keys->entries[number].code;
    }
}

/* Numbers */

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { MAX_TENS = 22, MAX_DIGITS = 19, MAX_EXPONENT_DIGITS = 4, INTEGER_TEXT = 64, MAX_TIME_DIGITS = 19 };
static const uint64_t MAX_EXACT_INTEGER = UINT64_C(1) << 53;

static inline bool is_digit(unsigned char c) { return (unsigned char)(c - '0') < 10; }

/* Reads digits into a number; after more than 19 that count, the number is wrong, which the caller must notice. */
static inline const unsigned char *read_digits(const unsigned char *at, const unsigned char *end, uint64_t *number) {
    uint64_t sum = *number;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    static const uint32_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    while (end - at >= 8) {
        /* Eight at once. A byte that is no digit has its highest bit set in `other`, or one before it has. */
        uint64_t word = load64(at) ^ UINT64_C(0x3030303030303030);
        uint64_t other = (word | (word + UINT64_C(0x7676767676767676))) & UINT64_C(0x8080808080808080);
        int many = other ? __builtin_ctzll(other) >> 3 : 8;
        if (!many) {
            break;
        }
        word <<= 8 * (8 - many); /* the first digit is in the lowest byte: now zeros come before it */
        word = (word * (1 + (10 << 8))) >> 8 & UINT64_C(0x00ff00ff00ff00ff);
        word = (word * (1 + (100 << 16))) >> 16 & UINT64_C(0x0000ffff0000ffff);
        word = (word * (1 + (UINT64_C(10000) << 32))) >> 32;
        sum = sum * powers[many] + word;
        at += many;
        if (many < 8) {
            *number = sum;
            return at;
        }
    }
#endif
    for (; at < end && is_digit(*at); at++) {
        sum = sum * 10 + (uint64_t)(*at - '0');
    }
    *number = sum;
    return at;
}

/* The single precision number next to the double precision number next to whole * 10^exponent, if that is certain. */
static inline bool scale_decimal(uint64_t whole, int64_t exponent, float *value) {
    if (!whole) {
        *value = 0;
        return true;
    }
    if (exponent < -MAX_TENS || exponent > MAX_TENS) {
        return false;
    }
    double product = exponent < 0 ? (double)whole / TENS[-exponent] : (double)whole * TENS[exponent];
    *value = (float)product;
#if FLT_EVAL_METHOD == 0
    /* Both are exact, so the double is the right one (Clinger, 1990). */
    if (whole <= MAX_EXACT_INTEGER) {
        return true;
    }
#endif
    /* Two roundings: the right double is at most 3 * 2^-53 away. Both ends of a wider range give the same number. */
    static const double margin = 1.0 / (UINT64_C(1) << 50);
    return (float)(product * (1 - margin)) == *value && (float)(product * (1 + margin)) == *value;
}

/* Reads a number up to what cannot belong to it; NULL where it is not plain. */
static inline const unsigned char *read_number(const unsigned char *at, const unsigned char *end, float *value) {
    const unsigned char *begin = at;
    bool negative = false, is_signed = false;
    if (at < end && (*at == '-' || *at == '+')) {
        negative = *at++ == '-';
        is_signed = true;
    }
    uint64_t whole = 0;
    const unsigned char *first = at;
    at = read_digits(at, end, &whole);
    int64_t many = at - first, decimals = 0, exponent = 0;
    if (at < end && *at == '.') {
        const unsigned char *point = at++;
        at = read_digits(at, end, &whole);
        decimals = at - point - 1;
        many += decimals;
    } else if (at < end && (*at == 'i' || *at == 'u')) {
        if (!many || many > MAX_DIGITS || at + 1 - begin >= INTEGER_TEXT) {
            return NULL;
        }
        if (*at == 'u' ? is_signed : whole > (uint64_t)INT64_MAX + negative) {
            return NULL;
        }
        double number = (double)whole;
        *value = (float)(negative && whole ? -number : number);
        return at + 1;
    }
    if (!many) {
        return NULL;
    }
    if (many > MAX_DIGITS) {
        for (const unsigned char *zero = first; zero < at && (*zero == '0' || *zero == '.'); zero++) {
            many -= *zero == '0';
        }
        if (many > MAX_DIGITS) {
            return NULL;
        }
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        bool down = false;
        at++;
        if (at < end && (*at == '-' || *at == '+')) {
            down = *at++ == '-';
        }
        uint64_t power = 0;
        const unsigned char *digit = at;
        at = read_digits(at, end, &power);
        if (at == digit || at - digit > MAX_EXPONENT_DIGITS) {
            return NULL;
        }
        exponent = down ? -(int64_t)power : (int64_t)power;
    }
    if (!scale_decimal(whole, exponent - decimals, value)) {
        return NULL;
    }
    if (negative) {
        *value = -*value;
    }
    return at;
}

/* Floor of a division, also for times before 1970. */
static inline int64_t floor_divide(uint64_t size, bool negative, uint64_t unit) {
    return negative ? -(int64_t)((size + unit - 1) / unit) : (int64_t)(size / unit);
}

/* Reads a time of any unit up to what is no digit; NULL where it is none. */
static const unsigned char *read_time(const unsigned char *at, const unsigned char *end, int64_t *time_s) {
    bool negative = at < end && *at == '-';
    at += negative;
    uint64_t size = 0;
    const unsigned char *first = at;
    at = read_digits(at, end, &size);
    if (at == first || at - first > MAX_TIME_DIGITS) {
        return NULL;
    }
    uint64_t unit = 1;
    if (size >= UINT64_C(100000000000000000)) {
        unit = 1000000000;
    } else if (size >= UINT64_C(100000000000000)) {
        unit = 1000000;
    } else if (size >= UINT64_C(100000000000)) {
        unit = 1000;
    }
    *time_s = floor_divide(size, negative, unit);
    return at;
}

/* Lines */

void cc_lines_result_init(cc_lines_result *result) { memset(result, 0, sizeof *result); }

void cc_lines_result_free(cc_lines_result *result) {
    CC_LINES_FREE(result->codes);
    CC_LINES_FREE(result->values);
    CC_LINES_FREE(result->times_s);
    CC_LINES_FREE(result->positions);
    CC_LINES_FREE(result->slow);
    cc_lines_result_init(result);
}

#define GROW(member, room)                                                                                             \
    do {                                                                                                               \
        void *grown = CC_LINES_REALLOC(result->member, (room) * sizeof *result->member);                               \
        if (!grown)                                                                                                    \
            return false;                                                                                              \
        result->member = grown;                                                                                        \
    } while (0)

static bool grow_samples(cc_lines_result *result) {
    size_t room = result->room ? result->room * 2 : CC_LINES_MIN_SAMPLES;
    GROW(codes, room);
    GROW(values, room);
    GROW(times_s, room);
    GROW(positions, room);
    result->room = room;
    return true;
}

static bool grow_slow(cc_lines_result *result) {
    size_t room = result->slow_room ? result->slow_room * 2 : CC_LINES_MIN_SAMPLES / 16;
    GROW(slow, room);
    result->slow_room = room;
    return true;
}

static void start_result(cc_lines_result *result) {
    result->count = result->slow_count = 0;
    result->lines = result->skipped = 0;
    result->oldest_s = INT64_MAX;
    result->newest_s = INT64_MIN;
    for (int at = 0; at < CC_LINES_REJECTION_CODES; at++) {
        result->rejected[at].count = 0;
    }
}

static void count_rejected(cc_lines_result *result, int32_t code, int64_t position) {
    cc_lines_rejection *rejected = &result->rejected[-1 - code];
    if (rejected->count < CC_LINES_MAX_POSITIONS) {
        rejected->positions[rejected->count] = position;
    }
    rejected->count++;
}

typedef struct {
    const unsigned char *text; /* of the line before, so that it need not be read again; NULL if there is none */
    size_t length;
    int64_t time_s;
} last_time;

static inline bool same_time(const last_time *known, const unsigned char *at, const unsigned char *end) {
    size_t length = known->length;
    if (!known->text || (size_t)(end - at) < length) {
        return false;
    }
    if (length < 8 || length > 16) {
        return !memcmp(at, known->text, length);
    }
    return load64(at) == load64(known->text) && load64(at + length - 8) == load64(known->text + length - 8);
}

/* Reads what follows a key and its blank: value and time. Returns the end of the line, or NULL where it is not plain.
 */
static inline const unsigned char *read_sample(const unsigned char *at, const unsigned char *end, int64_t received_s,
                                               last_time *known, float *value, int64_t *time_s) {
    while (at < end && *at == ' ') {
        at++;
    }
    if (end - at < 7 || memcmp(at, "value=", 6) != 0) {
        return NULL;
    }
    at = read_number(at + 6, end, value);
    if (!at) {
        return NULL;
    }
    if (at < end && *at == ' ') {
        do {
            at++;
        } while (at < end && *at == ' ');
        if (same_time(known, at, end) && at_line_end(at + known->length, end)) {
            *time_s = known->time_s;
            return at + known->length;
        }
        if (at < end && (*at == '-' || is_digit(*at))) {
            const unsigned char *text = at;
            at = read_time(at, end, time_s);
            if (!at) {
                return NULL;
            }
            *known = (last_time){text, (size_t)(at - text), *time_s};
            at = skip_blanks(at, end);
            return at_line_end(at, end) ? at : NULL;
        }
    }
    at = skip_blanks(at, end);
    if (!at_line_end(at, end)) {
        return NULL;
    }
    *time_s = received_s;
    return at;
}

cc_lines_status cc_lines_decode(cc_lines_table *table, const unsigned char *data, size_t size, int64_t received_s,
                                cc_lines_resolver resolve, void *context, cc_lines_result *result) {
    const unsigned char *at = data, *end = data + size;
    uint32_t expected = table->first; /* handle of the entry that is likely to be next */
    uint32_t before = NONE;
    last_time known = {0};
    start_result(result);
    for (int64_t position = 0; at < end; position++, at += at < end) {
        result->lines++;
        const unsigned char *begin = at, *stop;
        int32_t code;
        const subtable *keys;
        const entry *item = entry_of(table, expected, &keys);
        if (item && (size_t)(end - at) > item->length && at[item->length] == ' ' &&
            !memcmp(key_at(keys, item), at, item->length)) {
            /* No blank in it ends a key, and none of it is a newline: this is what the line begins with. */
            stop = at + item->length;
            code = item->code;
            before = expected;
            expected = item->next;
        } else {
            const unsigned char *newline = line_end(at, end);
            at = skip_blanks(at, newline);
            if (at == newline || *at == '#') {
                result->skipped++;
                at = newline;
                continue;
            }
            stop = key_end(at, newline);
            if (!stop || skip_blanks(stop, newline) == newline) {
                goto slow;
            }
            size_t length = (size_t)(stop - at);
            uint64_t hash = hash_of(table, at, length);
            uint32_t handle = find(table, hash, at, length);
            if (handle != NONE) {
                item = entry_of(table, handle, &keys);
                code = item->code;
            } else {
                if (resolve(context, at, length, &code) || code < -CC_LINES_REJECTION_CODES) {
                    return CC_LINES_STOPPED;
                }
                handle = find(table, hash, at, length);
                item = handle == NONE ? NULL : entry_of(table, handle, &keys);
            }
            if (item) {
                entry *previous = before == NONE ? NULL : entry_of(table, before, &keys);
                if (previous) {
                    previous->next = handle;
                } else {
                    table->first = handle;
                }
                before = handle;
                expected = item->next;
            }
        }
        if (code < 0) {
            /* Blanks alone after a key are no field: such a line is faulty, whatever its key is. */
            if (at_line_end(skip_blanks(stop, end), end)) {
                goto slow;
            }
            count_rejected(result, code, position);
            at = line_end(stop, end);
            continue;
        }
        if (result->count == result->room && !grow_samples(result)) {
            return CC_LINES_NO_MEMORY;
        }
        float value;
        int64_t time_s;
        at = read_sample(stop + 1, end, received_s, &known, &value, &time_s);
        if (at) {
            size_t number = result->count++;
            result->codes[number] = code;
            result->values[number] = value;
            result->times_s[number] = time_s;
            result->positions[number] = position;
            if (time_s < result->oldest_s) {
                result->oldest_s = time_s;
            }
            if (time_s > result->newest_s) {
                result->newest_s = time_s;
            }
            continue;
        }
slow:
        if (result->slow_count == CC_LINES_MAX_SLOW) {
            return CC_LINES_TOO_SLOW;
        }
        if (result->slow_count == result->slow_room && !grow_slow(result)) {
            return CC_LINES_NO_MEMORY;
        }
        at = line_end(begin, end);
        result->slow[result->slow_count++] = (cc_lines_slow){position, (size_t)(begin - data), (size_t)(at - begin)};
    }
    return CC_LINES_OK;
}
