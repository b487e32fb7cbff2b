#include "codec.h"

#include <math.h>
#include <string.h>

#define SIGN 0x80000000u
#define INFINITY_BITS 0x7f800000u
#define NAN_BITS 0x7fc00000u
#define MANTISSA_BITS 23
#define MAX_WIDTH 32
#define FLOAT_SCALE 7
#define BITMAP (1u << 14)
#define DICTIONARY (1u << 15)
#define ROW_HEADER_BYTES 6
#define MIN_DICTIONARY_SAMPLES 8
#define MIN_DICTIONARY_WIDTH 2
/* The longest row: header, bitmap, size of the dictionary, dictionary and positions as short as plain offsets. */
#define MAX_ROW_BYTES (ROW_HEADER_BYTES + CC_MAX_SLOTS / 8 + 1 + 4 * CC_MAX_SLOTS)

_Static_assert(MAX_ROW_BYTES <= UINT16_MAX, "the length of a row is written as u16");
_Static_assert(CC_MAX_SLOTS <= 256, "the size of a dictionary less one is written as one byte");

static const double POWERS[FLOAT_SCALE] = {1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};

static void put16(uint8_t *at, uint32_t number) {
    at[0] = (uint8_t)number;
    at[1] = (uint8_t)(number >> 8);
}

static void put32(uint8_t *at, uint32_t number) {
    put16(at, number);
    put16(at + 2, number >> 16);
}

static uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }

static uint32_t get32(const uint8_t *at) { return get16(at) | get16(at + 2) << 16; }

static uint64_t get64(const uint8_t *at) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t number;
    memcpy(&number, at, sizeof number);
    return number;
#else
    return (uint64_t)get32(at) | (uint64_t)get32(at + 4) << 32;
#endif
}

static uint32_t bits_of(float number) {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static unsigned bit_length(uint32_t number) {
    unsigned length = 0;
    for (unsigned step = 16; step; step /= 2) {
        if (number >> step) {
            number >>= step;
            length += step;
        }
    }
    return length + (number != 0);
}

static size_t bytes_for(size_t bits) { return (bits + 7) / 8; }

/* Bits in an order like that of the numbers. */
static uint32_t order_bits(uint32_t bits) { return bits & SIGN ? ~bits : bits | SIGN; }

static uint32_t restore_bits(uint32_t key) { return key & SIGN ? key ^ SIGN : ~key; }

static uint32_t round_mantissa(uint32_t bits, unsigned drop) {
    uint32_t near = ((bits & ~SIGN) + (1u << (drop - 1))) >> drop << drop;
    return near < INFINITY_BITS ? near | (bits & SIGN) : bits;
}

/* Whole number of 10^-scale nearest to a sample; 0 if it is too large. */
static int decimal_of(float sample, double power, int32_t *decimal) {
    const double half_even = 6755399441055744.0; /* 1.5 * 2^52: what is added to it loses its fraction */
    double scaled = (double)sample * power;
    if (!(fabs(scaled) < 2147483647.5)) {
        return 0;
    }
    *decimal = (int32_t)((scaled + half_even) - half_even);
    return 1;
}

static uint8_t *pack_bits(uint8_t *out, const uint32_t *numbers, size_t count, unsigned width) {
    uint64_t waiting = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < count; i++) {
        waiting |= (uint64_t)numbers[i] << bits;
        bits += width;
        if (bits >= 32) {
            put32(out, (uint32_t)waiting);
            out += 4;
            waiting >>= 32;
            bits -= 32;
        }
    }
    for (; bits; bits -= bits < 8 ? bits : 8) {
        *out++ = (uint8_t)waiting;
        waiting >>= 8;
    }
    return out;
}

/* Eight bytes behind `in` must be readable. */
static void unpack_bits(const uint8_t *in, size_t count, unsigned width, uint32_t *numbers) {
    const uint64_t mask = ((uint64_t)1 << width) - 1;
    for (size_t i = 0, bit = 0; i < count; i++, bit += width) {
        numbers[i] = (uint32_t)(get64(in + (bit >> 3)) >> (bit & 7) & mask);
    }
}

/* The different offsets, found with a small hash table of which at most half is used. */
enum { WORD_SLOT_BITS = 9, WORD_SLOTS = 1 << WORD_SLOT_BITS };
_Static_assert(WORD_SLOTS == 2 * CC_MAX_SLOTS, "a row may have as many different offsets as it has slots");

typedef struct {
    uint32_t words[CC_MAX_SLOTS];
    uint16_t place[WORD_SLOTS]; /* position in `words` plus one, 0 for none */
    size_t count;
} word_set;

static uint16_t *slot_of_word(word_set *seen, uint32_t word) {
    size_t at = (word * 0x9E3779B1u) >> (32 - WORD_SLOT_BITS);
    while (seen->place[at] && seen->words[seen->place[at] - 1] != word) {
        at = (at + 1) % WORD_SLOTS;
    }
    return &seen->place[at];
}

static size_t dictionary_bytes(size_t words, unsigned width, size_t count) {
    return 1 + bytes_for(words * width) + bytes_for(count * bit_length((uint32_t)words - 1));
}

/* Writes the offsets as positions in a dictionary if that is shorter; else gives NULL. */
static uint8_t *write_dictionary(uint8_t *out, const uint32_t *offsets, size_t count, unsigned width) {
    word_set seen;
    uint32_t positions[CC_MAX_SLOTS];
    size_t plain = bytes_for(count * width), max_words = 0;
    if (width < MIN_DICTIONARY_WIDTH || count < MIN_DICTIONARY_SAMPLES) {
        return NULL;
    }
    /* Its bytes grow with the words, so noise is given up on early. */
    for (size_t step = 128; step; step /= 2) {
        if (max_words + step <= count && dictionary_bytes(max_words + step, width, count) < plain) {
            max_words += step;
        }
    }
    memset(seen.place, 0, sizeof seen.place);
    seen.count = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t *place = slot_of_word(&seen, offsets[i]);
        if (!*place) {
            if (seen.count == max_words) {
                return NULL;
            }
            seen.words[seen.count++] = offsets[i];
            *place = (uint16_t)seen.count;
        }
    }
    for (size_t i = 1; i < seen.count; i++) { /* few words: insertion is quick */
        uint32_t word = seen.words[i];
        size_t at = i;
        for (; at && seen.words[at - 1] > word; at--) {
            seen.words[at] = seen.words[at - 1];
        }
        seen.words[at] = word;
    }
    memset(seen.place, 0, sizeof seen.place);
    for (size_t i = 0; i < seen.count; i++) {
        *slot_of_word(&seen, seen.words[i]) = (uint16_t)(i + 1);
    }
    for (size_t i = 0; i < count; i++) {
        positions[i] = *slot_of_word(&seen, offsets[i]) - 1u;
    }
    *out++ = (uint8_t)(seen.count - 1);
    out = pack_bits(out, seen.words, seen.count, width);
    return pack_bits(out, positions, count, bit_length((uint32_t)seen.count - 1));
}

/* The offsets of order_bits bits: their base, width and shift. */
static unsigned float_offsets(const uint32_t *bits, size_t count, unsigned mantissa_bits, uint32_t *offsets,
                              uint32_t *base, unsigned *shift) {
    uint32_t min = UINT32_MAX, used = 0, max = 0;
    for (size_t i = 0; i < count; i++) {
        offsets[i] = order_bits(mantissa_bits ? round_mantissa(bits[i], MANTISSA_BITS - mantissa_bits) : bits[i]);
        min = offsets[i] < min ? offsets[i] : min;
        max = offsets[i] > max ? offsets[i] : max;
    }
    for (size_t i = 0; i < count; i++) {
        offsets[i] -= min;
        used |= offsets[i];
    }
    *base = min;
    *shift = used ? bit_length(used & (~used + 1)) - 1 : 0;
    if (*shift) {
        for (size_t i = 0; i < count; i++) {
            offsets[i] >>= *shift;
        }
    }
    return bit_length((max - min) >> *shift);
}

/* The smallest scale at which every sample is a short decimal and offsets need at most `max_width` bits; FLOAT_SCALE
 * without one. Decimals rise with the samples, so the minimum and the maximum say how wide the offsets will be. */
static unsigned decimal_offsets(const uint32_t *bits, size_t count, float min, float max, unsigned max_width,
                                uint32_t *offsets, uint32_t *base, unsigned *width) {
    for (unsigned scale = 0; scale < FLOAT_SCALE; scale++) {
        const double power = POWERS[scale];
        int32_t low, high, decimal = 0;
        size_t i;
        if (!decimal_of(min, power, &low) || !decimal_of(max, power, &high)) {
            return FLOAT_SCALE;
        }
        *width = bit_length((uint32_t)high - (uint32_t)low);
        if (*width > max_width) {
            return FLOAT_SCALE;
        }
        for (i = 0; i < count; i++) {
            (void)decimal_of(float_of(bits[i]), power, &decimal); /* in range, since the extremes are */
            if (bits_of((float)((double)decimal / power)) != bits[i]) {
                break;
            }
            offsets[i] = (uint32_t)decimal - (uint32_t)low;
        }
        if (i == count) {
            *base = (uint32_t)low;
            return scale;
        }
    }
    return FLOAT_SCALE;
}

/* Writes one row and gives its length, 0 without samples. */
static size_t encode_row(const uint32_t *slots, size_t width, unsigned mantissa_bits, uint8_t *out) {
    uint32_t bits[CC_MAX_SLOTS], floats[CC_MAX_SLOTS], decimals[CC_MAX_SLOTS];
    uint8_t bitmap[CC_MAX_SLOTS / 8] = {0};
    const uint32_t *offsets = floats;
    uint8_t *at = out + ROW_HEADER_BYTES, *end;
    uint32_t base, short_base, descriptor, min = UINT32_MAX, max = 0;
    unsigned wide, shift, scale, short_width;
    size_t count = 0;
    for (size_t i = 0; i < width; i++) {
        if ((slots[i] & ~SIGN) <= INFINITY_BITS) {
            uint32_t key = order_bits(slots[i]);
            min = key < min ? key : min;
            max = key > max ? key : max;
            bitmap[i / 8] |= (uint8_t)(1u << (i % 8));
            bits[count++] = slots[i];
        }
    }
    if (!count) {
        return 0;
    }
    wide = float_offsets(bits, count, mantissa_bits, floats, &base, &shift);
    scale = decimal_offsets(bits, count, float_of(restore_bits(min)), float_of(restore_bits(max)), wide, decimals,
                            &short_base, &short_width);
    if (scale != FLOAT_SCALE) {
        offsets = decimals;
        base = short_base;
        wide = short_width;
        shift = 0;
    }
    descriptor = wide | shift << 6 | scale << 11;
    if (count < width) {
        descriptor |= BITMAP;
        memcpy(at, bitmap, bytes_for(width));
        at += bytes_for(width);
    }
    end = write_dictionary(at, offsets, count, wide);
    if (end) {
        descriptor |= DICTIONARY;
    } else {
        end = pack_bits(at, offsets, count, wide);
    }
    put16(out, descriptor);
    put32(out + 2, base);
    return (size_t)(end - out);
}

size_t cc_encode_bound(size_t rows, size_t slots) {
    (void)slots;
    return CC_HEADER_BYTES + rows * (2 + MAX_ROW_BYTES + 4); /* packing stores four bytes at once */
}

size_t cc_encode(const float *samples, size_t rows, size_t slots, unsigned mantissa_bits, uint8_t *out) {
    uint32_t row[CC_MAX_SLOTS];
    uint8_t used[CC_MAX_SLOTS] = {0};
    size_t first = 0, end = slots;
    uint8_t *at = out + CC_HEADER_BYTES + 2 * rows;
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < slots; i++) {
            used[i] |= samples[r * slots + i] == samples[r * slots + i];
        }
    }
    while (end && !used[end - 1]) {
        end--;
    }
    while (first < end && !used[first]) {
        first++;
    }
    memcpy(out, "CCPB\1\0", 6);
    put16(out + 6, (uint32_t)rows);
    put16(out + 8, (uint32_t)slots);
    put16(out + 10, (uint32_t)first);
    put16(out + 12, (uint32_t)(end - first));
    put16(out + 14, 0);
    for (size_t r = 0; r < rows; r++) {
        memcpy(row, samples + r * slots + first, (end - first) * sizeof *row);
        size_t length = encode_row(row, end - first, mantissa_bits, at);
        put16(out + CC_HEADER_BYTES + 2 * r, (uint32_t)length);
        at += length;
    }
    return (size_t)(at - out);
}

const char *cc_open(const uint8_t *data, size_t length, cc_payload *payload) {
    size_t at;
    if (length < CC_HEADER_BYTES) {
        return "a payload is too short for its header";
    }
    if (memcmp(data, "CCPB\1\0", 6) != 0 || get16(data + 14)) {
        return "this is not a payload of a known version";
    }
    payload->rows = get16(data + 6);
    payload->slots = get16(data + 8);
    payload->first = get16(data + 10);
    payload->width = get16(data + 12);
    if (payload->rows > CC_MAX_ROWS || payload->slots > CC_MAX_SLOTS ||
        payload->first + payload->width > payload->slots) {
        return "a payload has a shape that cannot be";
    }
    at = CC_HEADER_BYTES + 2 * (size_t)payload->rows;
    if (length < at) {
        return "a payload is too short for its table of rows";
    }
    for (size_t r = 0; r < payload->rows; r++) {
        payload->starts[r] = (uint32_t)at;
        at += get16(data + CC_HEADER_BYTES + 2 * r);
    }
    payload->starts[payload->rows] = (uint32_t)at;
    return at == length ? NULL : "the rows of a payload do not add up to its length";
}

/* Reads the offsets of a row whose bytes from `at` on are `size`; what is wrong, or NULL. */
static const char *read_offsets(const uint8_t *at, size_t size, size_t count, unsigned width, int dictionary,
                                uint32_t *offsets) {
    uint32_t words[CC_MAX_SLOTS];
    size_t number, begin;
    unsigned position_width;
    if (!dictionary) {
        if (size != bytes_for(count * width)) {
            return "a row has another length than its samples need";
        }
        unpack_bits(at, count, width, offsets);
        return NULL;
    }
    if (!size) {
        return "a row lacks its dictionary";
    }
    number = (size_t)at[0] + 1;
    position_width = bit_length(at[0]);
    begin = 1 + bytes_for(number * width);
    if (size != begin + bytes_for(count * position_width)) {
        return "a row has another length than its samples need";
    }
    unpack_bits(at + 1, number, width, words);
    unpack_bits(at + begin, count, position_width, offsets);
    for (size_t i = 0; i < count; i++) {
        if (offsets[i] >= number) {
            return "a row goes beyond its dictionary";
        }
        offsets[i] = words[offsets[i]];
    }
    return NULL;
}

static void to_floats(const uint32_t *offsets, size_t count, uint32_t base, unsigned shift, unsigned scale,
                      float *values) {
    if (scale == FLOAT_SCALE) {
        for (size_t i = 0; i < count; i++) {
            values[i] = float_of(restore_bits(base + (offsets[i] << shift)));
        }
    } else {
        /* All sums are exact. A signed word becomes a double quickly, and several at once; others do not. */
        const double from = (base & SIGN ? (double)base - 4294967296.0 : (double)base) + 2147483648.0;
        const double power = POWERS[scale];
        for (size_t i = 0; i < count; i++) {
            values[i] = (float)((from + (double)(int32_t)((offsets[i] << shift) ^ SIGN)) / power);
        }
    }
}

const char *cc_decode_row(const uint8_t *data, const cc_payload *payload, size_t row, float *slots) {
    uint8_t buffer[MAX_ROW_BYTES + 16];
    uint32_t offsets[CC_MAX_SLOTS];
    float values[CC_MAX_SLOTS];
    const float missing = float_of(NAN_BITS);
    const size_t length = payload->starts[row + 1] - payload->starts[row], width = payload->width;
    const uint8_t *at = buffer + ROW_HEADER_BYTES, *bitmap = NULL;
    const char *error;
    uint32_t descriptor;
    size_t count = width;
    float *out = slots + payload->first;
    for (size_t i = 0; i < payload->first; i++) {
        slots[i] = missing;
    }
    for (size_t i = payload->first + width; i < payload->slots; i++) {
        slots[i] = missing;
    }
    if (!length) {
        for (size_t i = 0; i < width; i++) {
            out[i] = missing;
        }
        return NULL;
    }
    if (length < ROW_HEADER_BYTES) {
        return "a row is too short for its header";
    }
    if (length > MAX_ROW_BYTES) {
        return "a row has another length than its samples need";
    }
    memcpy(buffer, data + payload->starts[row], length);
    memset(buffer + length, 0, 16);
    descriptor = get16(buffer);
    if ((descriptor & 0x3f) + (descriptor >> 6 & 0x1f) > MAX_WIDTH) {
        return "a row has offsets that are too wide";
    }
    if (descriptor & BITMAP) {
        bitmap = at;
        at += bytes_for(width);
        if ((size_t)(at - buffer) > length) {
            return "a row has another length than its samples need";
        }
        count = 0;
        for (size_t i = 0; i < width; i++) {
            count += bitmap[i / 8] >> (i % 8) & 1;
        }
    }
    error = read_offsets(at, length - (size_t)(at - buffer), count, descriptor & 0x3f, (descriptor & DICTIONARY) != 0,
                         offsets);
    if (error) {
        return error;
    }
    to_floats(offsets, count, get32(buffer + 2), descriptor >> 6 & 0x1f, descriptor >> 11 & 7, bitmap ? values : out);
    if (bitmap) {
        for (size_t i = 0, next = 0; i < width; i++) {
            out[i] = bitmap[i / 8] >> (i % 8) & 1 ? values[next++] : missing;
        }
    }
    return NULL;
}

#define LANES 8

void cc_summarise(const float *samples, size_t rows, size_t columns, float *min, float *max, double *total,
                  int32_t *number) {
    for (size_t r = 0; r < rows; r++, samples += columns) {
        float low[LANES], high[LANES];
        double sum[LANES] = {0};
        int32_t count[LANES] = {0}, all = 0;
        size_t i = 0;
        for (size_t lane = 0; lane < LANES; lane++) {
            low[lane] = INFINITY;
            high[lane] = -INFINITY;
        }
        for (; i + LANES <= columns; i += LANES) { /* a comparison with NaN is false */
            for (size_t lane = 0; lane < LANES; lane++) {
                float sample = samples[i + lane];
                low[lane] = sample < low[lane] ? sample : low[lane];
                high[lane] = sample > high[lane] ? sample : high[lane];
                sum[lane] += sample == sample ? (double)sample : 0.0;
                count[lane] += sample == sample;
            }
        }
        for (size_t lane = 0; i < columns; i++, lane++) {
            float sample = samples[i];
            low[lane] = sample < low[lane] ? sample : low[lane];
            high[lane] = sample > high[lane] ? sample : high[lane];
            sum[lane] += sample == sample ? (double)sample : 0.0;
            count[lane] += sample == sample;
        }
        for (size_t lane = 0; lane < LANES; lane++) {
            low[0] = low[lane] < low[0] ? low[lane] : low[0];
            high[0] = high[lane] > high[0] ? high[lane] : high[0];
            all += count[lane];
        }
        min[r] = all ? low[0] : float_of(NAN_BITS);
        max[r] = all ? high[0] : float_of(NAN_BITS);
        total[r] = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
        number[r] = all;
    }
}

void cc_accumulate(const float *samples, size_t rows, size_t columns, double *total, int32_t *number) {
    for (size_t r = 0; r < rows; r++, samples += columns) {
        for (size_t i = 0; i < columns; i++) {
            total[i] += samples[i] == samples[i] ? (double)samples[i] : 0.0;
            number[i] += samples[i] == samples[i];
        }
    }
}

void cc_finish(const double *total, const int32_t *number, size_t columns, int mean, float *out) {
    for (size_t i = 0; i < columns; i++) {
        double result = mean && number[i] ? total[i] / number[i] : total[i];
        out[i] = number[i] ? (float)result : float_of(NAN_BITS);
    }
}
