#include "scatter.h"

/* Number of a row's chunk, counted from `first`; one below it wraps round to more chunks than memory can hold. */
static inline uint64_t chunk_of(int64_t row, int shift, int64_t first) {
    return (uint64_t)(row >> shift) - (uint64_t)first;
}

void cc_scatter_bounds(const int64_t *numbers, size_t count, int64_t *min, int64_t *max) {
    int64_t low = numbers[0], high = numbers[0];
    for (size_t at = 1; at < count; at++) {
        low = numbers[at] < low ? numbers[at] : low;
        high = numbers[at] > high ? numbers[at] : high;
    }
    *min = low;
    *max = high;
}

int cc_scatter_flags(const int64_t *rows, size_t count, int shift, int64_t first, unsigned char *flags,
                     size_t flag_count) {
    for (size_t at = 0; at < count; at++) {
        if (rows[at] < 0) {
            return -1;
        }
        uint64_t chunk = chunk_of(rows[at], shift, first);
        if (chunk >= flag_count) {
            return -1;
        }
        flags[chunk] = 1;
    }
    return 0;
}

int cc_scatter_samples(const cc_scatter_block *blocks, size_t block_count, int64_t first, int shift,
                       const int64_t *rows, const int64_t *columns, int64_t column, const float *values, size_t count) {
    const int64_t mask = (INT64_C(1) << shift) - 1;
    for (size_t at = 0; at < count; at++) {
        if (rows[at] < 0) {
            return -1;
        }
        uint64_t chunk = chunk_of(rows[at], shift, first);
        if (chunk >= block_count) {
            return -1;
        }
        const cc_scatter_block *block = &blocks[chunk];
        int64_t row = rows[at] & mask, to = columns ? columns[at] : column;
        if (!block->samples || row >= block->rows || to < 0 || to >= block->columns) {
            return -1;
        }
        block->samples[row * block->columns + to] = values[at];
    }
    return 0;
}

int cc_scatter_newest(const int64_t *ids, const int64_t *times, int64_t time, size_t count, const int32_t *group_of,
                      size_t group_count, int64_t *newest, size_t newest_count) {
    for (size_t at = 0; at < count; at++) {
        int64_t place = ids[at];
        if (group_of) {
            if (place < 0 || (size_t)place >= group_count) {
                return -1;
            }
            place = group_of[place];
        }
        if (place < 0 || (size_t)place >= newest_count) {
            return -1;
        }
        int64_t seen = times ? times[at] : time;
        if (seen > newest[place]) {
            newest[place] = seen;
        }
    }
    return 0;
}
