#include "lines.h"

#include <float.h>
#include <stdbool.h>
#include <string.h>

/* A test can put an allocator here that fails when it is told to. */
#ifndef LINES_REALLOC
#include <stdlib.h>
#define LINES_REALLOC realloc
#define LINES_FREE free
#endif
/* And smaller sizes, so that small inputs reach all of the code. A chunk holds the longest key. */
#ifndef LINES_CHUNK_SHIFT
#define LINES_CHUNK_SHIFT 15
#define LINES_LEAST_SLOTS 64
#define LINES_LEAST_SAMPLES 1024
#endif

typedef const unsigned char *bytes;

/* Pieces of lines */

static inline bool is_blank(unsigned char c) { return c == ' ' || c == '\t' || c == '\r'; }

static inline bytes skip_blanks(bytes at, bytes end) {
    while (at < end && is_blank(*at)) at++;
    return at;
}

static inline bool at_line_end(bytes at, bytes end) { return at == end || *at == '\n'; }

static bytes line_end(bytes at, bytes end) {
    bytes found = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    return found ? found : end;
}

/* The first blank of a line that has no backslash before it, or NULL. */
static bytes key_end(bytes at, bytes stop) {
    for (bytes from = at; from < stop; from++) {
        from = memchr(from, ' ', (size_t)(stop - from));
        if (!from) return NULL;
        if (from == at || from[-1] != '\\') return from;
    }
    return NULL;
}

/* The table
 *
 * Keys lie in chunks, one after the other, in the order in which they came. Those that lead to series and those that
 * are refused lie on different shelves, so that all refused ones can be forgotten at once. Each entry remembers which
 * entry followed it last time: senders repeat themselves, so the next line's key is found by one comparison, without
 * hashing. What it remembers is a guess and may be stale; it is checked for bounds and against the key each time.
 */

enum { UNIT = 8, CHUNK_SHIFT = LINES_CHUNK_SHIFT, CHUNK_UNITS = 1 << CHUNK_SHIFT, CHUNK_BYTES = UNIT * CHUNK_UNITS };
static const uint32_t NONE = UINT32_MAX;
static const uint32_t REFUSED = UINT32_C(1) << 31; /* set in the handle of an entry on the shelf of refused keys */
static const uint32_t MOST_ENTRIES = UINT32_C(1) << 30; /* so that twice as many slots can be counted */
static const uint32_t MOST_CHUNKS = UINT32_C(1) << (32 - CHUNK_SHIFT);

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
} shelf;

struct lines_table {
    shelf shelves[2]; /* of series, of refused keys */
    uint64_t seed[2];
    uint32_t first; /* handle of the entry a batch began with last time */
};

static inline uint64_t load64(bytes at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012): keyed, so that nobody can choose keys that collide, and fast enough for
 * the few keys that are not predicted. */
static inline uint64_t rotated(uint64_t x, int by) { return x << by | x >> (64 - by); }

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = rotated(v[1], 13) ^ v[0], v[0] = rotated(v[0], 32);
    v[2] += v[3], v[3] = rotated(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotated(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotated(v[1], 17) ^ v[2], v[2] = rotated(v[2], 32);
}

static uint64_t hash_of(const lines_table *table, bytes key, size_t length) {
    uint64_t v[4] = {
        table->seed[0] ^ UINT64_C(0x736f6d6570736575), table->seed[1] ^ UINT64_C(0x646f72616e646f6d),
        table->seed[0] ^ UINT64_C(0x6c7967656e657261), table->seed[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t last = (uint64_t)length << 56;
    size_t whole = length & ~(size_t)7;
    for (size_t at = 0; at < whole; at += 8) {
        uint64_t word = load64(key + at);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t at = whole; at < length; at++) last |= (uint64_t)key[at] << 8 * (at - whole);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline unsigned char *key_at(const shelf *on, const entry *of) {
    return on->chunks[of->at >> CHUNK_SHIFT] + (size_t)(of->at & (CHUNK_UNITS - 1)) * UNIT;
}

static uint32_t find_on(const shelf *on, uint64_t hash, bytes key, size_t length) {
    if (!on->slot_count) return NONE;
    uint32_t mask = on->slot_count - 1;
    for (uint32_t slot = (uint32_t)hash & mask;; slot = (slot + 1) & mask) {
        uint32_t number = on->slots[slot];
        if (number == NONE) return NONE;
        const entry *of = &on->entries[number];
        if (of->tag == (uint16_t)(hash >> 48) && of->length == length && !memcmp(key_at(on, of), key, length))
            return number;
    }
}

/* The handle of a key, or NONE. */
static uint32_t find(const lines_table *table, uint64_t hash, bytes key, size_t length) {
    uint32_t number = find_on(&table->shelves[0], hash, key, length);
    if (number != NONE) return number;
    number = find_on(&table->shelves[1], hash, key, length);
    return number == NONE ? NONE : number | REFUSED;
}

/* The entry of a handle, or NULL if there is none (any more). */
static inline entry *entry_of(const lines_table *table, uint32_t handle, const shelf **on) {
    *on = &table->shelves[handle >> 31];
    uint32_t number = handle & ~REFUSED;
    return number < (*on)->count ? &(*on)->entries[number] : NULL;
}

static void put_slot(shelf *on, uint64_t hash, uint32_t number) {
    uint32_t mask = on->slot_count - 1, slot = (uint32_t)hash & mask;
    while (on->slots[slot] != NONE) slot = (slot + 1) & mask;
    on->slots[slot] = number;
}

static void fill_slots(const lines_table *table, shelf *on) {
    memset(on->slots, 0xff, on->slot_count * sizeof *on->slots);
    for (uint32_t number = 0; number < on->count; number++) {
        const entry *of = &on->entries[number];
        put_slot(on, hash_of(table, key_at(on, of), of->length), number);
    }
}

static bool resize_slots(const lines_table *table, shelf *on, uint32_t slot_count) {
    uint32_t *slots = LINES_REALLOC(NULL, slot_count * sizeof *slots);
    if (!slots) return false;
    LINES_FREE(on->slots);
    on->slots = slots;
    on->slot_count = slot_count;
    fill_slots(table, on);
    return true;
}

/* Room for one more entry with a key of so many units. Nothing else is changed, so it can fail at any point. */
static lines_status make_room(const lines_table *table, shelf *on, uint32_t units) {
    if (on->count >= MOST_ENTRIES) return LINES_FULL;
    if (on->count == on->room) {
        uint32_t room = on->room < 16 ? 16 : on->room + on->room / 2;
        entry *entries = LINES_REALLOC(on->entries, room * sizeof *entries);
        if (!entries) return LINES_NO_MEMORY;
        on->entries = entries;
        on->room = room;
    }
    if (on->count + 1 > on->slot_count / 3 * 2) {
        if (!resize_slots(table, on, on->slot_count ? on->slot_count * 2 : LINES_LEAST_SLOTS)) return LINES_NO_MEMORY;
    }
    if (!on->chunk_count || on->used + units > CHUNK_UNITS) {
        if (on->chunk_count == MOST_CHUNKS) return LINES_FULL;
        if (on->chunk_count == on->chunk_room) {
            uint32_t room = on->chunk_room ? on->chunk_room * 2 : 4;
            unsigned char **chunks = LINES_REALLOC(on->chunks, room * sizeof *chunks);
            if (!chunks) return LINES_NO_MEMORY;
            on->chunks = chunks;
            on->chunk_room = room;
        }
        unsigned char *chunk = LINES_REALLOC(NULL, CHUNK_BYTES);
        if (!chunk) return LINES_NO_MEMORY;
        on->chunks[on->chunk_count++] = chunk;
        on->used = 0;
    }
    return LINES_OK;
}

static void drop_chunks(shelf *on, uint32_t wanted) {
    while (on->chunk_count > wanted) LINES_FREE(on->chunks[--on->chunk_count]);
}

static void clear(shelf *on) {
    drop_chunks(on, 0);
    LINES_FREE(on->chunks);
    LINES_FREE(on->slots);
    LINES_FREE(on->entries);
    *on = (shelf){0};
}

lines_table *lines_new(const unsigned char seed[16]) {
    lines_table *table = LINES_REALLOC(NULL, sizeof *table);
    if (!table) return NULL;
    *table = (lines_table){.first = NONE};
    memcpy(table->seed, seed, sizeof table->seed);
    return table;
}

void lines_free(lines_table *table) {
    if (!table) return;
    clear(&table->shelves[0]);
    clear(&table->shelves[1]);
    LINES_FREE(table);
}

int lines_find(const lines_table *table, bytes key, size_t length, int32_t *code) {
    const shelf *on;
    uint32_t handle = find(table, hash_of(table, key, length), key, length);
    if (handle == NONE) return 0;
    *code = entry_of(table, handle, &on)->code;
    return 1;
}

/* Whether a line can begin with these bytes, and the blank after them is the first that ends a key. */
static bool is_key(bytes key, size_t length) {
    if (!length || length > LINES_MAX_KEY || is_blank(*key) || *key == '#' || key[length - 1] == '\\') return false;
    return !memchr(key, '\n', length) && !key_end(key, key + length);
}

lines_status lines_remember(lines_table *table, bytes key, size_t length, int32_t code) {
    if (!is_key(key, length) || code < -LINES_CODES) return LINES_BAD_KEY;
    uint64_t hash = hash_of(table, key, length);
    if (find(table, hash, key, length) != NONE) return LINES_KNOWN;
    shelf *on = &table->shelves[code < 0];
    uint32_t units = (uint32_t)((length + UNIT - 1) / UNIT);
    lines_status status = make_room(table, on, units);
    if (status != LINES_OK) return status;
    uint32_t number = on->count++;
    on->entries[number] = (entry){
        .at = (on->chunk_count - 1) << CHUNK_SHIFT | on->used,
        .next = (number + 1) | (code < 0 ? REFUSED : 0), /* keys come in the order of their lines */
        .code = code,
        .length = (uint16_t)length,
        .tag = (uint16_t)(hash >> 48)};
    memcpy(key_at(on, &on->entries[number]), key, length);
    on->used += units;
    put_slot(on, hash, number);
    return LINES_OK;
}

void lines_forget_refused(lines_table *table) { clear(&table->shelves[1]); }

void lines_keep(lines_table *table, const uint8_t *wanted, size_t count) {
    lines_forget_refused(table);
    shelf *on = &table->shelves[0];
    uint32_t kept = 0, chunk = 0, used = 0;
    /* Keys move towards the begin, over places whose keys were moved or dropped before: no memory is needed. */
    for (uint32_t number = 0; number < on->count; number++) {
        entry of = on->entries[number];
        if ((size_t)of.code >= count || !wanted[of.code]) continue;
        bytes from = key_at(on, &of);
        uint32_t units = ((uint32_t)of.length + UNIT - 1) / UNIT;
        if (used + units > CHUNK_UNITS) chunk++, used = 0;
        of.at = chunk << CHUNK_SHIFT | used;
        of.next = kept + 1;
        memmove(key_at(on, &of), from, of.length);
        on->entries[kept++] = of;
        used += units;
    }
    if (kept == on->count) return;
    if (!kept) {
        clear(on);
        return;
    }
    on->count = kept;
    on->used = used;
    drop_chunks(on, chunk + 1);
    entry *entries = LINES_REALLOC(on->entries, kept * sizeof *entries);
    if (entries) on->entries = entries, on->room = kept;
    uint32_t slot_count = on->slot_count;
    while (slot_count > LINES_LEAST_SLOTS && kept < slot_count / 2 / 3 * 2) slot_count /= 2;
    if (slot_count == on->slot_count || !resize_slots(table, on, slot_count)) fill_slots(table, on);
}

size_t lines_count(const lines_table *table) { return table->shelves[0].count; }

size_t lines_refused(const lines_table *table) { return table->shelves[1].count; }

size_t lines_size_bytes(const lines_table *table) {
    size_t size = sizeof *table;
    for (int at = 0; at < 2; at++) {
        const shelf *on = &table->shelves[at];
        size += on->room * sizeof *on->entries + on->slot_count * sizeof *on->slots;
        size += on->chunk_room * sizeof *on->chunks + (size_t)on->chunk_count * CHUNK_BYTES;
    }
    return size;
}

void lines_codes(const lines_table *table, int64_t *codes) {
    const shelf *on = &table->shelves[0];
    for (uint32_t number = 0; number < on->count; number++) codes[number] = on->entries[number].code;
}

/* Numbers */

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { MOST_TENS = 22, MOST_DIGITS = 19, MOST_EXPONENT_DIGITS = 4, INTEGER_TEXT = 64, MOST_TIME_DIGITS = 19 };
static const uint64_t EXACT_WHOLE = UINT64_C(1) << 53;

static inline bool is_digit(unsigned char c) { return (unsigned char)(c - '0') < 10; }

/* Read digits into a number; after more than 19 that count, the number is wrong, which the caller must notice. */
static inline bytes digits(bytes at, bytes end, uint64_t *number) {
    uint64_t sum = *number;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    static const uint32_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    while (end - at >= 8) {
        /* Eight at once. A byte that is no digit has its highest bit set in `other`, or one before it has. */
        uint64_t word = load64(at) ^ UINT64_C(0x3030303030303030);
        uint64_t other = (word | (word + UINT64_C(0x7676767676767676))) & UINT64_C(0x8080808080808080);
        int many = other ? __builtin_ctzll(other) >> 3 : 8;
        if (!many) break;
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
    for (; at < end && is_digit(*at); at++) sum = sum * 10 + (uint64_t)(*at - '0');
    *number = sum;
    return at;
}

/* The single precision number next to the double precision number next to whole * 10^exponent, if that is certain. */
static inline bool scaled(uint64_t whole, int64_t exponent, float *value) {
    if (!whole) {
        *value = 0;
        return true;
    }
    if (exponent < -MOST_TENS || exponent > MOST_TENS) return false;
    double product = exponent < 0 ? (double)whole / TENS[-exponent] : (double)whole * TENS[exponent];
    *value = (float)product;
#if FLT_EVAL_METHOD == 0
    /* Both are exact, so the double is the right one (Clinger, 1990). */
    if (whole <= EXACT_WHOLE) return true;
#endif
    /* Two roundings: the right double is at most 3 * 2^-53 away. Both ends of a wider range give the same number. */
    static const double margin = 1.0 / (UINT64_C(1) << 50);
    return (float)(product * (1 - margin)) == *value && (float)(product * (1 + margin)) == *value;
}

/* Reads a number up to what cannot belong to it; NULL where it is not plain. */
static inline bytes read_number(bytes at, bytes end, float *value) {
    bytes begin = at;
    bool negative = false, is_signed = false;
    if (at < end && (*at == '-' || *at == '+')) {
        negative = *at++ == '-';
        is_signed = true;
    }
    uint64_t whole = 0;
    bytes first = at;
    at = digits(at, end, &whole);
    int64_t many = at - first, decimals = 0, exponent = 0;
    if (at < end && *at == '.') {
        bytes point = at++;
        at = digits(at, end, &whole);
        decimals = at - point - 1;
        many += decimals;
    } else if (at < end && (*at == 'i' || *at == 'u')) {
        if (!many || many > MOST_DIGITS || at + 1 - begin >= INTEGER_TEXT) return NULL;
        if (*at == 'u' ? is_signed : whole > (uint64_t)INT64_MAX + negative) return NULL;
        double number = (double)whole;
        *value = (float)(negative && whole ? -number : number);
        return at + 1;
    }
    if (!many) return NULL;
    if (many > MOST_DIGITS) {
        for (bytes zero = first; zero < at && (*zero == '0' || *zero == '.'); zero++) many -= *zero == '0';
        if (many > MOST_DIGITS) return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        bool down = false;
        at++;
        if (at < end && (*at == '-' || *at == '+')) down = *at++ == '-';
        uint64_t power = 0;
        bytes digit = at;
        at = digits(at, end, &power);
        if (at == digit || at - digit > MOST_EXPONENT_DIGITS) return NULL;
        exponent = down ? -(int64_t)power : (int64_t)power;
    }
    if (!scaled(whole, exponent - decimals, value)) return NULL;
    if (negative) *value = -*value;
    return at;
}

/* Floor of a division, also for times before 1970. */
static inline int64_t reduced(uint64_t size, bool negative, uint64_t unit) {
    return negative ? -(int64_t)((size + unit - 1) / unit) : (int64_t)(size / unit);
}

/* Reads a time of any unit up to what is no digit; NULL where it is none. */
static bytes read_time(bytes at, bytes end, int64_t *time_s) {
    bool negative = at < end && *at == '-';
    at += negative;
    uint64_t size = 0;
    bytes first = at;
    at = digits(at, end, &size);
    if (at == first || at - first > MOST_TIME_DIGITS) return NULL;
    uint64_t unit = 1;
    if (size >= UINT64_C(100000000000000000))
        unit = 1000000000;
    else if (size >= UINT64_C(100000000000000))
        unit = 1000000;
    else if (size >= UINT64_C(100000000000))
        unit = 1000;
    *time_s = reduced(size, negative, unit);
    return at;
}

/* Lines */

void lines_result_init(lines_result *result) { memset(result, 0, sizeof *result); }

void lines_result_free(lines_result *result) {
    LINES_FREE(result->codes);
    LINES_FREE(result->values);
    LINES_FREE(result->times_s);
    LINES_FREE(result->positions);
    LINES_FREE(result->slow);
    lines_result_init(result);
}

#define GROW(member, room)                                                          \
    do {                                                                            \
        void *grown = LINES_REALLOC(result->member, (room) * sizeof *result->member); \
        if (!grown) return false;                                                   \
        result->member = grown;                                                     \
    } while (0)

static bool more_samples(lines_result *result) {
    size_t room = result->room ? result->room * 2 : LINES_LEAST_SAMPLES;
    GROW(codes, room);
    GROW(values, room);
    GROW(times_s, room);
    GROW(positions, room);
    result->room = room;
    return true;
}

static bool more_slow(lines_result *result) {
    size_t room = result->slow_room ? result->slow_room * 2 : LINES_LEAST_SAMPLES / 16;
    GROW(slow, room);
    result->slow_room = room;
    return true;
}

static void start_result(lines_result *result) {
    result->count = result->slow_count = 0;
    result->lines = result->skipped = 0;
    result->oldest_s = INT64_MAX;
    result->newest_s = INT64_MIN;
    for (int at = 0; at < LINES_CODES; at++) result->refused[at].count = 0;
}

static void count_refused(lines_result *result, int32_t code, int64_t position) {
    lines_refusal *refused = &result->refused[-1 - code];
    if (refused->count < LINES_NAMED) refused->positions[refused->count] = position;
    refused->count++;
}

typedef struct {
    bytes text; /* of the line before, so that it need not be read again; NULL if there is none */
    size_t length;
    int64_t time_s;
} known_time;

static inline bool same_time(const known_time *known, bytes at, bytes end) {
    size_t length = known->length;
    if (!known->text || (size_t)(end - at) < length) return false;
    if (length < 8 || length > 16) return !memcmp(at, known->text, length);
    return load64(at) == load64(known->text) && load64(at + length - 8) == load64(known->text + length - 8);
}

/* Reads what follows a key and its blank: value and time. Returns the end of the line, or NULL where it is not plain. */
static inline bytes read_sample(
    bytes at, bytes end, int64_t received_s, known_time *known, float *value, int64_t *time_s) {
    while (at < end && *at == ' ') at++;
    if (end - at < 7 || memcmp(at, "value=", 6) != 0) return NULL;
    at = read_number(at + 6, end, value);
    if (!at) return NULL;
    if (at < end && *at == ' ') {
        do at++;
        while (at < end && *at == ' ');
        if (same_time(known, at, end) && at_line_end(at + known->length, end)) {
            *time_s = known->time_s;
            return at + known->length;
        }
        if (at < end && (*at == '-' || is_digit(*at))) {
            bytes text = at;
            at = read_time(at, end, time_s);
            if (!at) return NULL;
            *known = (known_time){text, (size_t)(at - text), *time_s};
            at = skip_blanks(at, end);
            return at_line_end(at, end) ? at : NULL;
        }
    }
    at = skip_blanks(at, end);
    if (!at_line_end(at, end)) return NULL;
    *time_s = received_s;
    return at;
}

lines_status lines_decode(
    lines_table *table, bytes data, size_t size, int64_t received_s, lines_resolver resolve, void *context,
    lines_result *result) {
    bytes at = data, end = data + size;
    uint32_t expected = table->first; /* handle of the entry that is likely to be next */
    uint32_t before = NONE;
    known_time known = {0};
    start_result(result);
    for (int64_t position = 0; at < end; position++, at += at < end) {
        result->lines++;
        bytes begin = at, stop;
        int32_t code;
        const shelf *on;
        const entry *of = entry_of(table, expected, &on);
        if (of && (size_t)(end - at) > of->length && at[of->length] == ' ' &&
            !memcmp(key_at(on, of), at, of->length)) {
            /* No blank in it ends a key, and none of it is a newline: this is what the line begins with. */
            stop = at + of->length;
            code = of->code;
            before = expected;
            expected = of->next;
        } else {
            bytes newline = line_end(at, end);
            at = skip_blanks(at, newline);
            if (at == newline || *at == '#') {
                result->skipped++;
                at = newline;
                continue;
            }
            stop = key_end(at, newline);
            if (!stop || skip_blanks(stop, newline) == newline) goto slow;
            size_t length = (size_t)(stop - at);
            uint64_t hash = hash_of(table, at, length);
            uint32_t handle = find(table, hash, at, length);
            if (handle != NONE) {
                of = entry_of(table, handle, &on);
                code = of->code;
            } else {
                if (resolve(context, at, length, &code) || code < -LINES_CODES) return LINES_STOPPED;
                handle = find(table, hash, at, length);
                of = handle == NONE ? NULL : entry_of(table, handle, &on);
            }
            if (of) {
                entry *previous = before == NONE ? NULL : entry_of(table, before, &on);
                if (previous)
                    previous->next = handle;
                else
                    table->first = handle;
                before = handle;
                expected = of->next;
            }
        }
        if (code < 0) {
            /* Blanks alone after a key are no field: such a line is faulty, whatever its key is. */
            if (at_line_end(skip_blanks(stop, end), end)) goto slow;
            count_refused(result, code, position);
            at = line_end(stop, end);
            continue;
        }
        if (result->count == result->room && !more_samples(result)) return LINES_NO_MEMORY;
        float value;
        int64_t time_s;
        at = read_sample(stop + 1, end, received_s, &known, &value, &time_s);
        if (at) {
            size_t number = result->count++;
            result->codes[number] = code;
            result->values[number] = value;
            result->times_s[number] = time_s;
            result->positions[number] = position;
            if (time_s < result->oldest_s) result->oldest_s = time_s;
            if (time_s > result->newest_s) result->newest_s = time_s;
            continue;
        }
    slow:
        if (result->slow_count == LINES_MOST_SLOW) return LINES_TOO_SLOW;
        if (result->slow_count == result->slow_room && !more_slow(result)) return LINES_NO_MEMORY;
        at = line_end(begin, end);
        result->slow[result->slow_count++] = (lines_slow){position, (size_t)(begin - data), (size_t)(at - begin)};
    }
    return LINES_OK;
}
